"""Objects in a picture: what is true of them, and what a model found.

Coordinates are continuous: pixel k spans k … k+1. A box is (x1, y1, x2, y2) in pixels of the picture, and its area
(x2 - x1)(y2 - y1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Objects(NamedTuple):
    """What is true of the objects of one picture.

    boxes: (N, 4) float32. labels: (N,) int64, places in the names of the target.
    crowd: (N,) bool: a region of many, which is not learned from and in which finds are not counted (COCO).
    ignored: (N,) bool: likewise, but one object, that need not be found ("difficult", Pascal VOC).
    areas: (N,) float32, pixels of the object itself, by which scores are told apart by size.
    masks: (N, H, W) bool, or None where the data has none.
    keypoints: (N, K, 3) float32: x, y, and 0 not labelled, 1 hidden, 2 visible; or None.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    ignored: Tensor
    areas: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def of(self, chosen: Tensor) -> Objects:
        """Those of a mask or of places."""
        return self.each(lambda entry: entry[chosen])

    def each(self, change: Callable[[Tensor], Tensor]) -> Objects:
        """The same with every tensor changed alike."""
        masks = None if self.masks is None else change(self.masks)
        keypoints = None if self.keypoints is None else change(self.keypoints)
        return Objects(
            change(self.boxes),
            change(self.labels),
            change(self.crowd),
            change(self.ignored),
            change(self.areas),
            masks,
            keypoints,
        )

    @property
    def learned(self) -> Objects:
        """Those that a detector learns from: neither crowd nor ignored, with an area."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).unbind(1)
        return self.of(~self.crowd & ~self.ignored & (width > 0) & (height > 0))


class Region(NamedTuple):
    """A mask cut to where it is: rows from `top`, columns from `left` of the picture. `inside`: (h, w) bool."""

    top: int
    left: int
    inside: Tensor

    def full(self, height: int, width: int) -> Tensor:
        """(H, W) bool, the mask in its picture; what lies outside is cut off."""
        mask = torch.zeros(height, width, dtype=torch.bool, device=self.inside.device)
        y1, x1 = max(self.top, 0), max(self.left, 0)
        y2, x2 = min(self.top + self.inside.shape[0], height), min(self.left + self.inside.shape[1], width)
        if y2 > y1 and x2 > x1:
            mask[y1:y2, x1:x2] = self.inside[y1 - self.top : y2 - self.top, x1 - self.left : x2 - self.left]
        return mask


class Detections(NamedTuple):
    """What a model found in one picture, the surest first.

    boxes: (D, 4) float32. scores: (D,) float32 in 0 … 1. labels: (D,) int64.
    masks: a `Region` for each, or None. keypoints: (D, K, 3) float32: x, y, and how sure; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: list[Region] | None = None
    keypoints: Tensor | None = None
