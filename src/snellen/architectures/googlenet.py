"""GoogLeNet (Szegedy et al. 2015): inception modules; torchvision's.

Source: Szegedy et al. 2015, "Going deeper with convolutions"; lectures 002, 004.
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
class GoogLeNetSettings:
    """Dropout, initial weights, training and augmentation."""

    dropout: Annotated[float, Limit(min=0, below=1)] = 0.2
    """Dropout rate before the last layer, 0 to below 1."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: GoogLeNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """GoogLeNet without the auxiliary classifiers, which batch normalisation makes unnecessary."""
    import_torchvision()
    from torchvision.models.googlenet import BasicConv2d, GoogLeNet

    channels, height, width = shape
    net = GoogLeNet(outputs, aux_logits=False, init_weights=False, dropout=c.dropout)
    if min(height, width) <= SMALL_IMAGE:
        net.conv1 = BasicConv2d(channels, 64, kernel_size=3, padding=1)
        net.maxpool1 = nn.Identity()
        net.maxpool2 = nn.Identity()
    elif channels != 3:
        net.conv1 = BasicConv2d(channels, 64, kernel_size=7, stride=2, padding=3)
    return cast(nn.Module, net)


GOOGLENET = Architecture[GoogLeNetSettings](
    name="googlenet",
    summary="GoogLeNet: inception modules of four parallel branches, with 1x1 convolutions to reduce cost.",
    source="Szegedy et al. 2015; lectures 002, 004",
    settings=GoogLeNetSettings,
    body=body,
    large_from=SMALL_IMAGE + 1,
    min_size=2,
    rename_tensor=lambda name: None if name.startswith("aux") else name,
    mean_std=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # its weights were trained with values of −1 … 1
    suggest=suggest_augmentation,
    weights="googlenet",
    in_default_ladder=False,
)
