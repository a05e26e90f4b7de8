"""A network for dense prediction on reduced images: less time, coarser outlines."""

from __future__ import annotations

from torch import Tensor, nn

from snellen.nn.dense.padding import crop, pad_to_multiple, size_divisor
from snellen.nn.dense.upsampling import Interpolation


class Downscaled(nn.Module):
    """Reduce images by a factor (means of squares of pixels), apply a network, and enlarge its output bilinearly.

    (B, C, H, W) to (B, K, H, W), for any H and W.
    """

    def __init__(self, body: nn.Module, factor: int) -> None:
        super().__init__()
        self.reduce = nn.AvgPool2d(factor)
        self.body = body
        self.enlarge = Interpolation("bilinear", factor)
        self.factor = factor
        self.multiple = factor * size_divisor(body)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enlarge(self.body(self.reduce(pad_to_multiple(x, self.factor))))
        return crop(y, x.shape[-2], x.shape[-1])


def downscaled(body: nn.Module, factor: int) -> nn.Module:
    """The network on reduced images; the network itself for factor 1."""
    return body if factor == 1 else Downscaled(body, factor)
