"""Upsampling of feature maps: transposed convolution and interpolation.

Source: Noh, Hong and Han 2015, "Learning deconvolution network"; lectures 002 and 003.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Upsampling = Literal["deconvolution", "nearest", "bilinear", "bicubic"]


def bilinear_kernel(factor: int) -> Tensor:
    """Bilinear kernel, (2f, 2f), of a transposed convolution with stride f and padding f/2.

    It is the product of two triangles, 1 − |distance| / f. Defined for even f.

    Source: Long, Shelhamer and Darrell 2015, section 3.3.
    """
    position = torch.arange(2 * factor, dtype=torch.float32)
    triangle = 1 - (position - (2 * factor - 1) / 2).abs() / factor  # (2f,)
    return triangle[:, None] * triangle


def upsampling(method: str, channels: int, outputs: int, factor: int = 2) -> nn.Module:
    """Upsampling layer, (B, C, H, W) to (B, K, fH, fW).

    "deconvolution" learns its kernel, initialised as bilinear interpolation of each channel if C is K; the other
    methods apply a 1x1 convolution first, which commutes with interpolation and is cheaper before it.

    Args:
        method: see `Upsampling`.
        factor: a power of two.
    """
    if method == "deconvolution":
        return deconvolution(channels, outputs, factor)
    mix = nn.Conv2d(channels, outputs, 1) if channels != outputs else nn.Identity()
    return nn.Sequential(mix, Interpolation(method, factor))


class Interpolation(nn.Module):
    """Interpolation: nearest, bilinear or bicubic, with aligned image borders.

    Source: Keys 1981 (bicubic, a = −1/2); lecture 002.
    """

    def __init__(self, method: str, factor: int = 2) -> None:
        super().__init__()
        self.method = method
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, fH, fW)."""
        size = (self.factor * x.shape[-2], self.factor * x.shape[-1])  # integers, for exports of any size
        align_corners = None if self.method == "nearest" else False
        antialias = self.method == "bicubic"  # torch's antialiased bicubic has a = −1/2, which keeps ramps, not −3/4
        half_precision = x.dtype in (torch.bfloat16, torch.float16)
        source = x.float() if antialias and half_precision else x  # torch does not support it in half precision
        result = nn.functional.interpolate(
            source, size=size, mode=self.method, align_corners=align_corners, antialias=antialias
        )
        return result.to(x.dtype)


def deconvolution(channels: int, outputs: int, factor: int = 2) -> nn.ConvTranspose2d:
    """Transposed convolution with kernel 2f, stride f and padding f/2: (d − 1)f − 2(f/2) + 2f = fd pixels a side."""
    layer = nn.ConvTranspose2d(channels, outputs, 2 * factor, stride=factor, padding=factor // 2)
    if layer.weight.device.type != "meta" and layer.bias is not None:
        nn.init.zeros_(layer.bias)
        if channels == outputs:
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.weight[range(channels), range(channels)] = bilinear_kernel(factor)  # (C, C, 2f, 2f)
    return layer
