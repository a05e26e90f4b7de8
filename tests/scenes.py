"""Synthetic samples with dense targets in memory, for tests: images of a bright square and a dark disc in noise;
sequences and volumes with the means of neighbouring values.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from snellen.core.spec import Input, Modality, PixelClasses, PixelNumbers, Target
from snellen.data.annotations import Annotations, MapAnnotations
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource

SIDE = 32


def images_and_classes(count: int, side: int = SIDE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(N, 1, S, S) uint8 images, and (N, S, S) int64 classes: ground 0, square 1, disc 2, -1 along the upper edge."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(60, 120, (count, 1, side, side), generator=generator, dtype=torch.uint8)
    truth = torch.zeros(count, side, side, dtype=torch.int64)
    at = torch.arange(side)
    for k in range(count):
        size = int(torch.randint(side // 5, side // 3, (1,), generator=generator))
        top, left = torch.randint(1, side - size, (2,), generator=generator).tolist()
        y, x = torch.randint(side // 5, side - side // 5, (2,), generator=generator).tolist()
        disc = (at[:, None] - y) ** 2 + (at - x) ** 2 <= (side // 6) ** 2
        truth[k, top : top + size, left : left + size] = 1
        truth[k][disc] = 2
        images[k, 0][truth[k] == 1] += 110
        images[k, 0][disc] = (images[k, 0][disc] - 50) // 2
        truth[k, 0] = -1
    return images, truth


def image_dataset(images: Tensor, target: Target, annotations: Annotations, name: str = "scenes") -> Dataset[Labelled]:
    """Dataset of (N, C, H, W) images with dense annotations."""
    image = Input(modality="image", shape=tuple(images.shape[1:]), dtype=str(images.dtype).removeprefix("torch."))
    raw = RawDataset(
        source=ArraySource(images, "picture"),
        inputs={"image": image},
        target=target,
        truth=None,
        annotations=annotations,
        recognised_as="scenes of a test",
    )
    return assemble(raw, name, 0, None)


@functools.cache
def segmentation_dataset(count: int = 96) -> Dataset[Labelled]:
    """Dataset with a class for every pixel."""
    images, truth = images_and_classes(count)
    names = ("ground", "square", "disc")
    return image_dataset(images, PixelClasses(names=names), MapAnnotations(lambda id: truth[id], range(count)))


@functools.cache
def depth_dataset(count: int = 96) -> Dataset[Labelled]:
    """Dataset with a depth for every pixel: square 2 m, disc 4 m, ground 8 m; NaN along the upper edge."""
    images, truth = images_and_classes(count)
    depth = torch.tensor([8.0, 2.0, 4.0, torch.nan])[truth][:, None]  # (N, 1, S, S)
    target = PixelNumbers(kind="depth", names=("depth",), units=("m",))
    return image_dataset(images, target, MapAnnotations(lambda id: depth[id], range(count)))


def place_dataset(x: Tensor, modality: Modality, truth: Tensor, names: tuple[str, ...], name: str) -> Dataset[Labelled]:
    """Dataset with a class (int64) or numbers (K, *places) at every place."""
    target: Target = (
        PixelNumbers(kind="numbers", names=names) if truth.is_floating_point() else PixelClasses(names=names)
    )
    raw = RawDataset(
        source=ArraySource(x, "sample"),
        inputs={"x": Input(modality=modality, shape=tuple(x.shape[1:]))},
        target=target,
        truth=None,
        annotations=MapAnnotations(lambda id: truth[id], range(len(x))),
        recognised_as="samples of a test",
    )
    return assemble(raw, name, 0, None)


@functools.cache
def sequence_dataset(regress: bool, count: int = 96) -> Dataset[Labelled]:
    """Sequences of 16 steps of noise: the mean of three steps, and whether it is positive."""
    x = torch.randn(count, 16, 2, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.avg_pool1d(x.sum(2)[:, None], 3, stride=1, padding=1)  # (N, 1, T)
    truth = mean if regress else (mean[:, 0] > 0).long()
    return place_dataset(x, "sequence", truth, ("mean",) if regress else ("negative", "positive"), "steps")


@functools.cache
def volume_dataset(regress: bool, count: int = 60) -> Dataset[Labelled]:
    """Volumes of 5x6x7 voxels of noise: the mean of 27 voxels, and whether it is positive."""
    x = torch.randn(count, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.avg_pool3d(x, 3, stride=1, padding=1)  # (N, 1, Z, Y, X)
    truth = mean if regress else (mean[:, 0] > 0).long()
    return place_dataset(x, "volume", truth, ("mean",) if regress else ("negative", "positive"), "voxels")
