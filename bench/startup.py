"""S9: seconds of CPU until the first answer: `--help`, and importing the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness import Bar, Bench, Options, Output, Round, main


def run(*command: str) -> Callable[[Options], Round]:
    """A process from its start to its end; its own CPU time, not that of who started it."""

    def make(options: Options) -> Round:
        program, *rest = command
        found = sys.executable if program == "python" else shutil.which(program, path=str(Path(sys.executable).parent))
        if found is None:
            raise FileNotFoundError(f"{program} is not installed")

        def once() -> Callable[[], Output]:
            started = time.perf_counter()
            process = subprocess.Popen([found, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"{program} {' '.join(rest)} ended with status {process.returncode}")
            return lambda: {
                "seconds": seconds,
                "cpu": used.ru_utime + used.ru_stime,
                "peak": used.ru_maxrss * 1024,
                "exit": 0.0,
            }

        return once

    return make


BENCH = Bench(
    name="startup",
    work="From the start of a process to the end of its --help, or of importing the package.",
    ours={
        "help: snellen": run("python", "-m", "snellen", "--help"),
        "import: snellen": run("python", "-c", "import snellen"),
    },
    peers={
        "help: limit": run("python", "-c", "pass"),
        "help: argparse": run("python", "-c", "import argparse; argparse.ArgumentParser().format_help()"),
        "help: yolo": run("yolo", "help"),
        "help: torchrun": run("torchrun", "--help"),
        "import: limit": run("python", "-c", "pass"),
        "import: torch": run("python", "-c", "import torch"),
        "import: torchvision": run("python", "-c", "import torchvision"),
        "import: sklearn": run("python", "-c", "import sklearn"),
        "import: lightning": run("python", "-c", "import lightning"),
        "import: fastai": run("python", "-c", "import fastai.vision.all"),
        "import: keras": run("python", "-c", "import keras"),
    },
    bars=[
        Bar(ours="help: snellen", most=0.100, kind="value", of="cpu"),
        Bar(ours="import: snellen", most=0.050, kind="value", of="cpu"),
    ],
    same=lambda ours, peer: None if ours["exit"] == peer["exit"] else "it failed",
)

if __name__ == "__main__":
    main(BENCH, __file__)
