"""Dilated convolutions in place of stride: the picture keeps its size, the view widens all the same.

Source: Yu and Koltun 2016, "Multi-scale context aggregation by dilated convolutions"; lecture 002.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from snellen.nn.dense.unet import normalised


class Dilated(nn.Module):
    """3x3 convolutions at full size, each normalised and cut at zero, then the answer of every pixel.

    A pixel is decided by 1 + Σ 2d pixels a side.

    Args:
        dilations: d of each convolution.
    """

    def __init__(self, channels: int, outputs: int, width: int, dilations: Sequence[int], norm: str = "batch") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, dilation in zip([channels, *[width] * len(dilations)], dilations, strict=False):
            layers += [
                nn.Conv2d(before, width, 3, padding=dilation, dilation=dilation, bias=False),
                normalised(norm, width),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W)."""
        y: Tensor = self.head(self.layers(x))
        return y
