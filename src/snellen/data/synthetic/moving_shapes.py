"""Synthetic dataset of moving solid shapes: clips whose class is the motion, not the shape.

A single frame does not depend on the class: see `state`. Each clip is a function of (seed, number).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import uniform
from snellen.core.spec import Classes, Input, Preprocessing
from snellen.data.dataset import RawDataset
from snellen.data.synthetic.rotations import random_rotation, rotation_about
from snellen.geometry.ray_caster import KINDS, SIDE, Solid, SolidScene, cast_rays, rays

COUNT = 800  # clips
FRAMES = 12
PIXELS = 24  # a side
MOTIONS: dict[str, tuple[int, int]] = {  # the coordinate of `state` that changes, and its direction
    "left": (0, -1),
    "right": (0, 1),
    "up": (1, -1),
    "down": (1, 1),
    "approaching": (2, -1),
    "receding": (2, 1),
    "clockwise": (3, 1),
    "anticlockwise": (3, -1),
}
_CENTRES = (np.arange(PIXELS) + 0.5) * SIDE / PIXELS  # of the pixels, in those of the ray caster
Y, X = (side.ravel() for side in np.meshgrid(_CENTRES, _CENTRES, indexing="ij"))
DIRECTIONS = rays(X, Y)
NEAREST, FARTHEST = 2.0, 5.0  # depth of the centre
MARGIN = 0.2  # of the image's side between the centre of a solid and the edge of the image


def moving_shapes(seed: int) -> RawDataset:
    """800 clips of a solid shape that moves or turns in one of eight ways, 12 frames of 24x24 pixels."""
    return RawDataset(
        source=MovingShapes(seed),
        inputs={"clip": Input(modality="clip", shape=(FRAMES, 3, PIXELS, PIXELS), dtype="uint8")},
        target=Classes(names=tuple(MOTIONS)),
        truth=torch.arange(COUNT) % len(MOTIONS),
        recognised_as=f"the built-in dataset of moving shapes: {COUNT} clips of {FRAMES} frames of {PIXELS}x{PIXELS} "
        "pixels, one solid in each; the class is its motion",
    )


class MovingShapes:
    """Source of the clips of one seed, rendered when they are read."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __len__(self) -> int:
        return COUNT

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return torch.stack([render(scenes(self.seed, int(id))) for id in ids])

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return f"clip {id}"

    def key(self) -> str | None:
        return None


def state(seed: int, id: int) -> np.ndarray:
    """(T, 4) in 0 … 1: column, row, depth and angle of the solid in each frame.

    All four are uniform and independent in every frame, whatever the class: the one that changes is taken modulo 1. So
    a solid that reaches one edge starts again at the opposite edge, and one that comes nearest starts again far away.
    """
    u = _draws(seed, id)
    coordinate, direction = list(MOTIONS.values())[id % len(MOTIONS)]
    states = np.tile(u[:4], (FRAMES, 1))
    travel = (0.4 + 0.4 * u[4]) * (0.8 if coordinate == 3 else 1)  # in a clip, of the range; of a turn for the angle
    states[:, coordinate] = (u[coordinate] + direction * travel * np.arange(FRAMES) / (FRAMES - 1)) % 1
    return states


def scenes(seed: int, id: int) -> list[SolidScene]:
    """The plane and the solid in each frame of a clip; all but the pose of the solid is constant."""
    u = _draws(seed, id)
    colours = 0.15 + 0.8 * u[5:17].reshape(2, 2, 3)
    plane = Solid(
        kind="plane",
        centre=np.array([0.0, 0.0, 7.0]),
        size=1.0,
        rotation=np.eye(3),
        colours=0.25 + 0.3 * colours[0],
        waves=np.array([1 + u[17], *(2 * math.pi * u[18:20])]),
    )
    solid = Solid(
        kind=KINDS[int(u[20] * len(KINDS))],
        centre=np.zeros(3),
        size=0.5 + 0.2 * u[21],
        rotation=random_rotation(u[22:25]),
        colours=colours[1],
        waves=np.array([2 + 2 * u[25], *(2 * math.pi * u[26:28])]),
    )
    up, across = math.radians(25 + 50 * u[28]), 2 * math.pi * u[29]
    light = np.array([math.cos(up) * math.cos(across), -abs(math.cos(up) * math.sin(across)), -math.sin(up)])
    return [SolidScene((plane, _at(solid, row)), light) for row in state(seed, id)]


def render(scenes: Sequence[SolidScene]) -> Tensor:
    """Render the frames of a clip, (T, 3, H, W) uint8. Only rays near the solid are cast again in each frame."""
    background = _shaded(scenes[0]._replace(solids=scenes[0].solids[:1]), X, Y)
    frames = np.tile(background, (len(scenes), 1, 1))
    for image, scene in zip(frames, scenes, strict=True):
        near = scene.solids[1].may_hit(DIRECTIONS)
        image[near] = _shaded(scene, X[near], Y[near])
    values = torch.from_numpy(frames * 255).round().to(torch.uint8)
    return values.view(-1, PIXELS, PIXELS, 3).permute(0, 3, 1, 2).contiguous()


def _shaded(scene: SolidScene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, 3) in 0 … 1: the colours at points of the image."""
    return cast_rays(scene, x, y).shade(scene.light)


def _at(solid: Solid, row: np.ndarray) -> Solid:
    """The solid at a row of `state`."""
    xy = SIDE * (MARGIN + (1 - 2 * MARGIN) * row[:2])  # projection of the centre, pixels
    depth = NEAREST * (FARTHEST / NEAREST) ** row[2]
    turned = rotation_about(2, 2 * math.pi * row[3]) @ solid.rotation
    return dataclasses.replace(solid, centre=depth * rays(xy[:1], xy[1:])[0], rotation=turned)


def _draws(seed: int, id: int) -> np.ndarray:
    """(30,) uniform numbers of a clip."""
    u: np.ndarray = uniform(torch.tensor([id]), 30, seed, "moving shapes")[0].double().numpy()
    return u
