"""Pictures of any size through networks that halve them.

Rows and columns are chosen, not cut or added: so an export for any size meets no case that it would have to tell apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def padded(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with its last row and column repeated up to a multiple a side."""
    height, width = x.shape[-2:]
    tall, wide = ((side + multiple - 1) // multiple * multiple for side in (height, width))
    rows, columns = (
        torch.arange(to, device=x.device).clamp(max=side - 1) for to, side in ((tall, height), (wide, width))
    )
    return x.index_select(-2, rows).index_select(-1, columns)


def cropped(y: Tensor, height: int, width: int) -> Tensor:
    """(B, K, H, W) without what lies beyond (height, width)."""
    rows, columns = (torch.arange(side, device=y.device) for side in (height, width))
    return y.index_select(-2, rows).index_select(-1, columns)


def multiple(model: nn.Module) -> int:
    """By how much a network divides the sides of a picture: the largest `multiple` among its modules, or 1."""
    return max((int(getattr(module, "multiple", 1)) for module in model.modules()), default=1)
