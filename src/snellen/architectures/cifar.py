"""CIFAR ResNets with 6n + 2 layers (He et al. 2016), plain networks without shortcuts, five residual units.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning", section 4.2, and "Identity mappings in deep residual
networks"; lecture 003, figures 1 and 4 and the table of unit orders.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from snellen.architectures.architecture import Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import settings
from snellen.data.augment.images import Augment
from snellen.nn.convnets.residual import CifarResNet
from snellen.training.settings import TrainingSettings

SOURCE = "He et al. 2016; lecture 003"


@settings
class CifarSettings:
    """Residual unit, initial weights, training and augmentation."""

    residual_unit: Literal[
        "original", "bn-after-addition", "relu-before-addition", "relu-only-pre-activation", "full-pre-activation"
    ] = "original"
    """Residual unit: position of batch normalisation and ReLU, figure 4 of "Identity mappings"."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, optimizer="nesterov", lr=0.1, weight_decay=0.0005, schedule="one-cycle", warmup=0.05
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


@settings
class PlainSettings:
    """Initial weights, training and augmentation."""

    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, optimizer="nesterov", lr=0.1, weight_decay=0.0005, schedule="one-cycle", warmup=0.05
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def residual(depth: int, c: CifarSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return CifarResNet(depth, shape[0], outputs, unit=c.residual_unit)


def plain(depth: int, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return CifarResNet(depth, shape[0], outputs, unit="plain")


RESNET20 = Architecture[CifarSettings](
    name="resnet20",
    summary="ResNet-20 for small images: 9 residual units of 16 to 64 channels.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(20, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
)

RESNET32 = Architecture[CifarSettings](
    name="resnet32",
    summary="ResNet-32 for small images: 15 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(32, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

RESNET44 = Architecture[CifarSettings](
    name="resnet44",
    summary="ResNet-44 for small images: 21 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(44, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

RESNET56 = Architecture[CifarSettings](
    name="resnet56",
    summary="ResNet-56 for small images: 27 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(56, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

RESNET110 = Architecture[CifarSettings](
    name="resnet110",
    summary="ResNet-110 for small images: 54 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(110, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

RESNET164 = Architecture[CifarSettings](
    name="resnet164",
    summary="ResNet-164 for small images: 54 residual units with a bottleneck.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(164, c, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

PLAIN20 = Architecture[PlainSettings](
    name="plain20",
    summary="Plain network with 20 layers: ResNet-20 without shortcut connections, for comparison.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(20, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

PLAIN32 = Architecture[PlainSettings](
    name="plain32",
    summary="Plain network with 32 layers: ResNet-32 without shortcut connections, for comparison.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(32, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

PLAIN44 = Architecture[PlainSettings](
    name="plain44",
    summary="Plain network with 44 layers: ResNet-44 without shortcut connections, for comparison.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(44, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)

PLAIN56 = Architecture[PlainSettings](
    name="plain56",
    summary="Plain network with 56 layers: ResNet-56 without shortcut connections, for comparison.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(56, shape, outputs),
    min_size=8,
    max_size=64,
    suggest=suggest_augmentation,
    in_default_ladder=False,
)
