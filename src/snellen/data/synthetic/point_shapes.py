"""Synthetic dataset of point clouds: points on the surfaces of solid shapes, in any pose, with noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from snellen.core.random import generator
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource
from snellen.geometry.surface_sampling import on_box, on_cone, on_cylinder, on_sphere, on_torus

COUNT = 1000  # clouds
POINTS = 256  # of each cloud
NOISE = 0.02  # standard deviation of each coordinate, as a fraction of the size

# Uniform numbers (P, 3) and three proportions in 0 … 1 to points of a solid of about unit size.
SOLIDS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "sphere": lambda u, v: on_sphere(u, 1.0),
    "box": lambda u, v: on_box(u, 0.5 + 0.4 * v),
    "cylinder": lambda u, v: on_cylinder(u, 0.5 + 0.3 * v[0], 0.6 + 0.4 * v[1]),
    "cone": lambda u, v: on_cone(u, 0.6 + 0.4 * v[0], 1.4 + 0.6 * v[1]),
    "torus": lambda u, v: on_torus(u, 0.8, 0.2 + 0.2 * v[0]),
}


def point_shapes(seed: int) -> RawDataset:
    """1,000 clouds of 256 points of a sphere, box, cylinder, cone or torus, the class.

    The points are uniform by area. Proportions, rotation (uniform), size (0.5 to 2) and position (in −1 … 1) vary, and
    each coordinate has Gaussian noise of 2 % of the size.
    """
    truth = torch.arange(COUNT) % len(SOLIDS)
    samplers = list(SOLIDS.values())
    clouds = [cloud(seed, k, samplers[int(solid)]) for k, solid in enumerate(truth)]
    return RawDataset(
        source=ArraySource(torch.from_numpy(np.stack(clouds)).float(), "cloud"),
        inputs={"points": Input(modality="points", shape=(POINTS, 3))},
        target=Classes(names=tuple(SOLIDS)),
        truth=truth,
        recognised_as=f"the built-in dataset of point clouds: {COUNT:,} clouds of {POINTS} points on the surface of a "
        f"solid ({', '.join(SOLIDS)})",
    )


def cloud(seed: int, id: int, sampler: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Points (P, 3) of a solid in a random pose, a function of the seed and the number of the cloud."""
    rng = generator(seed, "point shapes", id)
    pose, u = (torch.rand(n, 3, generator=rng, dtype=torch.float64).numpy() for n in (3, POINTS))
    points = sampler(u, pose[0])
    quaternion = torch.randn(4, generator=rng, dtype=torch.float64).numpy()
    noise = NOISE * torch.randn(POINTS, 3, generator=rng, dtype=torch.float64).numpy()
    size, position = 0.5 * 4 ** pose[1, 0], 2 * pose[2] - 1
    moved: np.ndarray = size * (points @ rotation(quaternion).T + noise) + position
    return moved


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a quaternion (4,) of any length. Four normal numbers give a uniform rotation.

    Source: Shoemake 1992, "Uniform random rotations".
    """
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
