"""GoogLeNet: four paths side by side in every unit, 1x1 convolutions before the dear ones; torchvision's.

Source: Szegedy et al. 2015, "Going deeper with convolutions"; lectures 002, 004.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL, Architecture, Start, unmirrored_digits
from snellen.core.settings import Limit, settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class GoogLeNetSettings:
    """Dropout, where the weights start, and how it learns."""

    dropout: Annotated[float, Limit(least=0, below=1)] = 0.2
    """The share of units before the last layer left out of each training step."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: GoogLeNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Without the two auxiliary classifiers, which batch normalisation made needless."""
    from torchvision.models.googlenet import BasicConv2d, GoogLeNet

    channels, height, width = shape
    net = GoogLeNet(outputs, aux_logits=False, init_weights=False, dropout=c.dropout)
    if min(height, width) <= SMALL:
        net.conv1 = BasicConv2d(channels, 64, kernel_size=3, padding=1)
        net.maxpool1 = nn.Identity()
        net.maxpool2 = nn.Identity()
    elif channels != 3:
        net.conv1 = BasicConv2d(channels, 64, kernel_size=7, stride=2, padding=3)
    return cast(nn.Module, net)


GOOGLENET = Architecture[GoogLeNetSettings](
    name="googlenet",
    summary="GoogLeNet: units of four paths, with 1x1 convolutions that make them cheap.",
    source="Szegedy et al. 2015; lectures 002, 004",
    settings=GoogLeNetSettings,
    body=body,
    least=2,
    renamed=lambda name: None if name.startswith("aux") else name,
    scaled=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # its weights were learned with values of −1 … 1
    suggest=unmirrored_digits,
    weights="googlenet",
    in_default_ladder=False,
)
