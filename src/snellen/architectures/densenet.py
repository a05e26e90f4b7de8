"""DenseNet (Huang et al. 2017): torchvision's, with a smaller stem for small images.

Source: Huang, Liu, van der Maaten and Weinberger 2017; lecture 003, "connect all pairs".
"""

from __future__ import annotations

import re
from typing import Annotated, cast

from torch import nn

from snellen.architectures.architecture import SMALL_IMAGE, Architecture, InitSettings, suggest_augmentation
from snellen.core.settings import Limit, settings
from snellen.core.torchvision_import import import_torchvision
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class DenseNetSettings:
    """Growth rate, initial weights, training and augmentation."""

    growth_rate: Annotated[int, Limit(min=1)] = 32
    """Growth rate k: channels that each layer adds; layer l of a block has k0 + k (l − 1) input channels."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: DenseNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    import_torchvision()
    from torchvision.models import DenseNet

    channels, height, width = shape
    net = DenseNet(c.growth_rate, (6, 12, 24, 16), 2 * c.growth_rate, num_classes=outputs)
    if min(height, width) <= SMALL_IMAGE:
        net.features.conv0 = nn.Conv2d(channels, 2 * c.growth_rate, 3, padding=1, bias=False)
        net.features.pool0 = nn.Identity()
    elif channels != 3:
        net.features.conv0 = nn.Conv2d(channels, 2 * c.growth_rate, 7, stride=2, padding=3, bias=False)
    return cast(nn.Module, net)


def rename_tensor(name: str) -> str:
    """Translate a tensor name of the weights file: norm.1 to norm1, as module names cannot contain dots today."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


DENSENET121 = Architecture[DenseNetSettings](
    name="densenet121",
    summary="DenseNet-121: each layer receives the feature maps of all earlier layers of its block.",
    source="Huang et al. 2017; lecture 003",
    settings=DenseNetSettings,
    body=body,
    large_from=SMALL_IMAGE + 1,
    min_size=8,
    rename_tensor=rename_tensor,
    suggest=suggest_augmentation,
    weights="densenet121",
    in_default_ladder=False,
)
