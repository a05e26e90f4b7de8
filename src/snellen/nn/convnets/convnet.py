"""Convolutional network whose depth follows the image: convolution, batch normalisation, ReLU and pooling per stage.

Source: LeCun et al. 1998; Ioffe and Szegedy 2015 (batch normalisation); Lin et al. 2014 (global average pooling).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

LAST_SIDE = 4  # pixels of the shorter side before the global average
LARGE = 48  # pixels of the shorter side from which the first convolution has stride 2
MAX_STAGES = 5


def stages(height: int, width: int) -> int:
    """Number of stages that each halve the image until its shorter side has about `LAST_SIDE` pixels, at least one."""
    side, count = min(height, width), 1
    side = -(-side // 2) if side >= LARGE else side
    while side > LAST_SIDE and count < MAX_STAGES:
        side, count = side // 2, count + 1
    return count


class ConvNet(nn.Module):
    """Convolutional network: `stages` blocks, each with twice the channels at half the size; a linear head.

    (B, C, H, W) to (B, K).

    Args:
        channels: of the input. outputs: K.
        size: height and width of the input in pixels.
        width: channels of the first stage.
        dropout: fraction of the features that are set to zero before the head.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], outputs: int, *, width: int = 32, dropout: float = 0.1
    ) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        for stage in range(stages(*size)):
            if stage:
                layers.append((f"pool{stage}", nn.MaxPool2d(2)))
            stride = 2 if stage == 0 and min(size) >= LARGE else 1
            layers.append((f"stage{stage + 1}", block(channels, width, stride)))
            channels, width = width, 2 * width
        self.features = nn.Sequential(OrderedDict(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.dropout(self.features(x).mean((2, 3))))
        return y


def block(channels: int, width: int, stride: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
