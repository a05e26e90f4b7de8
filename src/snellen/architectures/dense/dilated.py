"""A network of dilated convolutions.

Source: Yu and Koltun 2016, "Multi-scale context aggregation by dilated convolutions"; lecture 002.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.settings import Limit, settings
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.dilated import Dilated
from snellen.training.dense import Sight
from snellen.training.settings import TrainingSettings


@settings
class DilatedSettings:
    """How wide the network is, how its view widens, and how it learns."""

    width: Annotated[int, Limit(least=1, most=1024)] = 24
    """Channels of every map."""
    dilations: Annotated[tuple[int, ...], Limit(least=1, most=256)] = (1, 1, 2, 4, 8, 16, 1)
    """Pixels between the weights of each 3x3 convolution; a pixel is decided by 1 + twice their sum a side."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation over the batch, or over groups of channels of one picture, for batches of one or two tiles."""
    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.003, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)


DILATED = DenseArchitecture[DilatedSettings](
    name="dilated",
    summary="Dilated convolutions in place of stride: every map keeps the picture's size.",
    source="Yu and Koltun 2016; lecture 002",
    settings=DilatedSettings,
    body=lambda c, channels, outputs: Dilated(channels, outputs, c.width, c.dilations, c.norm),
    in_default_ladder=False,
)
