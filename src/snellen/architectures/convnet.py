"""ConvNet: a small convolutional network with batch normalisation, whose depth follows the image size.

Source: LeCun et al. 1998; Ioffe and Szegedy 2015; lectures 002, 004.
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.nn.convnets.convnet import LARGE, ConvNet
from snellen.training.settings import TrainingSettings

FEW = 10_000  # training images below which more epochs are suggested


@settings
class ConvNetSettings:
    """Width, dropout, initial weights, training and augmentation."""

    width: Annotated[int, Limit(min=1)] = 32
    """Width: channels of the first stage; every further stage has twice as many."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.1
    """Dropout: fraction of the features zeroed in training, before the last layer."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=32, optimizer="adamw", lr=0.004, weight_decay=0.02, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    suggestions = suggest_augmentation(spec)
    count = spec.sizes.get("train", 0)
    if 0 < count < FEW:
        suggestions["epochs"] = Suggestion(value=40, reason=f"{count:,} samples: more epochs")
    return suggestions


def body(c: ConvNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    channels, height, width = shape
    return ConvNet(channels, (height, width), outputs, width=c.width, dropout=c.dropout)


CONVNET = Architecture[ConvNetSettings](
    name="convnet",
    summary="ConvNet: three to five convolutions with batch normalisation, as many as the image size asks for.",
    source="LeCun et al. 1998; Ioffe and Szegedy 2015; lectures 002, 004",
    settings=ConvNetSettings,
    body=body,
    min_size=4,
    max_size=64,
    large_from=LARGE,
    suggest=suggest,
)
