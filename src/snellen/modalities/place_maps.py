"""Values at every place of a sample, drawn as an image: strips of the steps of a sequence, slices of a volume."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.nn.layers import robust_range

STRIP_WIDTH = 640  # pixels that a strip of few steps is enlarged to
ROW_HEIGHT, MAX_ROWS_HEIGHT = 24, 96  # pixels of the row of one feature, and of all rows
MAX_SLICES = 6  # of a volume


def display_range(x: Tensor, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Values of a sample drawn as black and white: those given, those of 8 bits, or a robust range of its values."""
    if value_range is not None:
        return value_range
    values = x.double()
    return (0.0, 255.0) if x.dtype == torch.uint8 else robust_range(values[torch.isfinite(values)])


def strips(values: Tensor) -> Tensor:
    """(C, T) values of a sequence as (1, H, W): one row for each of C features, time from left to right."""
    count, steps = values.shape
    height = max(2, min(ROW_HEIGHT, MAX_ROWS_HEIGHT // count))
    return values.repeat_interleave(height, 0).repeat_interleave(max(1, STRIP_WIDTH // steps), 1)[None]


def slices(values: Tensor) -> Tensor:
    """(C, Z, Y, X) values of a volume as (C, Y, S * X): S slices side by side, evenly spaced along z."""
    depth = values.shape[1]
    chosen = ((torch.arange(min(depth, MAX_SLICES)) + 0.5) * depth / min(depth, MAX_SLICES)).long()
    return torch.cat([values[:, z] for z in chosen.tolist()], dim=2)
