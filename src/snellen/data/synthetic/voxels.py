"""Synthetic dataset of solid shapes as occupancy volumes; the class is the shape.

Each volume is a function of (seed, number).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import uniform
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource
from snellen.data.synthetic.rotations import random_rotation
from snellen.geometry.ray_caster import KINDS, UNIT_VOLUMES, Solid

COUNT = 600  # volumes
VOXELS = 20  # a side
SAMPLES = 2  # points on each axis of a voxel at which occupancy is sampled
SMALLEST, LARGEST = 250.0, 600.0  # voxels inside a solid


def voxels(seed: int) -> RawDataset:
    """600 volumes of 20x20x20 voxels, each with a sphere, cube, cylinder or cone; values are the occupied part."""
    return RawDataset(
        source=ArraySource(torch.stack([volume(solid(seed, id)) for id in range(COUNT)]), "volume"),
        inputs={"volume": Input(modality="volume", shape=(1, VOXELS, VOXELS, VOXELS), dtype="uint8")},
        target=Classes(names=KINDS),
        truth=torch.arange(COUNT) % len(KINDS),
        recognised_as=f"the built-in dataset of voxels: {COUNT} volumes of {VOXELS}x{VOXELS}x{VOXELS} voxels, "
        "one solid in each",
    )


def solid(seed: int, id: int) -> Solid:
    """The solid of a volume, in voxels: the volume is independent of its class, the rotation is uniform."""
    u = uniform(torch.tensor([id]), 7, seed, "voxels")[0].double().numpy()
    kind = KINDS[id % len(KINDS)]
    occupied = SMALLEST * (LARGEST / SMALLEST) ** u[0]  # voxels
    return Solid(
        kind=kind,
        centre=VOXELS / 2 + 4 * (u[1:4] - 0.5),
        size=(occupied / UNIT_VOLUMES[kind]) ** (1 / 3),
        rotation=random_rotation(u[4:7]),
        colours=np.zeros((2, 3)),
        waves=np.zeros(3),
    )


def volume(shape: Solid) -> Tensor:
    """The occupied part of each voxel, (1, Z, Y, X) uint8: 255 for all of it."""
    inside = shape.contains(_POINTS).reshape([VOXELS, SAMPLES] * 3)
    part = torch.from_numpy(inside).float().mean((1, 3, 5))
    return (255 * part[None]).round().to(torch.uint8)


def _points() -> np.ndarray:
    """(N, 3) x, y and z in voxels of all sample points, x fastest."""
    centres = (np.arange(VOXELS * SAMPLES) + 0.5) / SAMPLES
    z, y, x = np.meshgrid(centres, centres, centres, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()], 1)


_POINTS = _points()
