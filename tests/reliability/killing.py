"""Kill trainings at random times, many of them inside a save, and resume them: results must be bit-identical.

Full test, with 200 kills for each family of learners, at least 60 of them inside a save:

    python tests/reliability/killing.py --kills 200

Every training runs in a fork of this process, which has imported and run everything before: a kill takes only the time
that the training ran. Three in ten of the kills come from outside after a random time. The others fall inside a save:
the fork counts its file operations and kills itself at a random one, before it, in the middle of it (half of the bytes
written), or after it.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from families import FAMILIES, Family, result  # noqa: E402

from snellen.core import checkpoint, file_io  # noqa: E402


class Operations:
    """Counter of the file operations of this process that kills it at one of them.

    Args:
        fatal: number of the fatal operation; 0: none.
        when: "before" it, "amid" it or "after" it.
    """

    def __init__(self, fatal: int = 0, when: str = "after") -> None:
        self.count = 0
        self.fatal, self.when = fatal, when

    def install(self) -> None:
        """Replace the file functions in this fork."""
        os.fsync = self.counted(os.fsync)
        os.replace = self.counted(os.replace)
        file_io.open = self.opening  # type: ignore[attr-defined]  # shadows the built-in function

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.fatal and self.when != "after":
                die()
            value = real(*arguments, **options)
            if self.count == self.fatal:
                die()
            return value

        return operation

    def opening(self, path: Any, mode: str, **options: Any) -> Any:
        file = builtins.open(path, mode, **options)  # noqa: SIM115 (the caller closes it)
        if "w" in mode or "a" in mode:
            write = file.write

            def half(content: bytes) -> None:
                write(bytes(content)[: len(content) // 2])
                file.flush()
                die()

            self.count += 1
            if self.count == self.fatal:
                return Stub(file, half)
        return file


class Stub:
    """File whose write kills the process."""

    def __init__(self, file: Any, write: Callable[[bytes], None]) -> None:
        self.file, self.write = file, write

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a fork; returns its process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(process: int) -> int:
    """Wait for a fork; 0 where it finished, 9 where it was killed."""
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise SystemExit("a training ended with an error, see above")
    return 0


def train_or_resume(family: Family, folder: Path, fatal: int, when: str) -> None:
    """Start or resume a run, and die at an operation or finish."""
    Operations(fatal, when).install()
    if (folder / "run.json").exists():
        family.resume(folder)
    else:
        family.train(folder)


def progress(folder: Path) -> int:
    """Steps in the newest intact checkpoint, which must be readable at any time."""
    saved = checkpoint.read_state(folder / "state")
    return 0 if saved is None else sum(saved[1].done.values())


def campaign(name: str, family: Family, kills: int, folder: Path, seed: int) -> dict[str, Any]:
    """Kill trainings of one family and compare each finished run with an uninterrupted one."""
    draw = random.Random(seed)
    whole = folder / "whole"
    report = folder / "operations"

    def uninterrupted() -> None:
        operations = Operations()
        operations.install()
        family.train(whole)
        report.write_text(str(operations.count))

    started = time.monotonic()
    finish(fork(uninterrupted))
    seconds, operations = time.monotonic() - started, int(report.read_text())
    expected = result(whole)
    hurt = folder / "hurt"
    done = inside = runs = lost = different = 0
    while done < kills or hurt.exists():
        before = progress(hurt)
        # After the last kill the run finishes; before it, a run that finishes is followed by a new one.
        last = done >= kills
        aimed = not last and draw.random() < 0.7
        fatal = draw.randint(1, operations) if aimed else 0
        process = fork(
            functools.partial(train_or_resume, family, hurt, fatal, draw.choice(["before", "amid", "after"]))
        )
        if not last and not aimed:
            time.sleep(draw.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
        if finish(process) == signal.SIGKILL:
            done += 1
            inside += aimed
            lost += progress(hurt) < before
        else:
            runs += 1
            different += result(hurt) != expected or bool(list(hurt.rglob("*.part")))
            shutil.rmtree(hurt)
    return {"family": name, "kills": done, "inside a save": inside, "runs": runs, "different": different, "lost": lost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a kill does not lose written data
    with tempfile.TemporaryDirectory(dir=memory) as root:
        for name in options.families:  # import and run everything once, so that forks start warm
            folder = Path(root) / "warm"
            FAMILIES[name].train(folder)
            shutil.rmtree(folder)
        for name in options.families:
            folder = Path(root) / name.replace(" ", "-")
            folder.mkdir()
            print(json.dumps(campaign(name, FAMILIES[name], options.kills, folder, options.seed)), flush=True)


if __name__ == "__main__":
    main()
