"""Encoder and decoder, with or without skips between maps of the same size.

Source: Ronneberger, Fischer and Brox 2015, "U-Net"; lecture 002, encoder–decoder; lecture 004, skips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.dense.padding import cropped, padded
from snellen.nn.dense.upsampling import upsampling


def normalised(norm: str, channels: int) -> nn.Module:
    """Batch normalisation, or group normalisation by eight channels, which knows no batch but the whole map."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(max(1, channels // 8), channels)


def twice(channels: int, outputs: int, norm: str) -> nn.Sequential:
    """Two 3x3 convolutions, each normalised and cut at zero: (B, C, H, W) to (B, K, H, W)."""
    layers: list[nn.Module] = []
    for before in (channels, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), normalised(norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Halves the picture `depth` times and doubles it again; every level keeps twice the channels of the one above.

    Args:
        skips: whether the decoder sees the encoder's map of its own size beside the upsampled one. Without, it is the
            plain encoder–decoder: all that is known of a pixel passes through the smallest map.
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
        wide = [width * 2**level for level in range(depth + 1)]
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(
            twice(before, after, norm) for before, after in zip([channels, *wide], wide, strict=False)
        )
        # Normalised, or what comes from below would be drowned by the skip beside it, at each level anew.
        self.up = nn.ModuleList(
            nn.Sequential(upsampling(upsample, wide[k + 1], wide[k]), normalised(norm, wide[k]))
            for k in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(twice(wide[k] * (1 + skips), wide[k], norm) for k in reversed(range(depth)))
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = padded(x, self.multiple)
        maps: list[Tensor] = []  # of every level but the last, largest first
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            maps.append(x)
        for level, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = up(x)
            x = stage(torch.cat([maps[-2 - level], x], 1) if self.skips else x)
        y: Tensor = self.head(x)
        return cropped(y, height, width)
