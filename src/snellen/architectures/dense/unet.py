"""U-Net, and the encoder–decoder that it is without its skips.

Source: Ronneberger, Fischer and Brox 2015, "U-Net"; lectures 002 and 004.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.settings import Limit, settings
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.unet import UNet
from snellen.training.dense import Sight
from snellen.training.settings import TrainingSettings


@settings
class UNetSettings:
    """How wide and deep the network is, how it enlarges its maps, and how it learns."""

    width: Annotated[int, Limit(least=1, most=1024)] = 16
    """Channels of the largest map; every halving doubles them."""
    depth: Annotated[int, Limit(least=1, most=8)] = 4
    """How often the picture is halved."""
    upsample: Literal["deconvolution", "nearest", "bilinear", "bicubic"] = "bilinear"
    """How maps are enlarged: by a transposed convolution that is learned, or by interpolation."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation over the batch, or over groups of channels of one picture, for batches of one or two tiles."""
    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.003, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)


def unet(c: UNetSettings, channels: int, outputs: int, skips: bool) -> nn.Module:
    return UNet(channels, outputs, c.width, c.depth, skips=skips, upsample=c.upsample, norm=c.norm)


ENCODER_DECODER = DenseArchitecture[UNetSettings](
    name="encoder-decoder",
    summary="Halves the picture and doubles it again, without skips: all it knows of a pixel fits the smallest map.",
    source="Ronneberger et al. 2015 without skips; lecture 002",
    settings=UNetSettings,
    body=lambda c, channels, outputs: unet(c, channels, outputs, skips=False),
)

UNET = DenseArchitecture[UNetSettings](
    name="unet",
    summary="U-Net: encoder and decoder, with skips between maps of the same size.",
    source="Ronneberger et al. 2015; lectures 002 and 004",
    settings=UNetSettings,
    body=lambda c, channels, outputs: unet(c, channels, outputs, skips=True),
)
