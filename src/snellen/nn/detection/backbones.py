"""Pyramids of maps from a picture: a network of stages, and a path back from the small maps to the large.

Source: Lin, Dollár, Girshick, He, Hariharan and Belongie 2017, "Feature pyramid networks for object detection".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

Name = Literal["small", "resnet18", "resnet34", "resnet50", "mobilenet"]
Norm = Literal["batch", "frozen", "group"]

WIDTHS = (32, 64, 96, 128)  # channels of the stages of the small one
EPSILON = 1e-5  # that batch normalisation adds to a variance
PATH = 64  # channels of its pyramid; 256 for the others, as published


class Small(nn.Module):
    """Four stages of one residual unit each, for a few hundred pictures and a processor: about a million weights.

    Its maps have the strides 4, 8, 16 and 32.
    """

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, WIDTHS[0], 5, 2, 2, bias=False), norm(WIDTHS[0]), nn.ReLU())
        given = WIDTHS[0]
        for place, width in enumerate(WIDTHS):
            narrow = nn.Sequential(nn.Conv2d(given, width, 1, 2, bias=False), norm(width))
            self.add_module(f"layer{place + 1}", BasicBlock(given, width, 2, narrow, norm_layer=norm))
            given = width
        _begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to its last map."""
        for stage in self.children():
            x = stage(x)
        return x


def norm_layer(norm: Norm, epsilon: float = EPSILON) -> Callable[[int], nn.Module]:
    """A normalisation by its name; of a group, where sixteen channels are one.

    Args:
        epsilon: of frozen batch normalisation.
    """
    from torchvision.ops import FrozenBatchNorm2d

    if norm == "group":
        return lambda channels: nn.GroupNorm(max(1, channels // 16), channels)
    return nn.BatchNorm2d if norm == "batch" else partial(FrozenBatchNorm2d, eps=epsilon)


class Pyramid(nn.Module):
    """Maps of the same number of channels, large to small.

    Args:
        body: gives an `OrderedDict` of maps.
        fpn: torchvision's `FeaturePyramidNetwork`.
        channels: of every map.
        strides: pixels of the picture to a cell of each map.
    """

    def __init__(self, body: nn.Module, fpn: nn.Module, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.body = body
        self.fpn = fpn
        self.out_channels = channels
        self.strides = strides

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, C, H, W) to maps by name."""
        return cast("OrderedDict[str, Tensor]", self.fpn(self.body(x)))


def pyramid(
    name: Name, channels: int, norm: Norm, learned: int = 5, coarse: bool = False, epsilon: float = EPSILON
) -> Pyramid:
    """The pyramid of a backbone, with one more map, half as large as the smallest.

    Args:
        channels: of the picture.
        learned: stages that learn, from the last; the others keep their weights.
        coarse: strides 8 to 128 in place of 4 to 64, for detectors that answer at every place.
        epsilon: of frozen batch normalisation.
    """
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.detection.backbone_utils import _mobilenet_extractor
    from torchvision.models.mobilenetv3 import mobilenet_v3_large
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
    from torchvision.ops import FeaturePyramidNetwork
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

    if name == "mobilenet":
        found = _mobilenet_extractor(mobilenet_v3_large(weights=None, norm_layer=norm_layer(norm, epsilon)), True, 6)
        body, fpn, path = found.body, found.fpn, 256
        strides: tuple[int, ...] = (32, 32, 64)
        body["0"][0] = _stem(body["0"][0], channels)
        stages = list(body.children())
        frozen = stages[: max(0, len(stages) - 3 * learned)] if learned < 5 else []
    else:
        if name == "small":
            whole, widths, path = cast(nn.Module, Small(channels, norm_layer(norm))), WIDTHS, PATH
            stem = ["stem"]
        else:
            unit = Bottleneck if name == "resnet50" else BasicBlock
            layers = [2, 2, 2, 2] if name == "resnet18" else [3, 4, 6, 3]
            whole = ResNet(unit, layers, norm_layer=norm_layer(norm, epsilon))
            whole.conv1 = _stem(whole.conv1, channels)
            widths, path = tuple(width * unit.expansion for width in (64, 128, 256, 512)), 256
            stem = ["conv1", "bn1"]
        order = ["layer4", "layer3", "layer2", "layer1", *stem]
        frozen = [getattr(whole, stage) for stage in order[learned:]] if learned < 5 else []
        first = 1 if coarse else 0
        body = IntermediateLayerGetter(whole, {f"layer{k + 1}": str(k - first) for k in range(first, 4)})
        more = LastLevelP6P7(path, path) if coarse else LastLevelMaxPool()
        fpn = FeaturePyramidNetwork(list(widths[first:]), path, more)
        strides = (8, 16, 32, 64, 128) if coarse else (4, 8, 16, 32, 64)
    for part in frozen:
        part.requires_grad_(False)
    return Pyramid(body, fpn, path, strides)


def _stem(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The first convolution for pictures of so many channels."""
    if conv.in_channels == channels:
        return conv
    return nn.Conv2d(channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)  # type: ignore[arg-type]


def _begin(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
