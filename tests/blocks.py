"""Pictures with bright blocks in the dark, for tests: classes by their shape, with masks and two keypoints each."""

from __future__ import annotations

import functools

import torch

from snellen.core.detections import Detections, Objects, Region
from snellen.core.spec import Boxes, Input
from snellen.data.annotations import object_lists
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import Array

NAMES = ("wide", "tall")
SIDE = 64


def blocks(count: int = 60, *, masks: bool = False, keypoints: bool = False, seed: int = 0) -> Dataset[Labelled]:
    """One to three blocks a picture; every tenth picture has none. Keypoints: the ends of the longer side."""
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 60, (count, 1, SIDE, SIDE), generator=drawn, dtype=torch.uint8)
    each = []
    for k in range(count):
        many = 0 if k % 10 == 9 else int(torch.randint(1, 4, (1,), generator=drawn))
        labels = torch.randint(0, 2, (many,), generator=drawn)
        corners = torch.randint(0, 36, (many, 2), generator=drawn).float()
        sides = torch.tensor([[24.0, 8.0], [8.0, 24.0]])[labels]
        boxes = torch.cat([corners, corners + sides], 1)
        inside = torch.zeros(many, SIDE, SIDE, dtype=torch.bool)
        for n, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
            inside[n, y1:y2, x1:x2] = True
            x[k, 0, y1:y2, x1:x2] = 200
        none = torch.zeros(many, dtype=torch.bool)
        middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        ends = torch.cat([middle - sides[:, None] / 2.5, middle + sides[:, None] / 2.5], 1)
        points = torch.cat([ends, torch.full((many, 2, 1), 2.0)], 2)
        each.append(
            Objects(
                boxes, labels, none, none, boxes_areas(boxes), inside if masks else None, points if keypoints else None
            )
        )
    target = Boxes(names=NAMES, masks=masks, keypoints=("near", "far") if keypoints else (), bones=((0, 1),))
    image = Input(modality="image", shape=(1, SIDE, SIDE), dtype="uint8")
    draft = RawDataset(
        source=Array(x, "picture"),
        inputs={"image": image},
        target=target,
        truth=None,
        recognised_as="blocks",
        annotations=object_lists(each),
    )
    return assemble(draft, "blocks", 0, None)


@functools.cache
def boxes() -> Dataset[Labelled]:
    return blocks()


@functools.cache
def masked() -> Dataset[Labelled]:
    return blocks(masks=True)


@functools.cache
def posed() -> Dataset[Labelled]:
    return blocks(keypoints=True)


def boxes_areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def found_of(truth: Objects, scores: torch.Tensor) -> Detections:
    """The truth as if it had been found."""
    masks = None if truth.masks is None else [Region(0, 0, mask) for mask in truth.masks]
    return Detections(truth.boxes, scores, truth.labels, masks, truth.keypoints)
