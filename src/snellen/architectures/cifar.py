"""The residual networks of CIFAR-10 with 6n + 2 layers, the plain ones beside them, and the five orders of their unit.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning", section 4.2, and "Identity mappings in deep residual
networks"; lecture 003, figures 1 and 4 and the table of unit orders.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from snellen.architectures.architecture import Architecture, Start, unmirrored_digits
from snellen.core.settings import settings
from snellen.data.augment.images import Augment
from snellen.nn.convnets.residual import CifarNet
from snellen.training.settings import TrainingSettings

SOURCE = "He et al. 2016; lecture 003"


@settings
class CifarSettings:
    """The order of a unit's layers, where the weights start, and how it learns."""

    residual_unit: Literal[
        "original", "bn-after-addition", "relu-before-addition", "relu-only-pre-activation", "full-pre-activation"
    ] = "original"
    """Where batch normalisation and ReLU stand: the five orders of "Identity mappings", figure 4."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, optimizer="nesterov", lr=0.1, weight_decay=0.0005, schedule="one-cycle", warmup=0.05
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


@settings
class PlainSettings:
    """A plain network has no units; what varies is where it starts and how it learns."""

    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, optimizer="nesterov", lr=0.1, weight_decay=0.0005, schedule="one-cycle", warmup=0.05
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def residual(depth: int, c: CifarSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return CifarNet(depth, shape[0], outputs, unit=c.residual_unit)


def plain(depth: int, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return CifarNet(depth, shape[0], outputs, unit="plain")


RESNET20 = Architecture[CifarSettings](
    name="resnet20",
    summary="ResNet-20 for small pictures: nine residual units of 16 to 64 channels.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(20, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
)

RESNET32 = Architecture[CifarSettings](
    name="resnet32",
    summary="ResNet-32 for small pictures: fifteen residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(32, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

RESNET44 = Architecture[CifarSettings](
    name="resnet44",
    summary="ResNet-44 for small pictures: 21 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(44, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

RESNET56 = Architecture[CifarSettings](
    name="resnet56",
    summary="ResNet-56 for small pictures: 27 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(56, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

RESNET110 = Architecture[CifarSettings](
    name="resnet110",
    summary="ResNet-110 for small pictures: 54 residual units.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(110, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

RESNET164 = Architecture[CifarSettings](
    name="resnet164",
    summary="ResNet-164 for small pictures: 54 residual units with a bottleneck.",
    source=SOURCE,
    settings=CifarSettings,
    body=lambda c, shape, outputs: residual(164, c, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

PLAIN20 = Architecture[PlainSettings](
    name="plain20",
    summary="ResNet-20 without its bypasses: what depth alone does.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(20, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

PLAIN32 = Architecture[PlainSettings](
    name="plain32",
    summary="ResNet-32 without its bypasses: what depth alone does.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(32, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

PLAIN44 = Architecture[PlainSettings](
    name="plain44",
    summary="ResNet-44 without its bypasses: what depth alone does.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(44, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)

PLAIN56 = Architecture[PlainSettings](
    name="plain56",
    summary="ResNet-56 without its bypasses: what depth alone does.",
    source=SOURCE,
    settings=PlainSettings,
    body=lambda c, shape, outputs: plain(56, shape, outputs),
    least=8,
    most=64,
    suggest=unmirrored_digits,
    in_default_ladder=False,
)
