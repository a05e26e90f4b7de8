"""Dense and object annotations of images: a map with a value per pixel, or a list of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import GroundTruth

IGNORE_INDEX = -1  # class of a pixel that is left out of loss and metrics
MAX_COUNTED_MAPS = 500  # maps read at most to count the pixels of each class

Annotation = Tensor | GroundTruth


class Annotations(Protocol):
    """Annotations of all samples of a source, loaded on demand. Thread-safe."""

    def __len__(self) -> int: ...

    def load(self, id: int) -> Annotation:
        """Annotation of one sample, at the size of the image as it is read.

        (H, W) int64 classes with -1 for none, (T, H, W) float32 numbers with NaN for none, or `GroundTruth`.

        Raises:
            BadSamples: naming the file that cannot be read.
        """

    def subset(self, ids: np.ndarray) -> Annotations:
        """Annotations of these samples only, renumbered."""

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        """Objects, or pixels, of each class; pixels of at most `MAX_COUNTED_MAPS` maps, spread evenly over `ids`."""


class ObjectAnnotations:
    """Objects of all images in a sampled flat arrays.

    Args:
        starts: (N + 1,) int64; image k has the objects starts[k] to starts[k + 1].
        objects: objects of all images, without masks.
        masks: function of the image and the range of its objects, returns (n, H, W) bool; None if there are no masks.
    """

    def __init__(
        self, starts: Tensor, objects: GroundTruth, masks: Callable[[int, range], Tensor] | None = None
    ) -> None:
        self.starts = starts
        self.objects = objects
        self.masks = masks
        self.image_of_sample = torch.arange(len(starts) - 1)

    def __len__(self) -> int:
        return len(self.image_of_sample)

    def load(self, id: int) -> GroundTruth:
        image = int(self.image_of_sample[id])
        first, last = self.starts[image : image + 2].tolist()
        objects = self.objects.select(torch.arange(first, last))
        return objects if self.masks is None else objects._replace(masks=self.masks(image, range(first, last)))

    def subset(self, ids: np.ndarray) -> ObjectAnnotations:
        selected = ObjectAnnotations(self.starts, self.objects, self.masks)
        selected.image_of_sample = self.image_of_sample[torch.from_numpy(ids)]
        return selected

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        count = torch.zeros(classes, dtype=torch.int64)
        for image in self.image_of_sample[ids].tolist():
            first, last = self.starts[image : image + 2].tolist()
            count += torch.bincount(self.objects.labels[first:last], minlength=classes)
        return tuple(count.tolist())


def object_annotations(images: Sequence[GroundTruth]) -> ObjectAnnotations:
    """`ObjectAnnotations` of images whose objects, with masks, are in memory."""
    starts = torch.tensor([0, *(len(objects.boxes) for objects in images)]).cumsum(0)
    keypoints = [objects.keypoints for objects in images if objects.keypoints is not None]
    concatenated = GroundTruth(
        torch.cat([o.boxes for o in images]),
        torch.cat([o.labels for o in images]),
        torch.cat([o.crowd for o in images]),
        torch.cat([o.ignored for o in images]),
        torch.cat([o.areas for o in images]),
        None,
        torch.cat(keypoints) if keypoints else None,
    )
    masks = [objects.masks for objects in images]

    def load_masks(image: int, indices: range) -> Tensor:
        loaded = masks[image]
        assert loaded is not None
        return loaded

    return ObjectAnnotations(starts, concatenated, load_masks if masks and masks[0] is not None else None)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """Tight boxes (N, 4) float32 of (N, H, W) bool masks; four zeros for an empty mask."""
    sides = []
    for axis in (1, 2):  # reduce over rows for left and right, over columns for top and bottom
        occupied = masks.any(axis).byte()  # (N, W), then (N, H)
        length = occupied.shape[1]
        non_empty = occupied.any(1)
        sides += [occupied.argmax(1) * non_empty, (length - occupied.flip(1).argmax(1)) * non_empty]
    left, right, top, bottom = sides
    return torch.stack([left, top, right, bottom], 1).float()


def objects_from_instance_map(values: Tensor, labels: Tensor | None = None) -> GroundTruth:
    """Objects of an instance map; the pixels of one number are one object, connected or not.

    Args:
        values: (H, W) int64; 0 or less is no object.
        labels: (N,) int64 class of each object, in ascending order of the numbers; None: all of class 0.
    """
    numbers = torch.unique(values[values > 0])
    masks = values == numbers[:, None, None]  # (N, H, W)
    false = torch.zeros(len(numbers), dtype=torch.bool)
    labels = torch.zeros(len(numbers), dtype=torch.int64) if labels is None else labels
    return GroundTruth(masks_to_boxes(masks), labels, false, false, masks.flatten(1).sum(1).float(), masks)


class MapAnnotations:
    """One map per image, read by a function of the image's number.

    Args:
        read: number of an image -> (H, W) int64 or (T, H, W) float32.
        numbers: number of the image of each sample.
    """

    def __init__(self, read: Callable[[int], Tensor], numbers: Sequence[int]) -> None:
        self.read = read
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, id: int) -> Tensor:
        return self.read(self.numbers[id])

    def subset(self, ids: np.ndarray) -> MapAnnotations:
        return MapAnnotations(self.read, [self.numbers[id] for id in ids.tolist()])

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        sampled = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), MAX_COUNTED_MAPS)).round().long()]
        count = torch.zeros(classes, dtype=torch.int64)
        for id in sampled.tolist():
            classes_map = self.load(id)
            count += torch.bincount(classes_map[classes_map >= 0].flatten(), minlength=classes)
        return tuple(count.tolist())
