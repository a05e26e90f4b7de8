"""The truth of pictures that is told of places in them: a map of every pixel, or a list of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Objects

NO_TRUTH = -1  # in a map of classes: the pixel is neither learned from nor counted
MOST_COUNTED = 500  # maps that are read to count the pixels of each class

Truth = Tensor | Objects


class Annotations(Protocol):
    """The truth of every sample of a source, read when it is asked for. Thread-safe."""

    def __len__(self) -> int: ...

    def of(self, id: int) -> Truth:
        """(H, W) int64 classes with -1 for none, (T, H, W) float32 numbers with NaN for none, or `Objects`.

        Its size is that of the picture as it is read.

        Raises:
            BadSamples: naming the file where it cannot be read.
        """

    def subset(self, ids: np.ndarray) -> Annotations:
        """The truth of these samples only, renumbered."""

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        """Objects, or pixels, of each class; pixels of at most `MOST_COUNTED` maps, spread evenly over `ids`."""


class ObjectLists:
    """Objects of all pictures in a few flat arrays.

    Args:
        starts: (N + 1,) int64: the objects of picture k are those from starts[k] to starts[k + 1].
        objects: those of all pictures, without masks.
        masks: picture, places of its objects -> (n, H, W) bool; None where there are none.
    """

    def __init__(self, starts: Tensor, objects: Objects, masks: Callable[[int, range], Tensor] | None = None) -> None:
        self.starts = starts
        self.objects = objects
        self.masks = masks
        self.places = torch.arange(len(starts) - 1)  # which picture each sample is

    def __len__(self) -> int:
        return len(self.places)

    def of(self, id: int) -> Objects:
        picture = int(self.places[id])
        first, last = self.starts[picture : picture + 2].tolist()
        found = self.objects.of(torch.arange(first, last))
        return found if self.masks is None else found._replace(masks=self.masks(picture, range(first, last)))

    def subset(self, ids: np.ndarray) -> ObjectLists:
        chosen = ObjectLists(self.starts, self.objects, self.masks)
        chosen.places = self.places[torch.from_numpy(ids)]
        return chosen

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        count = torch.zeros(classes, dtype=torch.int64)
        for picture in self.places[ids].tolist():
            first, last = self.starts[picture : picture + 2].tolist()
            count += torch.bincount(self.objects.labels[first:last], minlength=classes)
        return tuple(count.tolist())


def object_lists(each: Sequence[Objects]) -> ObjectLists:
    """The objects of pictures that lie in memory, masks and all."""
    starts = torch.tensor([0, *(len(objects.boxes) for objects in each)]).cumsum(0)
    points = [objects.keypoints for objects in each if objects.keypoints is not None]
    together = Objects(
        torch.cat([o.boxes for o in each]),
        torch.cat([o.labels for o in each]),
        torch.cat([o.crowd for o in each]),
        torch.cat([o.ignored for o in each]),
        torch.cat([o.areas for o in each]),
        None,
        torch.cat(points) if points else None,
    )
    kept = [objects.masks for objects in each]

    def masks(picture: int, places: range) -> Tensor:
        found = kept[picture]
        assert found is not None
        return found

    return ObjectLists(starts, together, masks if kept and kept[0] is not None else None)


def boxes_around(masks: Tensor) -> Tensor:
    """(N, 4) float32, the smallest box around each of (N, H, W) bool masks; four zeros around an empty one."""
    sides = []
    for axis in (1, 2):  # over rows: which columns are touched; over columns: which rows
        touched = masks.any(axis).byte()  # (N, W), then (N, H)
        length = touched.shape[1]
        some = touched.any(1)
        sides += [touched.argmax(1) * some, (length - touched.flip(1).argmax(1)) * some]
    left, right, top, bottom = sides
    return torch.stack([left, top, right, bottom], 1).float()


def objects_of(values: Tensor, labels: Tensor | None = None) -> Objects:
    """The objects of a map in which every one has a number of its own; one whose parts lie apart is one object.

    Args:
        values: (H, W) int64; 0 or less is no object.
        labels: (N,) int64 class of each, the lowest number first; None: all of the first class.
    """
    numbers = torch.unique(values[values > 0])
    masks = values == numbers[:, None, None]  # (N, H, W)
    no = torch.zeros(len(numbers), dtype=torch.bool)
    labels = torch.zeros(len(numbers), dtype=torch.int64) if labels is None else labels
    return Objects(boxes_around(masks), labels, no, no, masks.flatten(1).sum(1).float(), masks)


class Maps:
    """A map for every picture, read by a function of the picture's number.

    Args:
        read: number -> (H, W) int64 or (T, H, W) float32.
        places: which number each sample has.
    """

    def __init__(self, read: Callable[[int], Tensor], places: Sequence[int]) -> None:
        self.read = read
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    def of(self, id: int) -> Tensor:
        return self.read(self.places[id])

    def subset(self, ids: np.ndarray) -> Maps:
        return Maps(self.read, [self.places[id] for id in ids.tolist()])

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        few = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), MOST_COUNTED)).round().long()]
        count = torch.zeros(classes, dtype=torch.int64)
        for id in few.tolist():
            there = self.of(id)
            count += torch.bincount(there[there >= 0].flatten(), minlength=classes)
        return tuple(count.tolist())
