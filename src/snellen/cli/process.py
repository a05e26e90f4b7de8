"""The process of a command: standard streams, and native libraries in the current folder."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from snellen.core.errors import EnvironmentProblem


def prepare_streams() -> None:
    """Open the null device for standard streams that the caller closed, and print names in any encoding.

    Otherwise the next opened file would get the descriptor of the closed stream, and what is printed would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):  # file names may contain undecodable bytes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_stdout() -> None:
    """Redirect stdout to the null device, so that flushing at exit raises no error."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reject_planted_libraries() -> None:
    """Raise EnvironmentProblem where `import torch` would load a CUDA driver from the current folder.

    The run path of cuSPARSELt, which torch's CUDA builds load, ends in an empty entry: the current folder, of which the
    dynamic linker also searches the subfolders for the processor.
    """
    if not hasattr(os, "uname"):
        return
    machine = os.uname().machine
    folders = ["", "tls", machine, f"tls/{machine}", f"{machine}/{machine}", f"tls/{machine}/{machine}"]
    with contextlib.suppress(OSError):
        folders += [f"glibc-hwcaps/{name}" for name in os.listdir("glibc-hwcaps")]
    for folder in folders:
        path = os.path.join(folder, "libcuda.so.1")
        if os.path.lexists(path):
            raise EnvironmentProblem(
                f"{os.path.abspath(path)} would be loaded as the CUDA driver", "Remove it, or work in another folder."
            )
