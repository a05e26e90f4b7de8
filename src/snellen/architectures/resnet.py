"""ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017): torchvision's, with a smaller stem for small images.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning"; Xie, Girshick, Dollár, Tu and He 2017, "Aggregated
residual transformations"; lecture 003.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL_IMAGE, Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import Limit, settings
from snellen.core.torchvision_import import import_torchvision
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # residual units per stage
RESNET = "He et al. 2016; lecture 003"
RESNEXT = "Xie et al. 2017; lecture 003"


@settings
class ResNetSettings:
    """Initial weights, training and augmentation; the network itself has no settings."""

    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


@settings
class ResNeXtSettings:
    """Cardinality, width per group, initial weights, training and augmentation."""

    cardinality: Annotated[int, Limit(min=1)] = 32
    """Cardinality: number of groups of the 3x3 convolution in each residual unit."""
    width_per_group: Annotated[int, Limit(min=1)] = 4
    """Width per group: channels of each group in the first stage."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def resnet(depth: int, shape: tuple[int, ...], outputs: int, groups: int = 1, width: int = 64) -> nn.Module:
    """Build ResNet-18, 34, 50 or 101, or ResNeXt-50 or 101.

    Args:
        shape: (C, H, W); up to 64 pixels, the stem is a 3x3 convolution without stride and pooling.
        groups, width: cardinality and width per group; 1 and 64 for ResNet.
    """
    import_torchvision()
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    unit = BasicBlock if depth < 50 else Bottleneck
    net = ResNet(unit, list(LAYERS[depth]), num_classes=outputs, groups=groups, width_per_group=width)
    channels = shape[0]
    if min(shape[1:]) <= SMALL_IMAGE:
        net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return cast(nn.Module, net)


def _resnet(depth: int, units: str) -> Architecture[ResNetSettings]:
    return Architecture(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth}: {units}.",
        source=RESNET,
        settings=ResNetSettings,
        body=lambda c, shape, outputs: resnet(depth, shape, outputs),
        large_from=SMALL_IMAGE + 1,
        suggest=suggest_augmentation,
        weights=f"resnet{depth}",
        in_default_ladder=depth == 18,
    )


def _resnext(depth: int, units: int, weights: str | None) -> Architecture[ResNeXtSettings]:
    return Architecture(
        name=f"resnext{depth}",
        summary=f"ResNeXt-{depth}: {units} bottleneck residual units with 32 groups of 4 channels by default.",
        source=RESNEXT,
        settings=ResNeXtSettings,
        body=lambda c, shape, outputs: resnet(depth, shape, outputs, c.cardinality, c.width_per_group),
        large_from=SMALL_IMAGE + 1,
        suggest=suggest_augmentation,
        weights=weights,
        in_default_ladder=False,
    )


RESNETS = (
    _resnet(18, "8 residual units, for images of any size"),
    _resnet(34, "16 residual units"),
    _resnet(50, "16 bottleneck residual units"),
    _resnet(101, "33 bottleneck residual units"),
)
RESNEXTS = (_resnext(50, 16, "resnext50_32x4d"), _resnext(101, 33, None))
