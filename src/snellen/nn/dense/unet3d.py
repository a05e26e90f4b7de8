"""3D U-Net (Çiçek et al. 2016): encoder and decoder of volumes with skip connections.

Source: Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger 2016, "3D U-Net: learning dense volumetric segmentation from
sparse annotation".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.dense.padding import crop, pad_to_multiple


def normalisation_3d(norm: str, channels: int) -> nn.Module:
    """Batch normalisation, or group normalisation in groups of eight channels, independent of the batch."""
    return nn.BatchNorm3d(channels) if norm == "batch" else nn.GroupNorm(max(1, channels // 8), channels)


def double_conv_3d(channels: int, outputs: int, norm: str) -> nn.Sequential:
    """Two 3x3x3 convolutions, each with normalisation and ReLU: (B, C, Z, Y, X) to (B, K, Z, Y, X)."""
    layers: list[nn.Module] = []
    for inputs in (channels, outputs):
        layers += [nn.Conv3d(inputs, outputs, 3, padding=1, bias=False), normalisation_3d(norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def max_pool_3d(x: Tensor) -> Tensor:
    """Largest of 2x2x2 voxels, (B, C, Z, Y, X) to half of each side.

    Its gradient is deterministic on every device, unlike that of `torch.nn.MaxPool3d` on a GPU.
    """
    batch, channels, *sides = x.shape
    halves = [part for side in sides for part in (side // 2, 2)]
    return x.reshape(batch, channels, *halves).amax((3, 5, 7))


class UNet3D(nn.Module):
    """3D U-Net: `depth` poolings and as many transposed convolutions; every level has twice the channels.

    Convolutions are padded, so that the output has the size of the input; in the paper they are not.

    Args:
        norm: "batch" or "group".
    """

    def __init__(self, channels: int, outputs: int, width: int = 8, depth: int = 2, norm: str = "batch") -> None:
        super().__init__()
        self.multiple = 2**depth
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            double_conv_3d(inputs, outputs, norm) for inputs, outputs in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(widths[k + 1], widths[k], 2, stride=2) for k in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(double_conv_3d(2 * widths[k], widths[k], norm) for k in reversed(range(depth)))
        self.head = nn.Conv3d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) to (B, K, Z, Y, X), for any size."""
        sizes = x.shape[2:]
        x = pad_to_multiple(x, self.multiple, axes=(2, 3, 4))
        maps: list[Tensor] = []  # of every level, largest first
        for level, stage in enumerate(self.encoder):
            x = stage(max_pool_3d(x) if level else x)
            maps.append(x)
        for level, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = stage(torch.cat([maps[-2 - level], up(x)], 1))
        y: Tensor = self.head(x)
        return crop(y, *sizes)
