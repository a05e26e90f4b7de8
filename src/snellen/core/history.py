"""Training history, `history.jsonl`: one row of scalars for every step that logs. No value depends on the clock."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core import file_io
from snellen.core.errors import DataError, first_line
from snellen.core.input_files import open_regular, read_text

BLOCK = 256  # rows read back from the device together

_quoted = functools.cache(json.dumps)  # the names of loops and scalars repeat in every row


class NonFinite(NamedTuple):
    """First value that is not finite, with its loop, step and name."""

    loop: str
    step: int
    name: str
    value: float


class History:
    """Log of scalars: collects rows, reads them back from the device in blocks and appends them to a file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length = 0  # bytes
        self._digest = hashlib.sha256()  # of all appended bytes
        self.latest: dict[str, float] = {}
        self._pending: list[tuple[str, int, Mapping[str, Tensor | float]]] = []

    def add(self, loop: str, step: int, scalars: Mapping[str, Tensor | float]) -> bool:
        """Add a row without waiting for the device. Returns whether a block is full."""
        # Clone: the tensor may be changed in place later. Detach: otherwise it holds its graph until it is read.
        row = {name: v.detach().clone() if isinstance(v, Tensor) else float(v) for name, v in scalars.items()}
        self._pending.append((loop, step, row))
        return len(self._pending) >= BLOCK

    def flush(self) -> NonFinite | None:
        """Append the pending rows up to the first with a value that is not finite; returns that value."""
        if not self._pending:
            return None
        pending, self._pending = self._pending, []
        scalars = iter(_read([v for _, _, row in pending for v in row.values() if isinstance(v, Tensor)]))
        lines = []
        non_finite = None
        for loop, step, row in pending:
            numbers = {name: float(next(scalars)) if isinstance(v, Tensor) else v for name, v in row.items()}
            bad_name = next((name for name, v in numbers.items() if v - v != 0), None)  # inf - inf is NaN
            if bad_name is not None:
                non_finite = NonFinite(loop, step, bad_name, numbers[bad_name])
                break
            self.latest.update(numbers)
            values = "".join([f", {_quoted(name)}: {v!r}" for name, v in numbers.items()])
            lines.append(f'{{"loop": {_quoted(loop)}, "step": {step}{values}}}\n')
        if lines:
            content = "".join(lines).encode()
            file_io.append_bytes(self.path, content, self.length)
            self.length += len(content)
            self._digest.update(content)
        return non_finite

    def sync(self) -> None:
        """Flush appended rows to the disk."""
        if self.length:
            file_io.sync(self.path, self.length)

    @property
    def digest(self) -> str:
        """SHA-256 of all appended bytes."""
        return self._digest.hexdigest()

    def truncate(self, length: int, digest: str) -> None:
        """Truncate the file to `length` bytes: drops the rows that a killed run appended after its last checkpoint.

        Raises:
            DataError: when the file is shorter, or its SHA-256 differs from `digest`.
        """
        self.length, self._digest = 0, hashlib.sha256()
        if self.path.is_file():
            with open_regular(self.path) as file:
                while self.length < length and (chunk := file.read(min(length - self.length, 1 << 20))):
                    self._digest.update(chunk)
                    self.length += len(chunk)
        if (self.length, self.digest) != (length, digest):
            reason = "its SHA-256 differs" if self.length == length else f"{self.length:,} bytes, not {length:,}"
            raise DataError(f"{self.path} has changed since it was written: {reason}", "Train again, or restore it.")
        if self.path.exists() and self.path.stat().st_size > length:
            file_io.truncate(self.path, length)

    def clear(self) -> None:
        """Remove the file."""
        file_io.remove(self.path)
        self.length, self._digest = 0, hashlib.sha256()


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a history: `loop`, `step`, and finite scalars by name.

    Raises:
        DataError: when a line is not a row of scalars, with its number.
    """
    rows = []
    try:
        lines = read_text(path, "utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            is_row = (
                isinstance(row, dict)
                and isinstance(row.get("loop"), str)
                and all(
                    isinstance(v, int | float) and not isinstance(v, bool) and v - v == 0
                    for name, v in row.items()
                    if name != "loop"
                )
            )
            if not is_row or not isinstance(row.get("step"), int):
                raise ValueError(f"line {number} is not a row of scalars")
            rows.append(row)
    except (ValueError, OSError, RecursionError, OverflowError) as error:
        raise DataError(
            f"{path} cannot be read: {first_line(error)}", "The file is damaged; train again or restore it."
        ) from error
    return rows


def _read(tensors: list[Tensor]) -> list[float]:
    """Values of tensors of one element, with one transfer per device and dtype."""
    kinds = {(t.device, t.dtype) for t in tensors}
    if len(kinds) <= 1:
        scalars = [t if t.ndim == 0 else t.reshape(()) for t in tensors]
        return torch.stack(scalars).tolist() if scalars else []
    values = [0.0] * len(tensors)
    for kind in kinds:
        indices = [i for i, t in enumerate(tensors) if (t.device, t.dtype) == kind]
        for index, value in zip(indices, _read([tensors[i] for i in indices]), strict=True):
            values[index] = value
    return values
