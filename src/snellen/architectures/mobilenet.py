"""MobileNetV2: residual units turned inside out, of depthwise convolutions; torchvision's.

Source: Sandler, Howard, Zhu, Zhmoginov and Chen 2018.
"""

from __future__ import annotations

from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL, Architecture, Start, unmirrored_digits
from snellen.core.settings import Limit, settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class MobileNetSettings:
    """Width, dropout, where the weights start, and how it learns."""

    width: Annotated[float, Limit(above=0, most=4)] = 1.0
    """Factor on the channels of every layer."""
    dropout: Annotated[float, Limit(least=0, below=1)] = 0.2
    """The share of units before the last layer left out of each training step."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0002, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: MobileNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    from torchvision.models import MobileNetV2

    channels, height, width = shape
    net = MobileNetV2(outputs, c.width, dropout=c.dropout)
    first = net.features[0][0]
    if channels != 3:
        net.features[0][0] = nn.Conv2d(channels, first.out_channels, 3, stride=2, padding=1, bias=False)
    if min(height, width) <= SMALL:  # two of the five strides are left out
        net.features[0][0].stride = (1, 1)
        net.features[2].conv[1][0].stride = (1, 1)
    return cast(nn.Module, net)


MOBILENETV2 = Architecture[MobileNetSettings](
    name="mobilenetv2",
    summary="MobileNetV2: depthwise convolutions in inverted residual units.",
    source="Sandler et al. 2018",
    settings=MobileNetSettings,
    body=body,
    suggest=unmirrored_digits,
    weights="mobilenet_v2",
    in_default_ladder=False,
)
