"""Running the command line inside this process, and pictures for it."""

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


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Strict JSON, one value a line."""
        return [json.loads(line, parse_constant=_refused) for line in self.out.splitlines()]


def said(words: Sequence[str]) -> Said:
    """Runs `snellen` with these words."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return Said(code, out.getvalue(), err.getvalue())


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no strict JSON")


def pictures(folder: Path, values: Sequence[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(values):
        Image.fromarray(picture).save(folder / f"{k}.png")


def two_classes(folder: Path, count: int = 12) -> Path:
    """Noise that is dark in one folder and light in the other."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 120)):
        pictures(folder / name, [rng.integers(low, low + 100, (16, 16), dtype=np.uint8) for _ in range(count)])
    return folder
