"""The masks of objects as annotation files tell them, polygons or run lengths, kept flat and drawn when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import shown
from snellen.core.rle import lengths_of, text
from snellen.core.spec import MOST_PIXELS

Ring = Sequence[float]  # x1, y1, x2, y2, ...


class Runs(NamedTuple):
    """A mask as COCO's compressed run lengths, down the columns of a picture of this height and width."""

    counts: bytes
    height: int
    width: int


Outline = Sequence[Ring] | Runs


class Outlines:
    """Masks of many objects in a few flat arrays.

    Args:
        each: for each object its polygons, which are joined, in pixels of the picture; or its runs.
    """

    def __init__(self, each: Sequence[Outline]) -> None:
        rings = [() if isinstance(outline, Runs) else outline for outline in each]
        lengths = [len(ring) for outline in rings for ring in outline]
        numbers = chain.from_iterable(chain.from_iterable(rings))
        self.points = np.fromiter(numbers, np.float64, sum(lengths)).reshape(-1, 2)  # (P, 2) x, y
        self.ring_starts = np.cumsum([0, *lengths]) // 2  # (R + 1,) into points
        self.object_rings = np.cumsum([0, *map(len, rings)])  # (A + 1,) into rings
        runs = [outline if isinstance(outline, Runs) else Runs(b"", 0, 0) for outline in each]
        self.counts = b"".join(one.counts for one in runs)
        self.count_starts = np.cumsum([0, *(len(one.counts) for one in runs)])  # (A + 1,) into counts
        self.sizes = np.array([(one.height, one.width) for one in runs], np.int64).reshape(-1, 2)  # 0: polygons

    def __len__(self) -> int:
        return len(self.sizes)

    def reach(self) -> np.ndarray:
        """(A, 4) x1 y1 x2 y2 around the polygons of each object; NaN for one with runs, or where a point is NaN."""
        around = np.full((len(self), 4), np.nan)
        starts = self.ring_starts[self.object_rings]  # (A + 1,) into points
        some = np.nonzero(starts[1:] > starts[:-1])[0]
        if len(some):
            around[some, :2] = np.minimum.reduceat(self.points, starts[some])
            around[some, 2:] = np.maximum.reduceat(self.points, starts[some])
        return around

    def runs(self, k: int, height: int, width: int) -> dict[str, Any]:
        """The mask of an object as run lengths of a picture of this size, as the mask functions of COCO take them."""
        from faster_coco_eval.core import mask

        if self.sizes[k, 0]:
            size = self.sizes[k].tolist()
            return {"size": size, "counts": self.counts[self.count_starts[k] : self.count_starts[k + 1]]}
        places = range(self.object_rings[k], self.object_rings[k + 1])
        rings = [self.points[self.ring_starts[r] : self.ring_starts[r + 1]].ravel().tolist() for r in places]
        joined: dict[str, Any] = mask.merge(mask.frPyObjects(rings, height, width))
        return joined

    def masks(self, places: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool, the masks of some objects of one picture, whose runs are of this size."""
        from faster_coco_eval.core import mask

        if not places:
            return torch.zeros(0, height, width, dtype=torch.bool)
        drawn = mask.decode([self.runs(k, height, width) for k in places])  # (H, W, n) uint8
        return torch.from_numpy(drawn.transpose(2, 1, 0)).view(torch.bool).transpose(1, 2)  # no copy


def compressed(counts: Sequence[int] | str, height: int, width: int) -> Runs:
    """Run lengths as a file tells them, in numbers or in COCO's short form.

    Raises:
        ValueError: where they do not add up to a picture of this size.
    """
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError(f"its runs {shown(counts)} are none")
        total, packed = int(lengths_of(counts).sum()), counts
    else:
        if not all(type(n) is int and 0 <= n <= MOST_PIXELS for n in counts):
            raise ValueError(f"its runs {shown(counts)} are not all numbers of pixels")
        total = sum(counts)
        packed = text(np.array(counts, np.int64), (height, width)) if total == height * width else ""
    if total != height * width:
        raise ValueError(f"its runs add up to {total:,} pixels, not {width}x{height}")
    return Runs(packed.encode(), height, width)
