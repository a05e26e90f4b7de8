"""CIFAR ResNets with 6n + 2 layers (He et al. 2016), plain networks without shortcuts, five residual units.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning", section 4.2, and "Identity mappings in deep residual
networks"; lecture 003, figures 1 and 4 and the table of unit orders.
"""

from __future__ import annotations

from typing import Literal

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


def _residual(depth: int, units: str) -> Architecture[CifarSettings]:
    return Architecture(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth} for small images: {units}.",
        source=SOURCE,
        settings=CifarSettings,
        body=lambda c, shape, outputs: CifarResNet(depth, shape[0], outputs, unit=c.residual_unit),
        min_size=8,
        max_size=64,
        suggest=suggest_augmentation,
        in_default_ladder=depth == 20,
    )


def _plain(depth: int) -> Architecture[PlainSettings]:
    return Architecture(
        name=f"plain{depth}",
        summary=f"Plain network with {depth} layers: ResNet-{depth} without shortcut connections, for comparison.",
        source=SOURCE,
        settings=PlainSettings,
        body=lambda c, shape, outputs: CifarResNet(depth, shape[0], outputs, unit="plain"),
        min_size=8,
        max_size=64,
        suggest=suggest_augmentation,
        in_default_ladder=False,
    )


RESIDUAL = (
    _residual(20, "9 residual units of 16 to 64 channels"),
    _residual(32, "15 residual units"),
    _residual(44, "21 residual units"),
    _residual(56, "27 residual units"),
    _residual(110, "54 residual units"),
    _residual(164, "54 residual units with a bottleneck"),
)
PLAIN = tuple(_plain(depth) for depth in (20, 32, 44, 56))
