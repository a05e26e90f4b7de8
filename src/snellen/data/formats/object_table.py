"""Object table: the objects of all images in one common layout.

COCO, Pascal VOC and YOLO files differ in syntax only; their content and possible errors are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class AnnotationProblem(NamedTuple):
    """An error in the annotations of an image.

    image: index. kind: that of the finding, a key of `object_checks.ERROR_MESSAGES`. reason: starts with file and
    position.
    """

    image: int
    kind: str
    reason: str


class MaskSource(Protocol):
    """The masks of all objects, rendered on demand.

    sizes: (A, 2) int64, height and width of the image that each mask is for; 0 for polygons, which fit any size.
    """

    @property
    def sizes(self) -> np.ndarray: ...

    def bounds(self) -> np.ndarray:
        """(A, 4) bounding boxes x1 y1 x2 y2 of polygons; NaN for other masks, and where a point is NaN."""

    def masks(self, places: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool masks of some objects of one image. Raises ValueError if they do not fit the image."""


@dataclass(frozen=True, kw_only=True)
class ObjectTable:
    """All objects of a dataset, in the order of their images.

    Args:
        image_index: (A,) int64, the image of each object, non-decreasing.
        boxes: (A, 4) float64, x1 y1 x2 y2 in pixels of the image as annotated.
        labels: (A,) int64, indices into the class names of the target.
        crowd, ignored: (A,) bool, see `GroundTruth`.
        areas: (A,) float64 pixels; NaN: that of the box.
        keypoints: (A, K, 3) float64, see `GroundTruth`, or None.
        masks: the masks, or None unless every object has one.
        sizes: (N, 2) int64, height and width of each image as annotated; 0 where missing.
        first_pixel: the number of the first pixel in the files, 0 or 1; `boxes` count from 0.
        describe: object index -> its name in messages: file and number.
        problems: those found while reading.
    """

    image_index: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray
    describe: Callable[[int], str]
    keypoints: np.ndarray | None = None
    masks: MaskSource | None = None
    problems: Sequence[AnnotationProblem] = ()
    first_pixel: int = 0
