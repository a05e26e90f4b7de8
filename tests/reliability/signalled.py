"""Training in a separate process, for tests of signals: `signalled.py FOLDER long|stuck`."""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from families import OWN, Family, pictures

from snellen import api
from snellen.core.errors import SnellenError
from snellen.core.run import Run

LONG = Family(pictures, "mlp", {"epochs": 60, "batch_size": 16, "dropout": 0.2})


def stuck(c: Any, data: Any, model: Any, run: Run) -> None:
    """`fit` whose third step takes a minute after a signal."""
    run.keep(model=model)
    for step in run.steps(6):
        run.log(step=float(step))
        if step == 2:
            print("stuck", flush=True)
            while run.signal is None:
                time.sleep(0.01)
            print("signal received", flush=True)
            time.sleep(60)


def main() -> None:
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # reset what the shell has set
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    try:
        if kind == "long":
            LONG.train(folder, save_every=0.05)
        else:
            api.train(
                pictures(),
                dataclasses.replace(OWN, fit=stuck),
                out=folder,
                options=api.RunOptions(threads=1, save_every=0, report=False),
            )
    except SnellenError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
