"""What annotation files tell of the objects in pictures.

COCO, Pascal VOC and YOLO differ in how they write this down; what it means, and what may be wrong with it, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class Wrong(NamedTuple):
    """Something told of a picture that cannot be so.

    kind: that of the finding, a key of `object_check.WORDS`. reason: begins with the file and place where it stands.
    """

    picture: int
    kind: str
    reason: str


class Masks(Protocol):
    """The masks of all objects, drawn when they are asked for.

    sizes: (A, 2) int64, height and width of the picture that each is told for; 0 for polygons, which fit any.
    """

    @property
    def sizes(self) -> np.ndarray: ...

    def reach(self) -> np.ndarray:
        """(A, 4) x1 y1 x2 y2 around polygons; NaN for other masks, and where a point is NaN."""

    def masks(self, places: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool, of some objects of one picture. Raises ValueError where they do not fit it."""


@dataclass(frozen=True, kw_only=True)
class ObjectTable:
    """All objects of a set, in the order of their pictures.

    Args:
        picture: (A,) int64, which picture each lies in, never falling.
        boxes: (A, 4) float64, x1 y1 x2 y2 in pixels of the picture, as it was told of.
        labels: (A,) int64, places in the names of the target.
        crowd, ignored: (A,) bool, see `Objects`.
        areas: (A,) float64 pixels; NaN: that of the box.
        keypoints: (A, K, 3) float64, see `Objects`, or None.
        outlines: the masks, or None where not every object has one.
        sizes: (N, 2) int64, height and width of each picture as told; 0 where it is not told.
        place: what the user knows an object by: its file and number.
        wrong: what was found wrong while reading.
    """

    picture: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray
    place: Callable[[int], str]
    keypoints: np.ndarray | None = None
    outlines: Masks | None = None
    wrong: Sequence[Wrong] = ()
