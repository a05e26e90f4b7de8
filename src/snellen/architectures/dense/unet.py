"""U-Net (Ronneberger et al. 2015), and the same encoder–decoder without skip connections.

Source: Ronneberger, Fischer and Brox 2015, "U-Net"; lectures 002 and 004.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.settings import Limit, settings
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.unet import UNet
from snellen.training.dense import TileSettings
from snellen.training.settings import TrainingSettings


@settings
class UNetSettings:
    """Width, depth, upsampling, normalisation, tiles, training and augmentation."""

    width: Annotated[int, Limit(min=1, max=1024)] = 16
    """Width: channels at full resolution; every downsampling doubles them."""
    depth: Annotated[int, Limit(min=1, max=8)] = 4
    """Encoder depth: number of downsamplings by 2."""
    upsample: Literal["deconvolution", "nearest", "bilinear", "bicubic"] = "bilinear"
    """Upsampling of feature maps: deconvolution (learned transposed convolution) or interpolation."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers: batch, or group for batches of one or two tiles."""
    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.003, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)


def unet(c: UNetSettings, channels: int, outputs: int, skips: bool) -> nn.Module:
    return UNet(channels, outputs, c.width, c.depth, skips=skips, upsample=c.upsample, norm=c.norm)


ENCODER_DECODER = DenseArchitecture[UNetSettings](
    name="encoder-decoder",
    summary="Encoder–decoder: U-Net without skip connections, for comparison.",
    source="Ronneberger et al. 2015 without skips; lecture 002",
    settings=UNetSettings,
    body=lambda c, channels, outputs: unet(c, channels, outputs, skips=False),
)

UNET = DenseArchitecture[UNetSettings](
    name="unet",
    summary="U-Net: encoder–decoder with skip connections between feature maps of equal resolution.",
    source="Ronneberger et al. 2015; lectures 002 and 004",
    settings=UNetSettings,
    body=lambda c, channels, outputs: unet(c, channels, outputs, skips=True),
)
