"""3D ConvNet: convolutions over space and time, or over the three axes of a volume.

Source: Ji et al. 2013; Tran et al. 2015; lectures 002 (convolution in three dimensions), 003 (3D ConvNet).
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.convnets.convnet3d import ConvNet3d
from snellen.training.settings import TrainingSettings


@settings
class ConvNet3dSettings:
    """Width, depth, dropout and training."""

    width: Annotated[int, Limit(min=1)] = 16
    """Width: channels of the first stage; every further stage has twice as many."""
    depth: Annotated[int, Limit(min=1, max=8)] | None = None
    """Depth: convolutions; auto: until no axis is longer than 4, at most 5."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.1
    """Dropout: fraction of the features zeroed in training, before the last layer."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=32, optimizer="adamw", lr=0.004, weight_decay=0.02, schedule="one-cycle"
    )


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if 0 < count < 2000:
        return {"epochs": Suggestion(value=30, reason=f"{count:,} samples: more epochs")}
    return {}


def body(c: ConvNet3dSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    channels, *sides = shape
    return ConvNet3d(channels, sides, outputs, width=c.width, stages=c.depth, dropout=c.dropout)


CONVNET3D = Architecture[ConvNet3dSettings](
    name="convnet3d",
    summary="3D ConvNet: convolutions over space and time, or over the three axes of a volume.",
    source="Ji et al. 2013; Tran et al. 2015; lectures 002, 003",
    settings=ConvNet3dSettings,
    body=body,
    accepts=frozenset({"clip", "volume"}),
    channels_first=True,
    suggest=suggest,
)
