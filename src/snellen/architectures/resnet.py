"""Residual networks, torchvision's, with a stem that fits the picture: ResNet, and ResNeXt with its many paths.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning"; Xie, Girshick, Dollár, Tu and He 2017, "Aggregated
residual transformations"; lecture 003.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from torch import nn

from snellen.architectures.architecture import SMALL, Architecture, Start, unmirrored_digits
from snellen.core.settings import Limit, settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # units of each stage
RESNET = "He et al. 2016; lecture 003"
RESNEXT = "Xie et al. 2017; lecture 003"


@settings
class ResNetSettings:
    """The network is what it is; what varies is where it starts and how it learns."""

    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


@settings
class ResNeXtSettings:
    """How many paths a unit has, and how wide each is."""

    cardinality: Annotated[int, Limit(least=1)] = 32
    """Paths of a unit, computed as groups of one convolution."""
    width_per_group: Annotated[int, Limit(least=1)] = 4
    """Channels of each path in the first stage."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def resnet(depth: int, shape: tuple[int, ...], outputs: int, groups: int = 1, width: int = 64) -> nn.Module:
    """ResNet-18, 34, 50 or 101, or ResNeXt of the last two.

    Args:
        shape: (C, H, W); up to 64 pixels, a 3x3 stem without stride and pooling, so that detail survives.
        groups, width: cardinality and channels of a path; 1 and 64 for ResNet.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    unit = BasicBlock if depth < 50 else Bottleneck
    net = ResNet(unit, list(LAYERS[depth]), num_classes=outputs, groups=groups, width_per_group=width)
    channels = shape[0]
    if min(shape[1:]) <= SMALL:
        net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return cast(nn.Module, net)


def resnext(depth: int, c: Any, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return resnet(depth, shape, outputs, c.cardinality, c.width_per_group)


RESNET18 = Architecture[ResNetSettings](
    name="resnet18",
    summary="ResNet-18: residual units, for pictures of any size.",
    source=RESNET,
    settings=ResNetSettings,
    body=lambda c, shape, outputs: resnet(18, shape, outputs),
    suggest=unmirrored_digits,
    weights="resnet18",
)

RESNET34 = Architecture[ResNetSettings](
    name="resnet34",
    summary="ResNet-34: twice as many residual units.",
    source=RESNET,
    settings=ResNetSettings,
    body=lambda c, shape, outputs: resnet(34, shape, outputs),
    suggest=unmirrored_digits,
    weights="resnet34",
    in_default_ladder=False,
)

RESNET50 = Architecture[ResNetSettings](
    name="resnet50",
    summary="ResNet-50: residual units with a bottleneck.",
    source=RESNET,
    settings=ResNetSettings,
    body=lambda c, shape, outputs: resnet(50, shape, outputs),
    suggest=unmirrored_digits,
    weights="resnet50",
    in_default_ladder=False,
)

RESNET101 = Architecture[ResNetSettings](
    name="resnet101",
    summary="ResNet-101: 33 residual units with a bottleneck.",
    source=RESNET,
    settings=ResNetSettings,
    body=lambda c, shape, outputs: resnet(101, shape, outputs),
    suggest=unmirrored_digits,
    weights="resnet101",
    in_default_ladder=False,
)

RESNEXT50 = Architecture[ResNeXtSettings](
    name="resnext50",
    summary="ResNeXt-50: residual units of 32 narrow paths.",
    source=RESNEXT,
    settings=ResNeXtSettings,
    body=lambda c, shape, outputs: resnext(50, c, shape, outputs),
    suggest=unmirrored_digits,
    weights="resnext50_32x4d",
    in_default_ladder=False,
)

RESNEXT101 = Architecture[ResNeXtSettings](
    name="resnext101",
    summary="ResNeXt-101: deeper, with 32 paths of 4 channels unless said otherwise.",
    source=RESNEXT,
    settings=ResNeXtSettings,
    body=lambda c, shape, outputs: resnext(101, c, shape, outputs),
    suggest=unmirrored_digits,
    in_default_ladder=False,
)
