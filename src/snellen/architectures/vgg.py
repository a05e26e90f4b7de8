"""VGG (Simonyan and Zisserman 2015): torchvision's, with a smaller head for small images.

Source: Simonyan and Zisserman 2015; lectures 002, 004.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL_IMAGE, Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import Limit, settings
from snellen.core.torchvision_import import import_torchvision
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings

SOURCE = "Simonyan and Zisserman 2015; lectures 002, 004"
CONFIGURATIONS = {11: "A", 13: "B", 16: "D", 19: "E"}  # columns of the paper's table 1


@settings
class VGGSettings:
    """Batch normalisation, dropout, initial weights, training and augmentation."""

    batch_norm: bool = False
    """Batch normalisation after each convolution; the paper's networks have none."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.5
    """Dropout rate of the linear layers, 0 to below 1."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(epochs=15, batch_size=32, lr=0.0003, weight_decay=0.0005)
    augment: Augment = Augment(hflip=True, pad_crop=4)


def vgg(depth: int, c: VGGSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build VGG with `depth` weight layers: 11, 13, 16 or 19."""
    import_torchvision()
    from torchvision.models.vgg import VGG, cfgs, make_layers

    channels, height, width = shape
    net = VGG(make_layers(cfgs[CONFIGURATIONS[depth]], batch_norm=c.batch_norm), outputs, dropout=c.dropout)
    if channels != 3:
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    if min(height, width) <= SMALL_IMAGE:  # a 1x1 or 2x2 feature map remains: the head of 103 M weights is too large
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier[0] = nn.Linear(512, 512)
        net.classifier[3] = nn.Linear(512, 512)
        net.classifier[6] = nn.Linear(512, outputs)
    return cast(nn.Module, net)


def _architecture(depth: int, layers: str) -> Architecture[VGGSettings]:
    return Architecture(
        name=f"vgg{depth}",
        summary=f"VGG-{depth}: {layers}.",
        source=SOURCE,
        settings=VGGSettings,
        body=lambda c, shape, outputs: vgg(depth, c, shape, outputs),
        large_from=SMALL_IMAGE + 1,
        min_size=32,
        suggest=suggest_augmentation,
        weights=f"vgg{depth}",
        in_default_ladder=False,
    )


VGGS = (
    _architecture(11, "8 convolutions of 3x3 and 3 linear layers"),
    _architecture(13, "10 convolutions of 3x3, two per stage, and 3 linear layers"),
    _architecture(16, "13 convolutions of 3x3, three in the later stages, and 3 linear layers"),
    _architecture(19, "16 convolutions of 3x3, four in the later stages, and 3 linear layers"),
)
