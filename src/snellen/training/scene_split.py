"""Training images with their annotations, cropped and augmented together, for dense and object targets."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment, augment_scene
from snellen.data.scenes import Scene, SceneBatches, Scenes
from snellen.training.network_training import evenly_spaced

B = TypeVar("B")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSplit(Generic[B]):
    """Training images with annotations.

    Args:
        collate: scenes to a batch.
        statistics_images, statistics_pixels: images, and pixels of each, whose values are sampled.
        tile: side of random crops in pixels; None: whole images.
        visits: of each image in an epoch, if it is cropped.
        is_fixed: the same crops in every epoch.
    """

    scenes: Scenes
    collate: Callable[[Sequence[Scene]], B]
    augmentation: SceneAugment
    spec: Spec
    default_size: int
    statistics_images: int
    statistics_pixels: int
    tile: int | None = None
    visits: int = 1
    is_fixed: bool = False

    def __len__(self) -> int:
        return len(self.scenes)

    def default_batch_size(self) -> int:
        return self.default_size

    def statistics(self) -> Tensor:
        """(1, C, N) pixels, or (1, N, D) steps, sampled evenly over some samples."""
        values, axis = [], self.spec.input.feature_axis
        for position in evenly_spaced(len(self), self.statistics_images).tolist():
            flat = self.scenes.image(int(self.scenes.ids[position])).movedim(axis, 0).flatten(1)  # (C, HW)
            values.append(flat[:, :: max(1, flat.shape[1] // self.statistics_pixels)])
        return torch.cat(values, 1).movedim(0, min(axis, 1))[None].to(self.scenes.device)

    def fixed(self, size: int) -> SceneSplit[B]:
        scenes = copy.copy(self.scenes)
        scenes.ids = self.scenes.ids[evenly_spaced(len(self), size)]
        return dataclasses.replace(self, scenes=scenes, augmentation=SceneAugment(hflip=False), visits=1, is_fixed=True)

    def batches(self, size: int, seed: int, value_range: tuple[float, float]) -> SceneBatches[B]:
        tile = None if self.tile is None else (self.tile, self.tile)

        def augment(scene: Scene, visit: int) -> Scene:
            visit = 0 if self.is_fixed else visit
            return augment_scene(scene, visit, self.augmentation, seed, self.spec.target, tile)

        batches = SceneBatches(self.scenes, size, seed, self.collate, augment, self.visits)
        if self.tile is not None and self.spec.input.size is not None:
            height, width = self.spec.input.size  # a tile counts as the part of an image that it covers
            batches.samples_per_batch = min(1.0, self.tile**2 / (height * width)) * batches.size
        return batches
