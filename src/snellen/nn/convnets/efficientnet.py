"""EfficientNet-Lite0: inverted residuals of EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

Source: Tan and Le 2019; Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from torch import Tensor, fx, nn

Norm = Callable[[int], nn.Module]  # channels to a normalisation layer


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
EPSILON = 1e-3  # added to the variance in batch normalisation
MAP_STAGES = (1, 2, 4, 6)  # stages at whose end the stride is 4, 8, 16 and 32
MAP_CHANNELS = tuple(STAGES[index].channels for index in MAP_STAGES)


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


def batch_norm(channels: int) -> nn.Module:
    """Batch normalisation with the epsilon of the published weights."""
    return nn.BatchNorm2d(channels, eps=EPSILON)


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, norm: Norm | None = batch_norm
) -> nn.Module:
    """Padding, convolution and norm; (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride)).

    Args:
        norm: None for frozen batch norm.
    """
    pad = nn.Identity() if stride == 1 else SamePad(kernel, stride)
    padding = kernel // 2 if stride == 1 else 0
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return FrozenNormConvolution(pad, conv) if norm is None else nn.Sequential(pad, conv, norm(outputs))


class FrozenNormConvolution(nn.Module):
    """Padding, convolution and frozen batch norm; its tensors have the names of those of `convolution`.

    The norm scales the weights in place of the feature maps: no pass over them, and none is stored for its gradient.
    """

    def __init__(self, pad: nn.Module, conv: nn.Conv2d) -> None:
        from torchvision.ops import FrozenBatchNorm2d

        super().__init__()
        for name, module in zip("012", (pad, conv, FrozenBatchNorm2d(conv.out_channels, EPSILON)), strict=True):
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        pad, conv, norm = cast("tuple[nn.Module, nn.Conv2d, Any]", tuple(self.children()))
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = conv.weight * scale[:, None, None, None]
        return nn.functional.conv2d(
            pad(x), weight, norm.bias - norm.running_mean * scale, conv.stride, conv.padding, groups=conv.groups
        )


class InvertedResidual(nn.Module):
    """Expansion by a 1x1 convolution, depthwise convolution, projection; shortcut connection where shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int, norm: Norm | None = batch_norm) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self.expand = convolution(inputs, width, norm=norm) if stage.expansion > 1 else None
        self.depthwise = convolution(width, width, stage.kernel, stride, groups=width, norm=norm)
        self.project = convolution(width, stage.channels, norm=norm)
        self.has_shortcut = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = self.project(nn.functional.relu6(self.depthwise(y)))
        return x + y if self.has_shortcut else y


def inverted_residuals(norm: Norm | None = batch_norm, small: bool = False) -> nn.Sequential:
    """All inverted residuals; `small`: the first stage that has stride 2 has stride 1."""
    blocks, inputs = [], STEM
    for index, stage in enumerate(STAGES):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 and not (small and index == 1) else 1
            blocks.append(InvertedResidual(inputs, stage, stride, norm))
            inputs = stage.channels
    return nn.Sequential(*blocks)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: (B, C, H, W) to (B, K).

    Args:
        small: stride 1 instead of 2 in the first layer and in the first stage that has one, for small images.
    """

    def __init__(self, channels: int, outputs: int, dropout: float = 0.2, small: bool = False) -> None:
        super().__init__()
        self.stem = convolution(channels, STEM, kernel=3, stride=1 if small else 2)
        self.blocks = inverted_residuals(small=small)
        self.last = convolution(STAGES[-1].channels, FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(nn.functional.relu6(self.stem(x)))
        features = nn.functional.relu6(self.last(x)).mean((2, 3))  # (B, 1280)
        y: Tensor = self.head(self.dropout(features))
        return y


class EfficientNetLiteMaps(nn.Module):
    """Feature maps of EfficientNet-Lite0 at the strides 4, 8, 16 and 32; its tensors have the names of the classifier.

    Args:
        norm: normalisation layer; None for frozen batch norm.
        first: position of the first map that is returned.
    """

    def __init__(self, channels: int, norm: Norm | None = batch_norm, first: int = 0) -> None:
        super().__init__()
        self.stem = convolution(channels, STEM, kernel=3, stride=2, norm=norm)
        self.blocks = inverted_residuals(norm)
        self.first = first
        ends = [sum(stage.repeats for stage in STAGES[: index + 1]) for index in MAP_STAGES]
        self.ranges = tuple(zip([0, *ends[:-1]], ends, strict=True))  # blocks before each map

    def stages(self) -> list[nn.Module]:
        """The stem, and the blocks before each map."""
        return [self.stem, *(self.blocks[start:end] for start, end in self.ranges)]

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, C, H, W) to maps (B, MAP_CHANNELS[k], H / stride, W / stride) by position, large to small."""
        x = nn.functional.relu6(self.stem(x))
        maps = OrderedDict()
        for k, (start, end) in enumerate(self.ranges):
            x = self.blocks[start:end](x)
            if k >= self.first:
                maps[str(k - self.first)] = x
        return maps
