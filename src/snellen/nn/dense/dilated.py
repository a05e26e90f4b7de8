"""Dilated convolutional network: full resolution, with a receptive field that grows by dilation.

Source: Yu and Koltun 2016, "Multi-scale context aggregation by dilated convolutions"; lecture 002.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from snellen.nn.dense.unet import normalisation


class DilatedNetwork(nn.Module):
    """3x3 dilated convolutions at full resolution, each with normalisation and ReLU, then a 1x1 convolution.

    The receptive field is 1 + Σ 2d pixels wide.

    Args:
        dilations: d of each convolution.
    """

    def __init__(self, channels: int, outputs: int, width: int, dilations: Sequence[int], norm: str = "batch") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, dilation in zip([channels, *[width] * len(dilations)], dilations, strict=False):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, bias=False),
                normalisation(norm, width),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W)."""
        y: Tensor = self.head(self.layers(x))
        return y
