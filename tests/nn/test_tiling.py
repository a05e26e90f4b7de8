"""Tiled inference equals inference on the full image, with bounded memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import seeded
from torch import Tensor

from snellen.nn.dense.dilated import DilatedNetwork
from snellen.nn.dense.unet import UNet
from snellen.nn.tiling import ALIGNMENT, apply_tiled, tile_spans, tile_weights


@pytest.mark.parametrize(("height", "width"), [(200, 170), (97, 300), (96, 96)])
def test_no_seam_if_the_margin_covers_the_receptive_field(height: int, width: int) -> None:
    net = DilatedNetwork(1, 3, 4, (1, 2, 4)).eval()  # receptive field: 7 pixels to each side
    x = torch.rand(2, 1, height, width, generator=seeded())
    with torch.no_grad():
        tiled, full = apply_tiled(net, x, max_pixels=0, side=96, margin=7), net(x)
    assert float((tiled - full).abs().max()) <= 1e-5 * float(full.abs().max())


def test_a_narrower_margin_leaves_visible_seams() -> None:
    net = DilatedNetwork(1, 3, 4, (1, 2, 4)).eval()
    x = torch.rand(1, 1, 200, 170, generator=seeded())
    with torch.no_grad():
        assert float((apply_tiled(net, x, max_pixels=0, side=96, margin=2) - net(x)).abs().max()) > 1e-3


def test_a_network_with_pooling_pools_the_same_pixels_in_every_tile() -> None:
    net = UNet(1, 2, 4, 2).eval()  # two poolings: receptive field of at most 22 pixels to each side
    x = torch.rand(1, 1, 260, 200, generator=seeded())
    with torch.no_grad():
        tiled, full = apply_tiled(net, x, max_pixels=0, side=160, margin=24), net(x)
    assert float((tiled - full).abs().max()) <= 1e-5 * float(full.abs().max())


def test_small_images_are_not_tiled() -> None:
    shapes: list[tuple[int, ...]] = []

    def network(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x

    x = torch.rand(1, 1, 30, 40)
    assert torch.equal(apply_tiled(network, x), x)
    assert shapes == [(1, 1, 30, 40)]


@pytest.mark.parametrize("height", [300, 3000])
def test_memory_stays_flat(height: int) -> None:
    """No tile is larger than its side plus the alignment, for any image size."""
    largest = 0

    def network(x: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, x.shape[-2] * x.shape[-1])
        return x

    x = torch.rand(1, 1, height, 200)
    assert torch.allclose(apply_tiled(network, x, max_pixels=0, side=128, margin=16), x)
    assert largest <= (128 + ALIGNMENT) ** 2


@settings(max_examples=200)
@given(length=st.integers(1, 3000), margin=st.integers(1, 64), extra=st.integers(0, 400))
def test_tiles_cover_every_pixel_are_aligned_and_have_weights_that_sum_to_one(
    length: int, margin: int, extra: int
) -> None:
    side = 3 * margin + ALIGNMENT + extra
    spans = tile_spans(length, side, margin)
    total = torch.zeros(length)
    for (start, stop), weight in zip(spans, tile_weights(spans, length, margin), strict=True):
        assert start % ALIGNMENT == 0
        assert 0 < stop - start <= side + ALIGNMENT
        total[start:stop] += weight
        if start > 0:
            assert not weight[:margin].any()
        if stop < length:
            assert not weight[-margin:].any()
    assert torch.allclose(total, torch.ones(length), atol=1e-5)
