"""Synthetic images of bright blocks with boxes, masks and two keypoints, for tests. The shape is the class."""

from __future__ import annotations

import functools

import torch

from snellen.core.detections import Detections, GroundTruth, MaskRegion
from snellen.core.spec import Boxes, Input
from snellen.data.annotations import object_annotations
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource

NAMES = ("wide", "tall")
SIDE = 64


def block_dataset(count: int = 60, *, masks: bool = False, keypoints: bool = False, seed: int = 0) -> Dataset[Labelled]:
    """Dataset with one to three blocks per image; every tenth image has none. Keypoints: ends of the long axis."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 60, (count, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    annotations = []
    for k in range(count):
        num_blocks = 0 if k % 10 == 9 else int(torch.randint(1, 4, (1,), generator=generator))
        labels = torch.randint(0, 2, (num_blocks,), generator=generator)
        corners = torch.randint(0, 36, (num_blocks, 2), generator=generator).float()
        sides = torch.tensor([[24.0, 8.0], [8.0, 24.0]])[labels]
        boxes = torch.cat([corners, corners + sides], 1)
        mask = torch.zeros(num_blocks, SIDE, SIDE, dtype=torch.bool)
        for n, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
            mask[n, y1:y2, x1:x2] = True
            x[k, 0, y1:y2, x1:x2] = 200
        no_flags = torch.zeros(num_blocks, dtype=torch.bool)
        middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        ends = torch.cat([middle - sides[:, None] / 2.5, middle + sides[:, None] / 2.5], 1)
        points = torch.cat([ends, torch.full((num_blocks, 2, 1), 2.0)], 2)
        annotations.append(
            GroundTruth(
                boxes,
                labels,
                no_flags,
                no_flags,
                box_areas(boxes),
                mask if masks else None,
                points if keypoints else None,
            )
        )
    target = Boxes(names=NAMES, masks=masks, keypoints=("near", "far") if keypoints else (), bones=((0, 1),))
    image = Input(modality="image", shape=(1, SIDE, SIDE), dtype="uint8")
    raw = RawDataset(
        source=ArraySource(x, "picture"),
        inputs={"image": image},
        target=target,
        truth=None,
        recognised_as="blocks",
        annotations=object_annotations(annotations),
    )
    return assemble(raw, "blocks", 0, None)


@functools.cache
def box_dataset() -> Dataset[Labelled]:
    return block_dataset()


@functools.cache
def mask_dataset() -> Dataset[Labelled]:
    return block_dataset(masks=True)


@functools.cache
def keypoint_dataset() -> Dataset[Labelled]:
    return block_dataset(keypoints=True)


def box_areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def detections_from_truth(truth: GroundTruth, scores: torch.Tensor) -> Detections:
    """Detections equal to the ground truth."""
    masks = None if truth.masks is None else [MaskRegion(0, 0, mask) for mask in truth.masks]
    return Detections(truth.boxes, scores, truth.labels, masks, truth.keypoints)
