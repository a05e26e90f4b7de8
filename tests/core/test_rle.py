"""Run lengths against the reference implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as reference

from snellen.core.detections import Region
from snellen.core.rle import lengths_of, of_text, runs, text


def some_regions(count: int) -> list[tuple[Region, tuple[int, int]]]:
    """In and partly out of small pictures, from nearly empty to full: whole columns touch often."""
    drawn = np.random.default_rng(0)
    made = []
    for _ in range(count):
        size = (int(drawn.integers(1, 9)), int(drawn.integers(1, 9)))
        height, width = drawn.integers(0, 8, 2)
        inside = drawn.random((height, width)) < drawn.choice([0.2, 0.5, 0.9, 1.0])
        top, left = drawn.integers(-4, 9, 2)
        made.append((Region(int(top), int(left), torch.from_numpy(inside)), size))
    return made


def test_regions_become_the_reference_s_run_lengths_and_come_back() -> None:
    for region, size in some_regions(2000):
        whole = region.full(*size).numpy()
        written = text(runs(region, size), size)
        assert written == reference.encode(np.asfortranarray(whole.astype(np.uint8)))["counts"].decode()
        assert np.array_equal(lengths_of(written), runs(region, size))
        assert np.array_equal(of_text(written, size).full(*size).numpy(), whole)


def test_a_region_is_cut_to_where_it_is() -> None:
    region = Region(3, 2, torch.ones(2, 3, dtype=torch.bool))
    back = of_text(text(runs(region, (9, 9)), (9, 9)), (9, 9))
    assert (back.top, back.left, tuple(back.inside.shape)) == (3, 2, (2, 3))


@pytest.mark.parametrize("written", ["P", "1`", "Q1O"])
def test_damaged_run_lengths_are_refused(written: str) -> None:
    with pytest.raises(ValueError):
        lengths_of(written)
