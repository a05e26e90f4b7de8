"""Synthetic data with a target at every place: oscillators (a class at every step), sdf (a distance at every voxel)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.spec import Input, PixelClasses, PixelNumbers
from snellen.data.annotations import MapAnnotations
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource

SEQUENCES, STEPS = 600, 96
PERIODS = {"slow": 16.0, "medium": 8.0, "fast": 4.0}  # steps
MIN_SEGMENT, MAX_SEGMENT = 12, 32  # steps until the next oscillator
OSCILLATOR_NOISE = 0.5  # standard deviation; the amplitude is 1

VOLUMES, SIDE = 200, 16
OCCUPANCY_NOISE = 0.5  # standard deviation; occupancy is 0 or 1


def oscillators(seed: int) -> RawDataset:
    """600 sequences of 96 steps, in which one of three oscillators is active at each step.

    x_t = sin(2πt / P + φ) + 0.5 ε with a period P of 16, 8 or 4 steps, which changes every 12 to 32 steps together
    with the random phase φ. The values of all oscillators have one distribution, so that the class follows from several
    steps only.
    """
    rng = generator(seed, "oscillators")
    periods = torch.tensor(list(PERIODS.values()))
    x, y = torch.zeros(SEQUENCES, STEPS), torch.zeros(SEQUENCES, STEPS, dtype=torch.int64)
    for k in range(SEQUENCES):
        step, active = 0, int(torch.randint(len(periods), (1,), generator=rng))
        while step < STEPS:
            length = int(torch.randint(MIN_SEGMENT, MAX_SEGMENT + 1, (1,), generator=rng))
            steps = torch.arange(step, min(step + length, STEPS))
            phase = 2 * math.pi * torch.rand(1, generator=rng)
            x[k, steps] = torch.sin(2 * math.pi * steps / periods[active] + phase)
            y[k, steps] = active
            step += length
            active = (active + int(torch.randint(1, len(periods), (1,), generator=rng))) % len(periods)
    x = x + OSCILLATOR_NOISE * torch.randn(x.shape, generator=rng)
    return RawDataset(
        source=ArraySource(x[..., None], "sequence"),
        inputs={"sequence": Input(modality="sequence", shape=(STEPS, 1))},
        target=PixelClasses(names=tuple(PERIODS)),
        truth=None,
        annotations=MapAnnotations(lambda id: y[id], range(SEQUENCES)),
        recognised_as=f"the built-in oscillators: {SEQUENCES} sequences of {STEPS} steps, with the class of the active "
        "one of three at every step",
    )


def sdf(seed: int) -> RawDataset:
    """200 volumes of 16x16x16 voxels of the noisy occupancy of a solid, with the signed distance to its surface.

    The solid is a sphere, a rotated box or a rotated capsule; the distance is negative inside, in voxels.
    """
    rng = generator(seed, "sdf")
    axis = torch.arange(SIDE) + 0.5 - SIDE / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], -1).double()  # (Z, Y, X, 3)
    distances = torch.stack([random_solid(rng)(points) for _ in range(VOLUMES)])  # (N, Z, Y, X)
    occupancy = (distances <= 0).float() + OCCUPANCY_NOISE * torch.randn(distances.shape, generator=rng)
    stored = distances[:, None].float()
    return RawDataset(
        source=ArraySource(occupancy[:, None], "volume"),
        inputs={"volume": Input(modality="volume", shape=(1, SIDE, SIDE, SIDE))},
        target=PixelNumbers(kind="numbers", names=("distance",), units=("voxels",)),
        truth=None,
        annotations=MapAnnotations(lambda id: stored[id], range(VOLUMES)),
        recognised_as=f"the built-in solids: {VOLUMES} volumes of {SIDE}x{SIDE}x{SIDE} voxels of noisy occupancy, with "
        "the signed distance to the surface at every voxel",
    )


def random_solid(rng: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Signed distance of a sphere, box or capsule of random pose and size: (..., 3) points to (...)."""
    kind = int(torch.randint(3, (1,), generator=rng))
    centre = 4 * torch.rand(3, generator=rng).double() - 2
    sizes = 2.5 + 2.5 * torch.rand(3, generator=rng).double()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=rng).double())[0]

    def distance(points: Tensor) -> Tensor:
        local = (points - centre) @ rotation
        if kind == 0:
            return sphere_distance(local, float(sizes[0]) + 1)
        return box_distance(local, sizes) if kind == 1 else capsule_distance(local, float(sizes[0]), float(sizes[1]))

    return distance


def sphere_distance(points: Tensor, radius: float) -> Tensor:
    """Signed distance of (..., 3) points to a sphere about the origin, negative inside."""
    return _norm(points) - radius


def box_distance(points: Tensor, halves: Tensor) -> Tensor:
    """Signed distance of (..., 3) points to a box about the origin with half sides (3,), negative inside.

    Outside it is that to the nearest point of the box, inside that to the nearest face.
    """
    beyond = points.abs() - halves
    return _norm(beyond.clamp(min=0)) + beyond.amax(-1).clamp(max=0)


def capsule_distance(points: Tensor, half: float, radius: float) -> Tensor:
    """Signed distance of (..., 3) points to a capsule, negative inside.

    The capsule is the points within `radius` of a segment of the z axis from −half to half.
    """
    nearest = points[..., 2].clamp(-half, half)
    offset = torch.cat([points[..., :2], (points[..., 2] - nearest)[..., None]], -1)
    return _norm(offset) - radius


def _norm(offset: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(offset, dim=-1)
    return length
