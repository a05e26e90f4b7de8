"""Sequences as slices of one flat tensor: of several lengths without padding, or overlapping windows without copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Preprocessing
from snellen.data.source import ArraySource


class FlatSequences:
    """N sequences, each of consecutive rows of a flat tensor. It has the methods of a tensor that batches need.

    A batch is as long as its longest sequence, with NaN after the end of the others, whatever the other samples are. So
    memory is that of the rows, and neither a long sequence nor an overlap of windows is stored more than once.

    Args:
        values: (S, D) rows; floating point where the lengths differ.
        starts: (N,) int64 first row of each sequence, on the CPU.
        lengths: (N,) int64 number of its rows, on the CPU.
    """

    def __init__(self, values: Tensor, starts: Tensor, lengths: Tensor) -> None:
        self.values, self.starts, self.lengths = values, starts, lengths
        self.longest = int(lengths.max()) if len(lengths) else 0
        self.is_ragged = len(lengths) > 0 and int(lengths.min()) < self.longest
        self.shape = torch.Size((len(lengths), self.longest, *values.shape[1:]))
        self.dtype, self.device, self.ndim = values.dtype, values.device, len(self.shape)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        """Sequences at (B,) positions or a slice, without copies; at an integer one sequence, (T, D)."""
        if isinstance(index, int) or (isinstance(index, Tensor) and index.ndim == 0):
            start = int(self.starts[index])
            return self.values[start : start + int(self.lengths[index])]
        if isinstance(index, Tensor):
            index = index.cpu()
        return FlatSequences(self.values, self.starts[index], self.lengths[index])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def index_select(self, axis: int, positions: Tensor, length: int | None = None) -> Tensor:
        """(B, T, D) sequences at (B,) positions, T that of the longest of them, or `length`; NaN after their ends."""
        if axis:
            raise ValueError("sequences are selected along the first axis")
        positions = positions.cpu()
        starts, lengths = self.starts[positions], self.lengths[positions]
        steps = int(lengths.max()) if length is None and len(lengths) else length or 0
        rows = starts[:, None] + torch.arange(steps)
        if not self.is_ragged and steps == self.longest:
            return self._rows(rows)
        outside = torch.arange(steps) >= lengths[:, None]
        x = self._rows(rows.masked_fill_(outside, 0))
        x[outside.to(self.device)] = torch.nan
        return x

    def _rows(self, rows: Tensor) -> Tensor:
        selected = self.values.index_select(0, rows.flatten().to(self.device))
        return selected.view(*rows.shape, *self.values.shape[1:])

    def rows_of(self, positions: Tensor) -> Tensor:
        """(S, D) rows of the sequences at (B,) positions, one sequence after another."""
        starts, lengths = self.starts[positions], self.lengths[positions]
        first = lengths.cumsum(0) - lengths
        rows = torch.arange(int(lengths.sum())) + torch.repeat_interleave(starts - first, lengths)
        return self.values.index_select(0, rows.to(self.device))

    def to(self, device: Any) -> FlatSequences:
        return FlatSequences(self.values.to(device), self.starts, self.lengths)

    def numel(self) -> int:
        """Number of values in memory."""
        return self.values.numel()

    def element_size(self) -> int:
        return self.values.element_size()

    def is_floating_point(self) -> bool:
        return self.values.is_floating_point()


class RaggedSource(ArraySource):
    """A source of sequences, or clouds of points, of several lengths in memory, without padding.

    Args:
        values: the sequences, `is_ragged`.
        names: see `ArraySource`.
        length: steps of every sample that is read, for targets that have as many; None: those of the longest of a
            batch.
    """

    def __init__(self, values: FlatSequences, names: Sequence[str] | str = "sample", length: int | None = None) -> None:
        super().__init__(cast(Tensor, values), names)
        self.sequences, self.length = values, length

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """(B, T, D), NaN after the end of each sequence."""
        return self.sequences.index_select(0, torch.from_numpy(ids), self.length)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None if self.length is not None else self.values


def sequence_source(parts: Sequence[Tensor], names: Sequence[str] | str = "sample") -> ArraySource:
    """A source of sequences (T, D) in memory, each of its own length: (N, T, D) where all lengths are equal.

    Args:
        parts: of one dtype and equal D; floating point where the lengths differ.
    """
    lengths = torch.tensor([len(part) for part in parts])
    if len(set(lengths.tolist())) == 1:
        return ArraySource(torch.stack(list(parts)), names)
    return RaggedSource(FlatSequences(torch.cat(list(parts)), lengths.cumsum(0) - lengths, lengths), names)
