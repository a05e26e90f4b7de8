"""Small scenes in memory, for tests: a bright square and a dark disc somewhere in noise, and what is true of them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from snellen.core.spec import Input, PixelClasses, PixelNumbers, Target
from snellen.data.annotations import Annotations, Maps
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import Array

SIDE = 32


def world(count: int, side: int = SIDE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(N, 1, S, S) uint8 pictures, and (N, S, S) int64: ground 0, square 1, disc 2, no truth along the upper edge."""
    drawn = torch.Generator().manual_seed(seed)
    pictures = torch.randint(60, 120, (count, 1, side, side), generator=drawn, dtype=torch.uint8)
    truth = torch.zeros(count, side, side, dtype=torch.int64)
    at = torch.arange(side)
    for k in range(count):
        size = int(torch.randint(side // 5, side // 3, (1,), generator=drawn))
        top, left = torch.randint(1, side - size, (2,), generator=drawn).tolist()
        y, x = torch.randint(side // 5, side - side // 5, (2,), generator=drawn).tolist()
        disc = (at[:, None] - y) ** 2 + (at - x) ** 2 <= (side // 6) ** 2
        truth[k, top : top + size, left : left + size] = 1
        truth[k][disc] = 2
        pictures[k, 0][truth[k] == 1] += 110
        pictures[k, 0][disc] = (pictures[k, 0][disc] - 50) // 2
        truth[k, 0] = -1
    return pictures, truth


def made(pictures: Tensor, target: Target, annotations: Annotations, name: str = "scenes") -> Dataset[Labelled]:
    """A dataset of (N, C, H, W) pictures told of places in them."""
    image = Input(modality="image", shape=tuple(pictures.shape[1:]), dtype=str(pictures.dtype).removeprefix("torch."))
    draft = RawDataset(
        source=Array(pictures, "picture"),
        inputs={"image": image},
        target=target,
        truth=None,
        annotations=annotations,
        recognised_as="scenes of a test",
    )
    return assemble(draft, name, 0, None)


@functools.cache
def segmented(count: int = 96) -> Dataset[Labelled]:
    """A class for every pixel."""
    pictures, truth = world(count)
    names = ("ground", "square", "disc")
    return made(pictures, PixelClasses(names=names), Maps(lambda id: truth[id], range(count)))


@functools.cache
def measured(count: int = 96) -> Dataset[Labelled]:
    """A depth for every pixel: the square is near, the ground far, the disc between; none along the upper edge."""
    pictures, truth = world(count)
    depth = torch.tensor([8.0, 2.0, 4.0, torch.nan])[truth][:, None]  # (N, 1, S, S)
    target = PixelNumbers(kind="depth", names=("depth",), units=("m",))
    return made(pictures, target, Maps(lambda id: depth[id], range(count)))
