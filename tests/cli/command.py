"""Helpers: run the command line in-process, and write test images."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from snellen.cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Parse stdout as strict JSON, one value per line."""
        return [json.loads(line, parse_constant=_reject_constant) for line in self.out.splitlines()]


def run_command(arguments: Sequence[str]) -> Result:
    """Run `snellen` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return Result(code, out.getvalue(), err.getvalue())


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not strict JSON")


def write_images(folder: Path, values: Sequence[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(values):
        Image.fromarray(image).save(folder / f"{k}.png")


def write_two_classes(folder: Path, count: int = 12) -> Path:
    """Write noise images: dark in one folder, light in the other."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 120)):
        write_images(folder / name, [rng.integers(low, low + 100, (16, 16), dtype=np.uint8) for _ in range(count)])
    return folder
