"""Pictures of any size through networks that halve them."""

from __future__ import annotations

from torch import Tensor, nn


def padded(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with zeros, the mean of standardised pictures, below and to the right up to a multiple a side."""
    height, width = x.shape[-2:]
    return nn.functional.pad(x, (0, -width % multiple, 0, -height % multiple))


def cropped(y: Tensor, height: int, width: int) -> Tensor:
    """(B, K, H, W) without what lies beyond (height, width)."""
    return y[..., :height, :width]
