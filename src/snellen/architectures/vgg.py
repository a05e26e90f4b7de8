"""VGG: 3x3 convolutions, many of them; torchvision's, with a small head for small pictures.

Source: Simonyan and Zisserman 2015; lectures 002, 004.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL, Architecture, Start, unmirrored_digits
from snellen.core.settings import Limit, settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings

SOURCE = "Simonyan and Zisserman 2015; lectures 002, 004"
ROWS = {11: "A", 13: "B", 16: "D", 19: "E"}  # of the paper's table 1


@settings
class VGGSettings:
    """Batch normalisation, dropout, where the weights start, and how it learns."""

    batch_norm: bool = False
    """Normalise what each convolution gives over the batch; the paper's networks are older than that."""
    dropout: Annotated[float, Limit(least=0, below=1)] = 0.5
    """The share of units of the linear layers left out of each training step."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(epochs=15, batch_size=32, lr=0.0003, weight_decay=0.0005)
    augment: Augment = Augment(hflip=True, pad_crop=4)


def vgg(depth: int, c: VGGSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """VGG with so many layers of weights."""
    from torchvision.models.vgg import VGG, cfgs, make_layers

    channels, height, width = shape
    net = VGG(make_layers(cfgs[ROWS[depth]], batch_norm=c.batch_norm), outputs, dropout=c.dropout)
    if channels != 3:
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    if min(height, width) <= SMALL:  # one or four places are left of 32 or 64 pixels: a head of 103 M is too much
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier[0] = nn.Linear(512, 512)
        net.classifier[3] = nn.Linear(512, 512)
        net.classifier[6] = nn.Linear(512, outputs)
    return cast(nn.Module, net)


VGG11 = Architecture[VGGSettings](
    name="vgg11",
    summary="VGG-11: 3x3 convolutions and nothing else, 11 layers.",
    source=SOURCE,
    settings=VGGSettings,
    body=lambda c, shape, outputs: vgg(11, c, shape, outputs),
    least=32,
    suggest=unmirrored_digits,
    weights="vgg11",
    in_default_ladder=False,
)

VGG13 = Architecture[VGGSettings](
    name="vgg13",
    summary="VGG-13: two convolutions a stage.",
    source=SOURCE,
    settings=VGGSettings,
    body=lambda c, shape, outputs: vgg(13, c, shape, outputs),
    least=32,
    suggest=unmirrored_digits,
    weights="vgg13",
    in_default_ladder=False,
)

VGG16 = Architecture[VGGSettings](
    name="vgg16",
    summary="VGG-16: three convolutions in the later stages.",
    source=SOURCE,
    settings=VGGSettings,
    body=lambda c, shape, outputs: vgg(16, c, shape, outputs),
    least=32,
    suggest=unmirrored_digits,
    weights="vgg16",
    in_default_ladder=False,
)

VGG19 = Architecture[VGGSettings](
    name="vgg19",
    summary="VGG-19: four convolutions in the later stages.",
    source=SOURCE,
    settings=VGGSettings,
    body=lambda c, shape, outputs: vgg(19, c, shape, outputs),
    least=32,
    suggest=unmirrored_digits,
    weights="vgg19",
    in_default_ladder=False,
)
