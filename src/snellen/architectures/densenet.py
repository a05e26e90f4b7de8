"""DenseNet: every layer sees what all layers before it made; torchvision's, with a stem that fits the picture.

Source: Huang, Liu, van der Maaten and Weinberger 2017; lecture 003, "connect all pairs".
"""

from __future__ import annotations

import re
from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL, Architecture, Start, unmirrored_digits
from snellen.core.settings import Limit, settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class DenseNetSettings:
    """Growth, where the weights start, and how it learns."""

    growth_rate: Annotated[int, Limit(least=1)] = 32
    """k, the channels that each layer adds: layer l of a block is given k0 + k (l − 1)."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: DenseNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    from torchvision.models import DenseNet

    channels, height, width = shape
    net = DenseNet(c.growth_rate, (6, 12, 24, 16), 2 * c.growth_rate, num_classes=outputs)
    if min(height, width) <= SMALL:
        net.features.conv0 = nn.Conv2d(channels, 2 * c.growth_rate, 3, padding=1, bias=False)
        net.features.pool0 = nn.Identity()
    elif channels != 3:
        net.features.conv0 = nn.Conv2d(channels, 2 * c.growth_rate, 7, stride=2, padding=3, bias=False)
    return cast(nn.Module, net)


def renamed(name: str) -> str:
    """The file has names from before modules might not have dots in theirs: norm.1 is norm1."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


DENSENET121 = Architecture[DenseNetSettings](
    name="densenet121",
    summary="DenseNet-121: every layer is joined to all before it.",
    source="Huang et al. 2017; lecture 003",
    settings=DenseNetSettings,
    body=body,
    least=8,
    renamed=renamed,
    suggest=unmirrored_digits,
    weights="densenet121",
    in_default_ladder=False,
)
