"""A large picture a tile at a time says what the whole says, and takes no more memory for being larger."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import seeded
from torch import Tensor

from snellen.nn.dense.dilated import Dilated
from snellen.nn.dense.unet import UNet
from snellen.nn.tiling import GRID, spans, tiled, weights


@pytest.mark.parametrize(("height", "width"), [(200, 170), (97, 300), (96, 96)])
def test_no_seam_where_the_margin_covers_what_decides_on_a_pixel(height: int, width: int) -> None:
    net = Dilated(1, 3, 4, (1, 2, 4)).eval()  # 7 pixels to each side
    x = torch.rand(2, 1, height, width, generator=seeded())
    with torch.no_grad():
        said, whole = tiled(net, x, whole=0, side=96, margin=7), net(x)
    assert float((said - whole).abs().max()) <= 1e-5 * float(whole.abs().max())


def test_a_narrower_margin_leaves_seams_that_the_test_above_would_see() -> None:
    net = Dilated(1, 3, 4, (1, 2, 4)).eval()
    x = torch.rand(1, 1, 200, 170, generator=seeded())
    with torch.no_grad():
        assert float((tiled(net, x, whole=0, side=96, margin=2) - net(x)).abs().max()) > 1e-3


def test_a_network_that_halves_the_picture_halves_the_same_pixels_in_every_tile() -> None:
    net = UNet(1, 2, 4, 2).eval()  # of two halvings 22 pixels to each side decide at most
    x = torch.rand(1, 1, 260, 200, generator=seeded())
    with torch.no_grad():
        said, whole = tiled(net, x, whole=0, side=160, margin=24), net(x)
    assert float((said - whole).abs().max()) <= 1e-5 * float(whole.abs().max())


def test_small_pictures_are_not_cut() -> None:
    asked: list[tuple[int, ...]] = []

    def ask(x: Tensor) -> Tensor:
        asked.append(tuple(x.shape))
        return x

    x = torch.rand(1, 1, 30, 40)
    assert torch.equal(tiled(ask, x), x)
    assert asked == [(1, 1, 30, 40)]


@pytest.mark.parametrize("height", [300, 3000])
def test_memory_stays_flat(height: int) -> None:
    """No tile is larger than its side and a grid's step, however large the picture."""
    largest = 0

    def ask(x: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, x.shape[-2] * x.shape[-1])
        return x

    x = torch.rand(1, 1, height, 200)
    assert torch.allclose(tiled(ask, x, whole=0, side=128, margin=16), x)
    assert largest <= (128 + GRID) ** 2


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 3000), margin=st.integers(1, 64), more=st.integers(0, 400))
def test_tiles_cover_every_pixel_begin_on_the_grid_and_count_as_one(length: int, margin: int, more: int) -> None:
    side = 3 * margin + GRID + more
    found = spans(length, side, margin)
    total = torch.zeros(length)
    for (start, stop), weight in zip(found, weights(found, length, margin), strict=True):
        assert start % GRID == 0
        assert 0 < stop - start <= side + GRID
        total[start:stop] += weight
        if start > 0:
            assert not weight[:margin].any()
        if stop < length:
            assert not weight[-margin:].any()
    assert torch.allclose(total, torch.ones(length), atol=1e-5)
