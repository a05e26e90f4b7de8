"""Overlapping windows: sequences that continue the sequence before, some steps later in the same recording."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_OVERLAP = 0.5  # of the steps
MIN_STEPS = 4  # of the overlap: fewer may be equal by chance
TOLERANCE = 1e-4  # of the standard deviation of the differences between steps


class Windows(NamedTuple):
    """Neighbouring sequences that overlap.

    Args:
        stride: steps between most of them; 0: there are none.
        pairs: (i, i + 1) at that stride.
        others: (i, i + 1) at another one, as after lost steps.
    """

    stride: int
    pairs: list[tuple[int, int]]
    others: list[tuple[int, int]]


def overlapping_windows(values: Tensor) -> Windows:
    """Find neighbouring sequences that overlap, up to an offset of each feature.

    Windows that were cut from one recording share the steps in which they overlap. Where each window was shifted to
    start at zero, the differences between steps are still equal. The stride is found from overlaps with movement: parts
    without any are equal at every stride.

    Args:
        values: (N, T, D) sequences of one length.
    """
    differences = values.double().diff(dim=1)  # (N, T - 1, D)
    count = differences.shape[1]
    max_shift = count - max(MIN_STEPS, round(MIN_OVERLAP * count))
    if len(values) < 2 or differences.numel() < 2 or max_shift < 1:
        return Windows(0, [], [])
    limit = TOLERANCE * float(differences.std())
    shift_of_pair = torch.zeros(len(values) - 1, dtype=torch.int64)
    for shift in range(1, max_shift + 1):
        rest = torch.nonzero(shift_of_pair == 0)[:, 0]
        is_equal, moves = _compare(differences, rest, shift, limit)
        shift_of_pair[rest[is_equal & moves]] = shift
    strides = shift_of_pair[shift_of_pair > 0]
    if not len(strides):
        return Windows(0, [], [])
    stride = int(torch.bincount(strides).argmax())
    everywhere = torch.arange(len(shift_of_pair))
    is_equal, _ = _compare(differences, everywhere, stride, limit)
    others = (shift_of_pair > 0) & ~is_equal
    return Windows(
        stride,
        [(int(i), int(i) + 1) for i in everywhere[is_equal]],
        [(int(i), int(i) + 1) for i in everywhere[others]],
    )


def _compare(differences: Tensor, first: Tensor, shift: int, limit: float) -> tuple[Tensor, Tensor]:
    """(n,) bool: whether the sequences `first` and the next ones agree at a shift, and whether that part moves.

    The first steps of the overlap decide for most pairs: whole ones take time that grows with the square of the steps.
    """
    start = differences[first, shift : shift + MIN_STEPS] - differences[first + 1, :MIN_STEPS]
    is_equal = start.abs().amax((1, 2)) <= limit
    moves = torch.zeros_like(is_equal)
    candidates = torch.nonzero(is_equal)[:, 0]
    earlier = differences[first[candidates], shift:]
    later = differences[first[candidates] + 1, : differences.shape[1] - shift]
    is_equal[candidates] = (earlier - later).abs().amax((1, 2)) <= limit
    moves[candidates] = earlier.abs().amax((1, 2)) > limit
    return is_equal, moves
