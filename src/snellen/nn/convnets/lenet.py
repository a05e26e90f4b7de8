"""LeNet-5, the network that read digits.

Source: LeCun, Bottou, Bengio and Haffner 1998, in the modern form with ReLU and max pooling; lectures 002, 004.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = 12  # pixels a side: below, the second convolution has nothing left


class LeNet(nn.Module):
    """Two convolutions and three linear layers: 61,706 weights for 28x28 grey pictures and ten classes.

    Args:
        channels: of the input.
        size: (height, width) in pixels, at least 12.
        outputs: K.
    """

    def __init__(self, channels: int, size: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(  # max and ReLU may change places: after pooling, a quarter is left to do
            nn.Conv2d(channels, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(),
        )  # fmt: skip
        height, width = ((side // 2 - 4) // 2 for side in size)
        self.classifier = nn.Sequential(
            nn.Linear(16 * height * width, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K)."""
        if self.training and blocked(x):
            features = self.features(x.to_mkldnn()).to_dense()
        else:
            features = self.features(x)
        y: Tensor = self.classifier(torch.flatten(features, 1))
        return y


def blocked(x: Tensor) -> bool:
    """Whether oneDNN's own memory layout serves: its max pooling of few channels takes a third of torch's time."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return fits and torch._C._has_mkldnn and not traced
