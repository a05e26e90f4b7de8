"""Masks as run lengths, the way COCO has them: down the columns, zeros first, in turn.

A mask that is a `Region` is written without ever being drawn in its picture.
"""

from __future__ import annotations

import numpy as np
import torch

from snellen.core.detections import Region


def runs(region: Region, size: tuple[int, int]) -> np.ndarray:
    """(R,) int64 lengths of runs of zeros and ones in turn, which add up to the pixels of the picture.

    Args:
        size: height and width of the picture; what lies outside is cut off.
    Source: Lin et al. 2014, the format of COCO's annotations.
    """
    height, width = size
    inside = region.inside.cpu().numpy()
    top, left = max(region.top, 0), max(region.left, 0)
    inside = inside[top - region.top : max(height - region.top, 0), left - region.left : max(width - region.left, 0)]
    columns = np.zeros((inside.shape[1], inside.shape[0] + 2), np.int8)
    columns[:, 1:-1] = inside.T
    change = np.diff(columns, axis=1)  # (w, h + 1): 1 where a run begins, -1 where one is over
    column, row = np.nonzero(change)
    places = (column + left) * height + row + top
    bounds = np.concatenate([[0], places, [height * width]])
    return _joined(np.diff(bounds))


def _joined(lengths: np.ndarray) -> np.ndarray:
    """Runs that go on at the top of the next column, as one: between them lies a run of length 0."""
    there = lengths > 0
    there[0] = True  # the first run is of zeros, be there any or none
    signs = (np.arange(len(lengths)) % 2)[there]
    joined: np.ndarray = np.add.reduceat(lengths[there], np.concatenate([[0], 1 + np.flatnonzero(np.diff(signs))]))
    return joined


def region_of(lengths: np.ndarray, size: tuple[int, int]) -> Region:
    """The region of run lengths, cut to where it is."""
    height = size[0]
    bounds = np.cumsum(lengths)
    starts, ends = bounds[0:-1:2], bounds[1::2]  # of the runs of ones
    there = ends > starts
    starts, ends = starts[there], ends[there]
    if not len(starts):
        return Region(0, 0, torch.zeros(0, 0, dtype=torch.bool))
    left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
    steps = np.zeros((right - left) * height + 1, np.int8)
    steps[starts - left * height] += 1
    steps[ends - left * height] -= 1
    strip = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(right - left, height).T  # (H, w)
    rows = np.flatnonzero(strip.any(1))
    inside = np.ascontiguousarray(strip[rows[0] : rows[-1] + 1])
    return Region(int(rows[0]), left, torch.from_numpy(inside))


def text(lengths: np.ndarray, size: tuple[int, int]) -> str:
    """COCO's short form of run lengths."""
    from faster_coco_eval.core import mask

    written: bytes = mask.frPyObjects({"size": list(size), "counts": lengths.tolist()}, *size)["counts"]
    return written.decode()


def lengths_of(written: str) -> np.ndarray:
    """The run lengths of COCO's short form: five bits a character, and from the third run on the difference to the last
    but one.

    Raises:
        ValueError: where it is none.
    """
    found: list[int] = []
    place = 0
    while place < len(written):
        value = shift = 0
        more = True
        while more:
            if place >= len(written):
                raise ValueError("the run lengths end in the middle of a number")
            bits = ord(written[place]) - 48
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            place, shift = place + 1, shift + 5
            if not more and bits & 16:
                value -= 1 << shift
        found.append(value + found[-2] if len(found) > 2 else value)
    if any(length < 0 for length in found):
        raise ValueError("a run has a length below zero")
    return np.array(found, np.int64)


def of_text(written: str, size: tuple[int, int]) -> Region:
    """The region of COCO's short form."""
    return region_of(lengths_of(written), size)
