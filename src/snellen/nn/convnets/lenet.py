"""LeNet-5 (LeCun et al. 1998).

Source: LeCun, Bottou, Bengio and Haffner 1998, in the modern form with ReLU and max pooling; lectures 002, 004.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MIN_SIDE = 12  # pixels; the second convolution has no output for smaller images


class LeNet(nn.Module):
    """Two convolutions and three linear layers: 61,706 weights for 28x28 grey images and ten classes.

    Args:
        channels: of the input.
        size: (height, width) in pixels, at least 12.
        outputs: K.
    """

    def __init__(self, channels: int, size: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(  # ReLU after max pooling is equivalent and has a quarter of the work
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        height, width = ((side // 2 - 4) // 2 for side in size)
        self.classifier = nn.Sequential(
            nn.Linear(16 * height * width, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K)."""
        first = self.features[0]
        if self.training and supports_blocked_layout(x) and not x.requires_grad:
            maps = FirstConvolution.apply(x, first.weight, first.bias, first.padding)
            features = self.features[1:](maps).to_dense()
        else:
            features = self.features(x)
        y: Tensor = self.classifier(torch.flatten(features, 1))
        return y


class FirstConvolution(torch.autograd.Function):
    """First convolution, whose input needs no gradient, in oneDNN's memory layout.

    The gradient of its weights is a convolution too: of the images with the gradient of the feature maps, with batch
    and channels exchanged. With a single channel it takes a third of the time of oneDNN's own routine.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.padding = padding
        return nn.functional.conv2d(x.to_mkldnn(), weight, bias, padding=padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        gradient = gradient.to_dense()  # (B, D, H, W)
        weight = nn.functional.conv2d(x.transpose(0, 1), gradient.transpose(0, 1), padding=ctx.padding)  # (C, D, k, k)
        return None, weight.transpose(0, 1), gradient.sum((0, 2, 3)), None


def supports_blocked_layout(x: Tensor) -> bool:
    """Whether oneDNN's blocked layout can be used: its max pooling of few channels takes a third of torch's time."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return fits and torch._C._has_mkldnn and not traced
