"""LeNet-5 (LeCun et al. 1998).

Source: LeCun, Bottou, Bengio and Haffner 1998, in the modern form with ReLU and max pooling; lectures 002, 004.
"""

from __future__ import annotations

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
        y: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return y
