"""Dilated convolutional network (Yu and Koltun 2016).

Source: Yu and Koltun 2016, "Multi-scale context aggregation by dilated convolutions"; lecture 002.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.settings import Limit, settings
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.dilated import DilatedNetwork
from snellen.training.dense import TileSettings
from snellen.training.settings import TrainingSettings


@settings
class DilatedSettings:
    """Width, dilations, normalisation, tiles, training and augmentation."""

    width: Annotated[int, Limit(min=1, max=1024)] = 24
    """Width: channels of every feature map."""
    dilations: Annotated[tuple[int, ...], Limit(min=1, max=256)] = (1, 1, 2, 4, 8, 16, 1)
    """Dilation of each 3x3 convolution in pixels; the receptive field is 1 + 2 × their sum."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers: batch, or group for batches of one or two tiles."""
    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.003, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)


DILATED = DenseArchitecture[DilatedSettings](
    name="dilated",
    summary="Dilated convolutions instead of strides: every feature map has full resolution.",
    source="Yu and Koltun 2016; lecture 002",
    settings=DilatedSettings,
    body=lambda c, channels, outputs: DilatedNetwork(channels, outputs, c.width, c.dilations, c.norm),
    default_ladders=frozenset(),
)
