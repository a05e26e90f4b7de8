"""MobileNetV2 (Sandler et al. 2018): inverted residuals with depthwise convolutions; torchvision's.

Source: Sandler, Howard, Zhu, Zhmoginov and Chen 2018.
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
class MobileNetSettings:
    """Width multiplier, dropout, initial weights, training and augmentation."""

    width: Annotated[float, Limit(above=0, max=4)] = 1.0
    """Width multiplier: factor on the channels of every layer, above 0, at most 4."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.2
    """Dropout rate before the last layer, 0 to below 1."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0002, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: MobileNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    import_torchvision()
    from torchvision.models import MobileNetV2

    channels, height, width = shape
    net = MobileNetV2(outputs, c.width, dropout=c.dropout)
    stem = net.features[0][0]
    if channels != 3:
        net.features[0][0] = nn.Conv2d(channels, stem.out_channels, 3, stride=2, padding=1, bias=False)
    if min(height, width) <= SMALL_IMAGE:  # two of the five strides become 1
        net.features[0][0].stride = (1, 1)
        net.features[2].conv[1][0].stride = (1, 1)
    return cast(nn.Module, net)


MOBILENETV2 = Architecture[MobileNetSettings](
    name="mobilenetv2",
    summary="MobileNetV2: mobile network of inverted residual units with depthwise convolutions.",
    source="Sandler et al. 2018",
    settings=MobileNetSettings,
    body=body,
    large_from=SMALL_IMAGE + 1,
    suggest=suggest_augmentation,
    weights="mobilenet_v2",
    in_default_ladder=False,
)
