"""COCO run-length encoding (RLE) of masks: column by column, alternating runs of zeros and ones, zeros first.

A `MaskRegion` is encoded without allocating the mask of the whole image.
"""

from __future__ import annotations

import numpy as np
import torch

from snellen.core.detections import MaskRegion


def run_lengths(region: MaskRegion, size: tuple[int, int]) -> np.ndarray:
    """Run lengths of a mask, (R,) int64: alternating zeros and ones; their sum is the number of pixels of the image.

    Args:
        size: height and width of the image; parts outside are cut off.
    Source: Lin et al. 2014, the format of COCO's annotations.
    """
    height, width = size
    mask = region.mask.cpu().numpy()
    top, left = max(region.top, 0), max(region.left, 0)
    mask = mask[top - region.top : max(height - region.top, 0), left - region.left : max(width - region.left, 0)]
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = mask.T
    change = np.diff(columns, axis=1)  # (w, h + 1): 1 where a run of ones begins, -1 after its end
    column, row = np.nonzero(change)
    positions = (column + left) * height + row + top
    bounds = np.concatenate([[0], positions, [height * width]])
    return _merge_runs(np.diff(bounds))


def _merge_runs(lengths: np.ndarray) -> np.ndarray:
    """Merge runs that continue at the top of the next column: a run of length 0 separates them."""
    non_empty = lengths > 0
    non_empty[0] = True  # the first run is always of zeros and may be empty
    signs = (np.arange(len(lengths)) % 2)[non_empty]
    merged: np.ndarray = np.add.reduceat(lengths[non_empty], np.concatenate([[0], 1 + np.flatnonzero(np.diff(signs))]))
    return merged


def region_from_lengths(lengths: np.ndarray, size: tuple[int, int]) -> MaskRegion:
    """Decode run lengths into a cropped mask."""
    height = size[0]
    bounds = np.cumsum(lengths)
    starts, ends = bounds[0:-1:2], bounds[1::2]  # of the runs of ones
    non_empty = ends > starts
    starts, ends = starts[non_empty], ends[non_empty]
    if not len(starts):
        return MaskRegion(0, 0, torch.zeros(0, 0, dtype=torch.bool))
    left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
    steps = np.zeros((right - left) * height + 1, np.int8)
    steps[starts - left * height] += 1
    steps[ends - left * height] -= 1
    strip = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(right - left, height).T  # (H, w)
    rows = np.flatnonzero(strip.any(1))
    mask = np.ascontiguousarray(strip[rows[0] : rows[-1] + 1])
    return MaskRegion(int(rows[0]), left, torch.from_numpy(mask))


def encode_lengths(lengths: np.ndarray, size: tuple[int, int]) -> str:
    """Encode run lengths as COCO's compressed string."""
    from faster_coco_eval.core import mask

    counts: bytes = mask.frPyObjects({"size": list(size), "counts": lengths.tolist()}, *size)["counts"]
    return counts.decode()


def decode_lengths(counts: str) -> np.ndarray:
    """Decode COCO's compressed string into run lengths.

    Each character holds five bits. From the fourth run on, the string holds the difference to the run two before.

    Raises:
        ValueError: when the string is not a valid encoding.
    """
    lengths: list[int] = []
    position = 0
    while position < len(counts):
        value = shift = 0
        more = True
        while more:
            if position >= len(counts):
                raise ValueError("the run lengths end in the middle of a number")
            bits = ord(counts[position]) - 48
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            position, shift = position + 1, shift + 5
            if not more and bits & 16:
                value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    if any(length < 0 for length in lengths):
        raise ValueError("a run has a negative length")
    return np.array(lengths, np.int64)


def decode_region(counts: str, size: tuple[int, int]) -> MaskRegion:
    """Decode COCO's compressed string into a cropped mask."""
    return region_from_lengths(decode_lengths(counts), size)
