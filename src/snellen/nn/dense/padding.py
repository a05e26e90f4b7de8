"""Padding and cropping, so that networks with poolings take images of any size.

Both select rows and columns by index: an export for any size then has no size-dependent branches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def pad_to_multiple(x: Tensor, multiple: int, axes: Sequence[int] = (-2, -1)) -> Tensor:
    """Pad axes, those of (B, C, H, W) by default, to multiples of a size by repeating the last row and column."""
    for axis in axes:
        side = x.shape[axis]
        padded = (side + multiple - 1) // multiple * multiple
        x = x.index_select(axis, torch.arange(padded, device=x.device).clamp(max=side - 1))
    return x


def crop(y: Tensor, *sizes: int) -> Tensor:
    """Crop the last axes, (height, width) of (B, K, H, W), to their first entries."""
    for axis, size in enumerate(sizes, start=-len(sizes)):
        y = y.index_select(axis, torch.arange(size, device=y.device))
    return y


def size_divisor(model: nn.Module) -> int:
    """Total downsampling factor of a network: the largest `multiple` among its modules, or 1."""
    return max((int(getattr(module, "multiple", 1)) for module in model.modules()), default=1)
