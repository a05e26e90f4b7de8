"""3D U-Net (Çiçek et al. 2016): a network with an output at every voxel of a volume.

Source: Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger 2016, "3D U-Net".
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.architectures.dense.architecture import DenseArchitecture, WholeSamples
from snellen.core.settings import Limit, settings
from snellen.nn.dense.unet3d import UNet3D
from snellen.training.settings import TrainingSettings


@settings
class UNet3DSettings(WholeSamples):
    """Width, depth, normalisation and training."""

    width: Annotated[int, Limit(min=1, max=1024)] = 8
    """Width: channels at full resolution; every downsampling doubles them."""
    depth: Annotated[int, Limit(min=1, max=5)] = 2
    """Encoder depth: number of downsamplings by 2."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers: batch, or group for batches of one or two volumes."""
    training: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.003, schedule="one-cycle")


UNET_3D = DenseArchitecture[UNet3DSettings](
    name="unet3d",
    summary="3D U-Net: encoder–decoder of volumes with skip connections between feature maps of equal resolution.",
    source="Çiçek et al. 2016",
    settings=UNet3DSettings,
    body=lambda c, channels, outputs: UNet3D(channels, outputs, c.width, c.depth, c.norm),
    accepts=frozenset({"volume"}),
)
