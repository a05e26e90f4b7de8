"""Run-length encoding of masks against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as reference

from snellen.core.detections import MaskRegion
from snellen.core.rle import decode_lengths, decode_region, encode_lengths, run_lengths


def random_regions(count: int) -> list[tuple[MaskRegion, tuple[int, int]]]:
    """Masks in and partly outside small images, from nearly empty to full, so that runs often span columns."""
    rng = np.random.default_rng(0)
    regions = []
    for _ in range(count):
        size = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        height, width = rng.integers(0, 8, 2)
        mask = rng.random((height, width)) < rng.choice([0.2, 0.5, 0.9, 1.0])
        top, left = rng.integers(-4, 9, 2)
        regions.append((MaskRegion(int(top), int(left), torch.from_numpy(mask)), size))
    return regions


def test_run_lengths_equal_pycocotools_and_decode_to_the_mask() -> None:
    for region, size in random_regions(2000):
        mask = region.full(*size).numpy()
        counts = encode_lengths(run_lengths(region, size), size)
        assert counts == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert np.array_equal(decode_lengths(counts), run_lengths(region, size))
        assert np.array_equal(decode_region(counts, size).full(*size).numpy(), mask)


def test_decoded_masks_are_cropped() -> None:
    region = MaskRegion(3, 2, torch.ones(2, 3, dtype=torch.bool))
    decoded = decode_region(encode_lengths(run_lengths(region, (9, 9)), (9, 9)), (9, 9))
    assert (decoded.top, decoded.left, tuple(decoded.mask.shape)) == (3, 2, (2, 3))


@pytest.mark.parametrize("counts", ["P", "1`", "Q1O"])
def test_damaged_run_lengths_are_errors(counts: str) -> None:
    with pytest.raises(ValueError):
        decode_lengths(counts)
