"""S9: CPU time of start-up: `--help`, and importing the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness import Bar, Bench, Options, Output, Round, main


def run_command(*command: str) -> Callable[[Options], Round]:
    """Run a process to its end and measure its own CPU time."""

    def make(options: Options) -> Round:
        program, *rest = command
        path = sys.executable if program == "python" else shutil.which(program, path=str(Path(sys.executable).parent))
        if path is None:
            raise FileNotFoundError(f"{program} is not installed")

        def run_round() -> Callable[[], Output]:
            started = time.perf_counter()
            process = subprocess.Popen([path, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"{program} {' '.join(rest)} ended with status {process.returncode}")
            return lambda: {
                "seconds": seconds,
                "cpu": usage.ru_utime + usage.ru_stime,
                "peak": usage.ru_maxrss * 1024,
                "exit": 0.0,
            }

        return run_round

    return make


BENCH = Bench(
    name="startup",
    work="From the start of a process to the end of its --help, or of importing the package.",
    ours={
        "help: snellen": run_command("python", "-m", "snellen", "--help"),
        "import: snellen": run_command("python", "-c", "import snellen"),
    },
    peers={
        "help: limit": run_command("python", "-c", "pass"),
        "help: argparse": run_command("python", "-c", "import argparse; argparse.ArgumentParser().format_help()"),
        "help: yolo": run_command("yolo", "help"),
        "help: torchrun": run_command("torchrun", "--help"),
        "import: limit": run_command("python", "-c", "pass"),
        "import: torch": run_command("python", "-c", "import torch"),
        "import: torchvision": run_command("python", "-c", "import torchvision"),
        "import: sklearn": run_command("python", "-c", "import sklearn"),
        "import: lightning": run_command("python", "-c", "import lightning"),
        "import: fastai": run_command("python", "-c", "import fastai.vision.all"),
        "import: keras": run_command("python", "-c", "import keras"),
    },
    bars=[
        Bar(ours="help: snellen", max_value=0.100, kind="value", of="cpu"),
        Bar(ours="import: snellen", max_value=0.050, kind="value", of="cpu"),
    ],
    same=lambda ours, peer: None if ours["exit"] == peer["exit"] else "it failed",
)

if __name__ == "__main__":
    main(BENCH, __file__)
