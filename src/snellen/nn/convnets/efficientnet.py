"""EfficientNet-Lite0: inverted residuals of EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

Source: Tan and Le 2019; Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite".
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, fx, nn


class Stage(NamedTuple):
    """Inverted residuals of equal width; only the first has the stride."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    repeats: int


STAGES = (
    Stage(expansion=1, kernel=3, stride=1, channels=16, repeats=1),
    Stage(expansion=6, kernel=3, stride=2, channels=24, repeats=2),
    Stage(expansion=6, kernel=5, stride=2, channels=40, repeats=2),
    Stage(expansion=6, kernel=3, stride=2, channels=80, repeats=3),
    Stage(expansion=6, kernel=5, stride=1, channels=112, repeats=3),
    Stage(expansion=6, kernel=5, stride=2, channels=192, repeats=4),
    Stage(expansion=6, kernel=3, stride=1, channels=320, repeats=1),
)
STEM, FEATURES = 32, 1280  # channels after the first and before the last layer


@fx.wrap  # one node of a traced graph: the padding depends on the size
def same_pad(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zero padding of (B, C, H, W) after which a convolution makes ceil(H / stride) x ceil(W / stride).

    An odd number of zeros has the extra one at the right and bottom, as in TensorFlow.
    """
    vertical, horizontal = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
    left, top = horizontal // 2, vertical // 2
    return nn.functional.pad(x, (left, horizontal - left, top, vertical - top))


class SamePad(nn.Module):
    """`same_pad` as a layer."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = same_pad(x, self.kernel, self.stride)
        return y


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Padding, convolution and batch norm; (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
    return nn.Sequential(
        nn.Identity() if stride == 1 else SamePad(kernel, stride),
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    )


class InvertedResidual(nn.Module):
    """Expansion by a 1x1 convolution, depthwise convolution, projection; shortcut connection where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = convolution(inputs, width) if expansion > 1 else None
        self.depthwise = convolution(width, width, kernel, stride, groups=width)
        self.project = convolution(width, outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = self.project(nn.functional.relu6(self.depthwise(y)))
        return x + y if self.has_shortcut else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: (B, C, H, W) to (B, K).

    Args:
        small: stride 1 instead of 2 in the first layer and in the first stage that has one, for small images.
    """

    def __init__(self, channels: int, outputs: int, dropout: float = 0.2, small: bool = False) -> None:
        super().__init__()
        self.stem = convolution(channels, STEM, kernel=3, stride=1 if small else 2)
        blocks, inputs = [], STEM
        for index, stage in enumerate(STAGES):
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 and not (small and index == 1) else 1
                blocks.append(InvertedResidual(inputs, stage.channels, stage.expansion, stage.kernel, stride))
                inputs = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.last = convolution(inputs, FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(nn.functional.relu6(self.stem(x)))
        features = nn.functional.relu6(self.last(x)).mean((2, 3))  # (B, 1280)
        y: Tensor = self.head(self.dropout(features))
        return y
