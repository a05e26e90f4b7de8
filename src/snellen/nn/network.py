"""A network on raw inputs: standardisation followed by a body, for every task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.layers import Standardize


class Network(nn.Module):
    """Standardisation of raw inputs, then a body.

    Args:
        body: (B, C, H, W) or (B, D) float to (B, K).
    """

    def __init__(self, standardize: Standardize, body: nn.Module) -> None:
        super().__init__()
        self.standardize = standardize
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) of any dtype to (B, K)."""
        x = self.standardize(x)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.body(x)
        return y
