"""U-Net: encoder and decoder, with or without skip connections.

Source: Ronneberger, Fischer and Brox 2015, "U-Net"; lecture 002, encoder–decoder; lecture 004, skips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.dense.padding import crop, pad_to_multiple
from snellen.nn.dense.upsampling import upsampling


def normalisation(norm: str, channels: int) -> nn.Module:
    """Batch normalisation, or group normalisation in groups of eight channels, independent of the batch."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(max(1, channels // 8), channels)


def double_conv(channels: int, outputs: int, norm: str) -> nn.Sequential:
    """Two 3x3 convolutions, each with normalisation and ReLU: (B, C, H, W) to (B, K, H, W)."""
    layers: list[nn.Module] = []
    for inputs in (channels, outputs):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), normalisation(norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """U-Net: `depth` poolings and as many upsamplings; every level has twice the channels of the one above.

    Args:
        skips: concatenate the encoder's feature map of the same size to the decoder's. Without skips, it is a plain
            encoder–decoder: all information passes through the smallest feature map.
        upsample: see `upsampling`.
        norm: "batch" or "group".
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        width: int = 16,
        depth: int = 4,
        *,
        skips: bool = True,
        upsample: str = "bilinear",
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.multiple = 2**depth
        self.skips = skips
        widths = [width * 2**level for level in range(depth + 1)]
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(
            double_conv(inputs, outputs, norm) for inputs, outputs in zip([channels, *widths], widths, strict=False)
        )
        # Normalised, so that the skip connections do not dominate the upsampled features.
        self.up = nn.ModuleList(
            nn.Sequential(upsampling(upsample, widths[k + 1], widths[k]), normalisation(norm, widths[k]))
            for k in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(
            double_conv(widths[k] * (1 + skips), widths[k], norm) for k in reversed(range(depth))
        )
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        maps: list[Tensor] = []  # of every level, largest first
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            maps.append(x)
        for level, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = up(x)
            x = stage(torch.cat([maps[-2 - level], x], 1) if self.skips else x)
        y: Tensor = self.head(x)
        return crop(y, height, width)
