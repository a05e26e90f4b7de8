"""Pictures of any size with a truth in places, a picture at a time, and batches of them as a function of the step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import permutation
from snellen.core.spec import Preprocessing
from snellen.data.annotations import Annotations, Truth
from snellen.data.cache import SHARE_OF_MEMORY, memory
from snellen.data.decode.image_files import in_threads
from snellen.data.source import Source


class Scene(NamedTuple):
    """A picture with its truth.

    image: (C, H, W) at the depth of the source. truth: see `Annotations.of`. id: which sample of the dataset.
    """

    image: Tensor
    truth: Truth
    id: int


class Scenes:
    """The pictures of one split. Position 0 … n-1 here, `ids` there in the dataset.

    Decoded pictures are kept in memory while all of them fit into a quarter of what is free.
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
        self._kept: dict[int, Tensor] | None = (
            _KEPT.setdefault(source, {}).setdefault(preprocessing, {}) if keep else None
        )
        self._room = memory() // SHARE_OF_MEMORY

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, id: int) -> Tensor:
        """(C, H, W) the picture of a sample, on the CPU."""
        if self._kept is not None and id in self._kept:
            return self._kept[id]
        read = self.source.read(np.array([id]), self.preprocessing)[0]
        if self._kept is not None and read.nbytes * len(self.source) <= self._room:
            self._kept[id] = read
        return read

    def at(self, position: int) -> Scene:
        id = int(self.ids[position])
        return Scene(self.image(id).to(self.device), moved_to(self.annotations.of(id), self.device), id)

    def take(self, positions: Sequence[int]) -> list[Scene]:
        """Some of them, read by threads where there are many."""
        return in_threads(self.at, positions)

    def in_order(self) -> Iterator[Scene]:
        """Each once; few are held at a time."""
        for start in range(0, len(self), 8):
            yield from self.take(range(start, min(start + 8, len(self))))


# What was decoded serves every model that reads the same pictures in the same way.
_KEPT: weakref.WeakKeyDictionary[Source, dict[Preprocessing, dict[int, Tensor]]] = weakref.WeakKeyDictionary()


def moved_to(truth: Truth, device: torch.device) -> Truth:
    """The truth of a picture on a device."""
    return truth.to(device) if isinstance(truth, Tensor) else truth.each(lambda entry: entry.to(device))


Vary = Callable[[Scene, int], Scene]  # a scene and the epoch to the scene as it is seen in that epoch


class SceneBatches:
    """Shuffled scenes, epoch after epoch, so many at a time: a function of the step, like `Batches`.

    Args:
        size: scenes a batch; the last of an epoch may be smaller.
        seed: decides the order.
        vary: augmentation and cropping: a function of scene and epoch, so that a resumed run sees the same.
        times: how often an epoch comes to each scene, where `vary` cuts a part out of it; then its second argument
            counts these visits, not epochs.
    """

    def __init__(self, scenes: Scenes, size: int, seed: int, vary: Vary | None = None, times: int = 1) -> None:
        self.scenes = scenes
        self.times = times
        self.size = min(size, times * len(scenes))
        self.seed = seed
        self.vary = vary
        self._steps = -(-times * len(scenes) // self.size)

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._steps

    def visits(self, step: int) -> list[tuple[int, int]]:
        """Position of each scene of a step, and how often the run has come to it before."""
        epoch, place = divmod(step, self._steps)
        order = permutation(self.times * len(self.scenes), self.seed, "order", epoch)
        chosen: list[int] = order[place * self.size : (place + 1) * self.size].tolist()
        return [(k % len(self.scenes), epoch * self.times + k // len(self.scenes)) for k in chosen]

    def positions(self, step: int) -> list[int]:
        return [position for position, _ in self.visits(step)]

    def at(self, step: int) -> list[Scene]:
        """The scenes of a step: the same whenever and however often they are asked for."""
        visits = self.visits(step)
        scenes = self.scenes.take([position for position, _ in visits])
        if self.vary is None:
            return scenes
        return [self.vary(scene, visit) for scene, (_, visit) in zip(scenes, visits, strict=True)]

    def names(self, step: int) -> str:
        """The first samples of a step's batch, by the names the user knows."""
        ids = [int(self.scenes.ids[position]) for position in self.positions(step)]
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return ", ".join(self.scenes.source.name(id) for id in ids[:5]) + more
