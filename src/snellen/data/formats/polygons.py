"""Object masks encoded as polygons or run lengths, stored in flat arrays and rendered on demand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import short_repr
from snellen.core.rle import decode_lengths, encode_lengths
from snellen.core.spec import MAX_PIXELS

Ring = Sequence[float]  # x1, y1, x2, y2, ...


class CompressedRLE(NamedTuple):
    """A mask as COCO's compressed run-length encoding (column-major) for an image of this height and width."""

    counts: bytes
    height: int
    width: int


EncodedMask = Sequence[Ring] | CompressedRLE


class EncodedMasks:
    """Masks of many objects in a few flat arrays.

    Args:
        encoded: for each object its polygons (their union is the mask), in image pixels; or its run lengths.
    """

    def __init__(self, encoded: Sequence[EncodedMask]) -> None:
        rings = [() if isinstance(mask, CompressedRLE) else mask for mask in encoded]
        lengths = [len(ring) for polygons in rings for ring in polygons]
        numbers = chain.from_iterable(chain.from_iterable(rings))
        self.points = np.fromiter(numbers, np.float64, sum(lengths)).reshape(-1, 2)  # (P, 2) x, y
        self.ring_starts = np.cumsum([0, *lengths]) // 2  # (R + 1,) into points
        self.object_rings = np.cumsum([0, *map(len, rings)])  # (A + 1,) into rings
        rles = [mask if isinstance(mask, CompressedRLE) else CompressedRLE(b"", 0, 0) for mask in encoded]
        self.counts = b"".join(rle.counts for rle in rles)
        self.count_starts = np.cumsum([0, *(len(rle.counts) for rle in rles)])  # (A + 1,) into counts
        self.sizes = np.array([(rle.height, rle.width) for rle in rles], np.int64).reshape(-1, 2)  # 0: polygons

    def __len__(self) -> int:
        return len(self.sizes)

    def bounds(self) -> np.ndarray:
        """(A, 4) bounding boxes x1 y1 x2 y2 of polygons; NaN for run lengths, and where a point is NaN."""
        boxes = np.full((len(self), 4), np.nan)
        starts = self.ring_starts[self.object_rings]  # (A + 1,) into points
        nonempty = np.nonzero(starts[1:] > starts[:-1])[0]
        if len(nonempty):
            boxes[nonempty, :2] = np.minimum.reduceat(self.points, starts[nonempty])
            boxes[nonempty, 2:] = np.maximum.reduceat(self.points, starts[nonempty])
        return boxes

    def coco_rle(self, k: int, height: int, width: int) -> dict[str, Any]:
        """The mask of an object as a COCO RLE dict for an image of this size."""
        from faster_coco_eval.core import mask

        if self.sizes[k, 0]:
            size = self.sizes[k].tolist()
            return {"size": size, "counts": self.counts[self.count_starts[k] : self.count_starts[k + 1]]}
        indices = range(self.object_rings[k], self.object_rings[k + 1])
        rings = [self.points[self.ring_starts[r] : self.ring_starts[r + 1]].ravel().tolist() for r in indices]
        merged: dict[str, Any] = mask.merge(mask.frPyObjects(rings, height, width))
        return merged

    def masks(self, indices: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool masks of some objects of one image of this size."""
        from faster_coco_eval.core import mask

        if not indices:
            return torch.zeros(0, height, width, dtype=torch.bool)
        rendered = mask.decode([self.coco_rle(k, height, width) for k in indices])  # (H, W, n) uint8
        return torch.from_numpy(rendered.transpose(2, 1, 0)).view(torch.bool).transpose(1, 2)  # no copy


def compress_rle(counts: Sequence[int] | str, height: int, width: int) -> CompressedRLE:
    """Compress run lengths from a file: a list of numbers, or COCO's compressed string.

    Raises:
        ValueError: they do not add up to height x width.
    """
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError(f"its run lengths {short_repr(counts)} are not ASCII")
        total, packed = int(decode_lengths(counts).sum()), counts
    else:
        if not all(type(n) is int and 0 <= n <= MAX_PIXELS for n in counts):
            raise ValueError(f"its run lengths {short_repr(counts)} are not all pixel counts")
        total = sum(counts)
        packed = encode_lengths(np.array(counts, np.int64), (height, width)) if total == height * width else ""
    if total != height * width:
        raise ValueError(f"its run lengths add up to {total:,} pixels, not {width}x{height}")
    return CompressedRLE(packed.encode(), height, width)
