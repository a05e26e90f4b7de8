"""A network on raw inputs: standardisation followed by a body, for every task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.layers import Standardize

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # the faster layout of convolutions


class Network(nn.Module):
    """Standardisation of raw inputs, then a body.

    Args:
        body: (B, C, H, W), (B, D) or another batch of float to (B, K).
        channel_axis: the axis of the inputs that the body reads as the first after the batch.
    """

    def __init__(self, standardize: Standardize, body: nn.Module, channel_axis: int = 1) -> None:
        super().__init__()
        self.standardize = standardize
        self.body = body
        self.channel_axis = channel_axis

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) of any dtype to (B, K)."""
        x = self.standardize(x)
        if self.channel_axis != 1:
            x = x.movedim(self.channel_axis, 1)
        if x.ndim in _CHANNELS_LAST:
            x = x.contiguous(memory_format=_CHANNELS_LAST[x.ndim])
        y: Tensor = self.body(x)
        return y
