"""Objects in an image: ground truth, masks and detections.

Coordinates are continuous: pixel k spans k … k+1. A box is (x1, y1, x2, y2) in pixels of the image; its area is
(x2 - x1)(y2 - y1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class GroundTruth(NamedTuple):
    """Ground truth of one image: its annotated objects.

    boxes: (N, 4) float32. labels: (N,) int64, indices into the names of the target.
    crowd: (N,) bool: a region of many objects, excluded from training; detections in it are not counted (COCO).
    ignored: (N,) bool: a single object, excluded likewise; missing it is no error ("difficult", Pascal VOC).
    areas: (N,) float32, pixels of the object itself, for metrics by object size.
    masks: (N, H, W) bool, or None where the data has none.
    keypoints: (N, K, 3) float32: x, y, and visibility (0 not labelled, 1 hidden, 2 visible); or None.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    ignored: Tensor
    areas: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def select(self, index: Tensor) -> GroundTruth:
        """Select objects by a boolean mask or by indices."""
        return self.map(lambda tensor: tensor[index])

    def map(self, change: Callable[[Tensor], Tensor]) -> GroundTruth:
        """Apply a function to every tensor."""
        masks = None if self.masks is None else change(self.masks)
        keypoints = None if self.keypoints is None else change(self.keypoints)
        return GroundTruth(
            change(self.boxes),
            change(self.labels),
            change(self.crowd),
            change(self.ignored),
            change(self.areas),
            masks,
            keypoints,
        )

    @property
    def trainable(self) -> GroundTruth:
        """Objects to train on: neither crowd nor ignored, with an area above 0."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).unbind(1)
        return self.select(~self.crowd & ~self.ignored & (width > 0) & (height > 0))


class MaskRegion(NamedTuple):
    """Mask of one object, cropped: `mask` (h, w) bool begins at row `top` and column `left` of the image."""

    top: int
    left: int
    mask: Tensor

    def full(self, height: int, width: int) -> Tensor:
        """(H, W) bool, the mask in its image; parts outside the image are cut off."""
        mask = torch.zeros(height, width, dtype=torch.bool, device=self.mask.device)
        y1, x1 = max(self.top, 0), max(self.left, 0)
        y2, x2 = min(self.top + self.mask.shape[0], height), min(self.left + self.mask.shape[1], width)
        if y2 > y1 and x2 > x1:
            mask[y1:y2, x1:x2] = self.mask[y1 - self.top : y2 - self.top, x1 - self.left : x2 - self.left]
        return mask


class Detections(NamedTuple):
    """Detections in one image, by descending score.

    boxes: (D, 4) float32. scores: (D,) float32 in 0 … 1. labels: (D,) int64.
    masks: a `MaskRegion` for each, or None. keypoints: (D, K, 3) float32: x, y, and score; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: list[MaskRegion] | None = None
    keypoints: Tensor | None = None
