"""Work in a forked child process, which is killed at a time limit: for learners that cannot be stopped.

The child shares the decoded data and the imported modules of its parent, and starts in milliseconds.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from snellen.core.errors import SnellenError, TooLittleTime

WARM = ("sklearn.svm", "sklearn.linear_model", "scipy.linalg")  # what most children would import, each for itself


def run_forked(work: Callable[[], object], seconds: float) -> None:
    """Run `work` in a child process with one thread; what it writes to files stays.

    Raises:
        TooLittleTime: after `seconds`, when the child is killed, or from the child, with the seconds that it needs.
        SnellenError: with the cause of the child's error.
    """
    for module in WARM:
        importlib.import_module(module)
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work_and_exit(work, writer)
    os.close(writer)
    limit = time.monotonic() + seconds
    message = b""
    try:
        while True:
            ready, _, _ = select.select([reader], [], [], max(0.0, limit - time.monotonic()))
            if not ready:
                cause = f"Stopped after {seconds:.0f} s, its part of the time budget"
                raise TooLittleTime(cause, needed=2 * seconds, at_least=True)  # a second try needs more
            part = os.read(reader, 1 << 16)
            if not part:
                break
            message += part
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    if message:
        needed, _, cause = message.decode(errors="replace").partition("\n")
        raise TooLittleTime(cause, needed=float(needed)) if needed else SnellenError(cause)
    if status:
        raise SnellenError(f"The process ended with status {status}")


def _work_and_exit(work: Callable[[], object], writer: int) -> None:
    """Run the work in the child; its error goes through the pipe. Never returns."""
    code = 0
    try:
        import torch

        torch.set_num_threads(1)  # threads of the parent do not exist in the child
        work()
    except BaseException as error:
        cause = error.cause if isinstance(error, SnellenError) else f"{type(error).__name__}: {error}"
        needed = error.needed if isinstance(error, TooLittleTime) else None
        os.write(writer, f"{'' if needed is None else needed}\n{cause}".encode()[: 1 << 15])
        code = 1
    finally:
        os._exit(code)
