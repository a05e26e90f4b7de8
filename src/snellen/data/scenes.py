"""Images of any size with dense or object annotations, one at a time or in batches as a function of the step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import permutation
from snellen.core.spec import Preprocessing
from snellen.data.annotations import Annotation, Annotations
from snellen.data.cache import MEMORY_DIVISOR, available_memory
from snellen.data.decode.image_files import map_threads
from snellen.data.source import Source

B = TypeVar("B")


class Scene(NamedTuple):
    """An image with its annotation.

    image: (C, H, W) at the depth of the source. truth: see `Annotations.load`. id: that of the sample in the dataset.
    """

    image: Tensor
    truth: Annotation
    id: int


class Scenes:
    """Images of one split, at positions 0 … n-1; `ids` are their ids in the dataset.

    Decoded images stay in memory if all of them fit into a quarter of the free memory.
    """

    def __init__(
        self,
        source: Source,
        ids: Tensor,
        annotations: Annotations,
        preprocessing: Preprocessing,
        keep: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source = source
        self.ids = ids
        self.annotations = annotations
        self.preprocessing = preprocessing
        self.device = torch.device(device)
        self._cache: dict[int, Tensor] | None = (
            _IN_MEMORY.setdefault(source, {}).setdefault(preprocessing, {}) if keep else None
        )
        self._max_bytes = available_memory() // MEMORY_DIVISOR

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, id: int) -> Tensor:
        """(C, H, W) the image of a sample, on the CPU."""
        if self._cache is not None and id in self._cache:
            return self._cache[id]
        image = self.source.read(np.array([id]), self.preprocessing)[0]
        if self._cache is not None and image.nbytes * len(self.source) <= self._max_bytes:
            self._cache[id] = image
        return image

    def at(self, position: int) -> Scene:
        id = int(self.ids[position])
        return Scene(self.image(id).to(self.device), annotation_to(self.annotations.load(id), self.device), id)

    def take(self, positions: Sequence[int]) -> list[Scene]:
        """Scenes at several positions, read by threads if there are many."""
        return map_threads(self.at, positions)

    def in_order(self) -> Iterator[Scene]:
        """All scenes once, a few in memory at a time."""
        for start in range(0, len(self), 8):
            yield from self.take(range(start, min(start + 8, len(self))))


# Shared by all models that read the same images with the same preprocessing.
_IN_MEMORY: weakref.WeakKeyDictionary[Source, dict[Preprocessing, dict[int, Tensor]]] = weakref.WeakKeyDictionary()


def annotation_to(truth: Annotation, device: torch.device) -> Annotation:
    """Move an annotation to a device."""
    return truth.to(device) if isinstance(truth, Tensor) else truth.map(lambda entry: entry.to(device))


AugmentScene = Callable[[Scene, int], Scene]  # (scene, epoch) -> augmented scene


class SceneBatches(Generic[B]):
    """Shuffled batches of scenes as a function of the step, like `Batches`.

    Args:
        collate: scenes to a batch.
        size: scenes per batch; the last of an epoch may be smaller.
        seed: seed of the order.
        augment: augmentation and cropping as a function of scene and epoch, so that resuming is bit-identical.
        times: visits of each scene per epoch, if `augment` crops it; the second argument of `augment` then counts
            visits, not epochs.
    """

    def __init__(
        self,
        scenes: Scenes,
        size: int,
        seed: int,
        collate: Callable[[Sequence[Scene]], B],
        augment: AugmentScene | None = None,
        times: int = 1,
    ) -> None:
        self.scenes = scenes
        self.collate = collate
        self.times = times
        self.size = min(size, times * len(scenes))
        self.seed = seed
        self.augment = augment
        self.samples_per_batch: float = self.size
        self._steps = -(-times * len(scenes) // self.size)

    def __len__(self) -> int:
        """Steps per epoch."""
        return self._steps

    def visits(self, step: int) -> list[tuple[int, int]]:
        """Position of each scene of a step, and its number of previous visits."""
        epoch, index = divmod(step, self._steps)
        order = permutation(self.times * len(self.scenes), self.seed, "order", epoch)
        selected: list[int] = order[index * self.size : (index + 1) * self.size].tolist()
        return [(k % len(self.scenes), epoch * self.times + k // len(self.scenes)) for k in selected]

    def positions(self, step: int) -> list[int]:
        return [position for position, _ in self.visits(step)]

    def at(self, step: int) -> B:
        """Batch of a step; every call with the same step returns the same batch."""
        visits = self.visits(step)
        scenes = self.scenes.take([position for position, _ in visits])
        if self.augment is not None:
            scenes = [self.augment(scene, visit) for scene, (_, visit) in zip(scenes, visits, strict=True)]
        return self.collate(scenes)

    def names(self, step: int) -> str:
        """Names of the first samples in the batch of a step."""
        ids = [int(self.scenes.ids[position]) for position in self.positions(step)]
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return ", ".join(self.scenes.source.name(id) for id in ids[:5]) + more
