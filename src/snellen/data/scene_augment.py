"""Scenes varied while learning: picture and truth together."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.random import uniform
from snellen.core.spec import PixelNumbers, Target
from snellen.data.augment import Augment
from snellen.data.scenes import Scene


def varied(scene: Scene, epoch: int, how: Augment, seed: int, target: Target | None, tile: int | None) -> Scene:
    """A random tile of a scene, mirrored half of the time where `how` says so: a function of its arguments."""
    assert isinstance(scene.truth, Tensor)
    across, down, mirror = uniform(torch.tensor([scene.id]), 3, seed, "scene", epoch)[0].tolist()
    image, truth = scene.image, scene.truth
    height, width = image.shape[-2:]
    if tile is not None:
        top, left = int(down * max(height - tile + 1, 1)), int(across * max(width - tile + 1, 1))
        part = (..., slice(top, top + tile), slice(left, left + tile))
        image, truth = image[part], truth[part]
    moved = isinstance(target, PixelNumbers) and target.kind in ("normals", "flow")
    if how.flip and mirror < 0.5 and not moved:
        image, truth = image.flip(-1), truth.flip(-1)
    return Scene(image, truth, scene.id)
