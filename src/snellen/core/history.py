"""`history.jsonl`: the scalars of a run, a row for every step that logs. Nothing in it depends on the clock."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core import files
from snellen.core.errors import DataError, first_line

BLOCK = 256  # rows read back from the device at once

_quoted = functools.cache(json.dumps)  # names of loops and scalars come again in every row


class Bad(NamedTuple):
    """The first value that is not finite, and where it came from."""

    loop: str
    step: int
    name: str
    value: float


class History:
    """Rows are remembered, read back from the device in blocks, and appended.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length = 0  # bytes
        self._digest = hashlib.sha256()  # of all that has been appended
        self.latest: dict[str, float] = {}
        self._pending: list[tuple[str, int, Mapping[str, Tensor | float]]] = []

    def add(self, loop: str, step: int, scalars: Mapping[str, Tensor | float]) -> bool:
        """Remembers a row without waiting for the device. Returns whether a block is full."""
        # A tensor may be changed in place after this, and must not hold its graph until it is read.
        kept = {name: v.detach().clone() if isinstance(v, Tensor) else float(v) for name, v in scalars.items()}
        self._pending.append((loop, step, kept))
        return len(self._pending) >= BLOCK

    def flush(self) -> Bad | None:
        """Appends what is remembered, up to the first row with a value that is not finite, which is returned."""
        if not self._pending:
            return None
        pending, self._pending = self._pending, []
        read = iter(_read([v for _, _, row in pending for v in row.values() if isinstance(v, Tensor)]))
        lines = []
        bad = None
        for loop, step, row in pending:
            numbers = {name: float(next(read)) if isinstance(v, Tensor) else v for name, v in row.items()}
            wrong = next((name for name, v in numbers.items() if v - v != 0), None)
            if wrong is not None:
                bad = Bad(loop, step, wrong, numbers[wrong])
                break
            self.latest.update(numbers)
            values = "".join([f", {_quoted(name)}: {v!r}" for name, v in numbers.items()])
            lines.append(f'{{"loop": {_quoted(loop)}, "step": {step}{values}}}\n')
        if lines:
            content = "".join(lines).encode()
            files.append_bytes(self.path, content, self.length)
            self.length += len(content)
            self._digest.update(content)
        return bad

    def sync(self) -> None:
        """Makes what has been appended last."""
        if self.length:
            files.sync(self.path, self.length)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def cut(self, length: int, digest: str) -> None:
        """Takes up a history of `length` bytes; what a killed run appended after its last save goes.

        Raises:
            DataError: when it is shorter, or not what was written.
        """
        self.length, self._digest = 0, hashlib.sha256()
        if self.path.is_file():
            with open(self.path, "rb") as file:
                while self.length < length and (part := file.read(min(length - self.length, 1 << 20))):
                    self._digest.update(part)
                    self.length += len(part)
        if (self.length, self.digest) != (length, digest):
            difference = "its SHA-256 differs" if self.length == length else f"{self.length:,} bytes, not {length:,}"
            raise DataError(f"{self.path} is not what was written: {difference}", "Train anew, or restore it.")
        if self.path.exists() and self.path.stat().st_size > length:
            files.cut(self.path, length)

    def clear(self) -> None:
        files.remove(self.path)
        self.length, self._digest = 0, hashlib.sha256()


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a history: `loop`, `step`, and finite scalars by name.

    Raises:
        DataError: naming the line that is not one.
    """
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            right = (
                isinstance(row, dict)
                and isinstance(row.get("loop"), str)
                and all(
                    isinstance(v, int | float) and not isinstance(v, bool) and v - v == 0
                    for name, v in row.items()
                    if name != "loop"
                )
            )
            if not right or not isinstance(row.get("step"), int):
                raise ValueError(f"line {number} is no row of scalars")
            rows.append(row)
    except (ValueError, OSError, RecursionError, OverflowError) as error:
        raise DataError(
            f"{path} cannot be read: {first_line(error)}", "The file is damaged; train again or restore it."
        ) from error
    return rows


def _read(tensors: list[Tensor]) -> list[float]:
    """The values of tensors of one element, with one read for each device and type."""
    kinds = {(t.device, t.dtype) for t in tensors}
    if len(kinds) <= 1:
        scalars = [t if t.ndim == 0 else t.reshape(()) for t in tensors]
        return torch.stack(scalars).tolist() if scalars else []
    values = [0.0] * len(tensors)
    for kind in kinds:
        places = [i for i, t in enumerate(tensors) if (t.device, t.dtype) == kind]
        for place, value in zip(places, _read([tensors[i] for i in places]), strict=True):
            values[place] = value
    return values
