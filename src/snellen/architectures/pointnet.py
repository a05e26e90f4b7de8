"""PointNet for point clouds.

Source: Qi et al. 2017.
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.core.errors import UsageError
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import MAX_COORDINATES, Spec
from snellen.nn.pointnet import PointNet
from snellen.training.settings import TrainingSettings


@settings
class PointNetSettings:
    """Layers, normalisation, augmentation and training."""

    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (64, 128, 256)
    """Units of the layers that every point passes, separated by commas."""
    head: Annotated[int, Limit(min=1)] = 128
    """Units of the layer after the maximum over points."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.3
    """Dropout: fraction of the units of that layer that is set to zero in training."""
    normalize: bool = True
    """Centre each cloud on the mean of its points and scale it to radius 1, so that position and size do not count."""
    random_rotation: bool = False
    """Rotate each cloud at random in training, uniformly over all rotations."""
    training: TrainingSettings = TrainingSettings(epochs=20, lr=0.002)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 500:
        return {"epochs": Suggestion(value=60, reason=f"few samples ({count}): more epochs")}
    return {}


def body(c: PointNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    if c.random_rotation and shape[1] > MAX_COORDINATES:
        raise UsageError(
            f"--random-rotation rotates 2 or 3 coordinates, these points have {shape[1]} numbers; whether the others "
            "rotate too (normals) or not (colours) is unknown",
            "Omit --random-rotation, or give the coordinates only.",
        )
    if not c.hidden:
        raise UsageError("--hidden has no layer", "Give at least one number of units.")
    return PointNet(shape[1], c.hidden, c.head, outputs, c.dropout, c.normalize, c.random_rotation)


POINTNET = Architecture[PointNetSettings](
    name="pointnet",
    summary="PointNet: one MLP for every point of a cloud, the maximum over points, and a head.",
    source="Qi et al. 2017",
    settings=PointNetSettings,
    body=body,
    accepts=frozenset({"points"}),
    suggest=suggest,
)
