"""AlexNet (Krizhevsky et al. 2012): torchvision's, with a smaller stem and head for small images.

Source: Krizhevsky, Sutskever and Hinton 2012, in the form of Krizhevsky 2014; lectures 002, 004.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL_IMAGE, Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import Limit, settings
from snellen.core.torchvision_import import import_torchvision
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class AlexNetSettings:
    """Dropout, initial weights, training and augmentation."""

    dropout: Annotated[float, Limit(min=0, below=1)] = 0.5
    """Dropout rate of the linear layers, 0 to below 1."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(epochs=15, batch_size=32, lr=0.0005, weight_decay=0.0005)
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: AlexNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    import_torchvision()
    from torchvision.models import AlexNet

    channels, height, width = shape
    net = AlexNet(outputs, c.dropout)
    if min(height, width) <= SMALL_IMAGE:  # an 11x11 stem with stride 4 would leave no feature map
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
        net.avgpool = nn.AdaptiveAvgPool2d(2)
        net.classifier[1] = nn.Linear(256 * 4, 1024)
        net.classifier[4] = nn.Linear(1024, 1024)
        net.classifier[6] = nn.Linear(1024, outputs)
    elif channels != 3:
        net.features[0] = nn.Conv2d(channels, 64, 11, stride=4, padding=2)
    return cast(nn.Module, net)


ALEXNET = Architecture[AlexNetSettings](
    name="alexnet",
    summary="AlexNet: five convolutions and three linear layers with dropout.",
    source="Krizhevsky et al. 2012, 2014; lectures 002, 004",
    settings=AlexNetSettings,
    body=body,
    large_from=SMALL_IMAGE + 1,
    min_size=15,
    suggest=suggest_augmentation,
    weights="alexnet",
    in_default_ladder=False,
)
