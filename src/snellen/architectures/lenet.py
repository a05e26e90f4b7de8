"""LeNet-5 (LeCun et al. 1998).

Source: LeCun, Bottou, Bengio and Haffner 1998; lectures 002, 004.
"""

from __future__ import annotations

from torch import nn

from snellen.architectures.architecture import Architecture, InitSettings
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.nn.convnets.lenet import MIN_SIDE, LeNet
from snellen.training.settings import TrainingSettings


@settings
class LeNetSettings:
    """Initial weights, training and augmentation; the network itself has no settings."""

    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(epochs=30, lr=0.002)
    augment: Augment = Augment(rotate=10.0, zoom=0.1, translate=0.07)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    return {} if count >= 10_000 else {"epochs": Suggestion(value=60, reason=f"{count:,} samples: more epochs")}


def body(c: LeNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    channels, height, width = shape
    return LeNet(channels, (height, width), outputs)


LENET = Architecture[LeNetSettings](
    name="lenet",
    summary="LeNet-5: two convolutions, pooling, three linear layers.",
    source="LeCun et al. 1998; lectures 002, 004",
    settings=LeNetSettings,
    body=body,
    min_size=MIN_SIDE,
    max_size=64,
    suggest=suggest,
)
