"""Padding and cropping, so that networks with poolings take images of any size.

Both select rows and columns by index: an export for any size then has no size-dependent branches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) to multiples of a size by repeating the last row and column."""
    height, width = x.shape[-2:]
    padded_height, padded_width = ((side + multiple - 1) // multiple * multiple for side in (height, width))
    rows, columns = (
        torch.arange(padded, device=x.device).clamp(max=side - 1)
        for padded, side in ((padded_height, height), (padded_width, width))
    )
    return x.index_select(-2, rows).index_select(-1, columns)


def crop(y: Tensor, height: int, width: int) -> Tensor:
    """Crop (B, K, H, W) to (height, width)."""
    rows, columns = (torch.arange(side, device=y.device) for side in (height, width))
    return y.index_select(-2, rows).index_select(-1, columns)


def size_divisor(model: nn.Module) -> int:
    """Total downsampling factor of a network: the largest `multiple` among its modules, or 1."""
    return max((int(getattr(module, "multiple", 1)) for module in model.modules()), default=1)
