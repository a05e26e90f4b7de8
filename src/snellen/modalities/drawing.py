"""Drawings of clips and volumes as one image each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from snellen.core.spec import Input

MAX_FRAMES = 8  # of a clip, in a drawing


def draw_clip(x: Tensor, spec_input: Input) -> Tensor:
    """Frames of a clip side by side: (T, C, H, W) to (C, H, W').

    At most `MAX_FRAMES`, spread evenly from the first to the last.
    """
    count = min(len(x), MAX_FRAMES)
    return _side_by_side(_with_maximum(x)[torch.linspace(0, len(x) - 1, count).round().long()])


def draw_volume(x: Tensor, spec_input: Input) -> Tensor:
    """Maximum projections of a volume along z, y and x side by side: (C, Z, Y, X) to (C, H, W').

    The rows of the three are y, z and z, the columns x, x and y. Occupancy of 0 and 1 is drawn as black and white.
    """
    if x.dtype == torch.uint8 and x.max() <= 1:
        x = 255 * x
    return _side_by_side([_with_maximum(x).amax(axis) for axis in (1, 2, 3)])


def _with_maximum(x: Tensor) -> Tensor:
    """Values of a type that torch can compare: it does not compare uint16."""
    return x.int() if x.dtype == torch.uint16 else x


def _side_by_side(images: Sequence[Tensor] | Tensor) -> Tensor:
    """Images (C, H, W) of several sizes in one row, with a line of the largest value between them."""
    height = max(image.shape[1] for image in images)
    line = float(max(image.max() for image in images))
    lowest = float(min(image.min() for image in images))
    padded = [pad(image, (0, 0, 0, height - image.shape[1]), value=lowest) for image in images]
    return torch.cat([pad(image, (0, 1), value=line) for image in padded], 2)[..., :-1]
