"""Small maps to larger ones: transposed convolution, and interpolation.

Source: Noh, Hong and Han 2015, "Learning deconvolution network"; lectures 002 and 003.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Upsampling = Literal["deconvolution", "nearest", "bilinear", "bicubic"]


def bilinear_kernel(factor: int) -> Tensor:
    """(2f, 2f) weights of a transposed convolution with stride f and padding f/2 that interpolates linearly.

    Each is the product of two triangles, 1 − |distance| / f. Defined for even f.

    Source: Long, Shelhamer and Darrell 2015, section 3.3.
    """
    place = torch.arange(2 * factor, dtype=torch.float32)
    triangle = 1 - (place - (2 * factor - 1) / 2).abs() / factor  # (2f,)
    return triangle[:, None] * triangle


def upsampling(how: str, channels: int, outputs: int, factor: int = 2) -> nn.Module:
    """(B, C, H, W) to (B, K, fH, fW).

    "deconvolution" learns its kernel, which begins as bilinear interpolation of each channel where C is K; the others
    weigh the channels by a 1x1 convolution first, which commutes with interpolation and is cheaper before it.

    Args:
        factor: a power of two.
    """
    if how == "deconvolution":
        return deconvolution(channels, outputs, factor)
    mix = nn.Conv2d(channels, outputs, 1) if channels != outputs else nn.Identity()
    return nn.Sequential(mix, Interpolation(how, factor))


class Interpolation(nn.Module):
    """Pixels between pixels: nearest, bilinear or bicubic, with the corners of the pictures on each other.

    Source: Keys 1981 (bicubic, a = −1/2); lecture 002.
    """

    def __init__(self, how: str, factor: int = 2) -> None:
        super().__init__()
        self.how = how
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, fH, fW)."""
        size = (self.factor * x.shape[-2], self.factor * x.shape[-1])  # whole numbers, for exports of any size
        corners = None if self.how == "nearest" else False
        smooth = self.how == "bicubic"  # what torch calls antialiased takes a = −1/2, which keeps ramps, not −3/4
        short = x.dtype in (torch.bfloat16, torch.float16)
        given = x.float() if smooth and short else x  # torch has no short form of it
        said = nn.functional.interpolate(given, size=size, mode=self.how, align_corners=corners, antialias=smooth)
        return said.to(x.dtype)


def deconvolution(channels: int, outputs: int, factor: int = 2) -> nn.ConvTranspose2d:
    """A transposed convolution of kernel 2f, stride f and padding f/2: (d − 1)f − 2(f/2) + 2f = fd pixels a side."""
    made = nn.ConvTranspose2d(channels, outputs, 2 * factor, stride=factor, padding=factor // 2)
    if made.weight.device.type != "meta" and made.bias is not None:
        nn.init.zeros_(made.bias)
        if channels == outputs:
            nn.init.zeros_(made.weight)
            with torch.no_grad():
                made.weight[range(channels), range(channels)] = bilinear_kernel(factor)  # (C, C, 2f, 2f)
    return made
