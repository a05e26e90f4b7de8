"""Row B14 of the lectures: flip, crop, turn, zoom, shift, brightness, colour and noise, seeded per sample."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import seeded
from torch import Tensor

from snellen.core.random import uniform
from snellen.data.augment.images import Augment, augment

SPAN = (0.0, 255.0)
ALL = Augment(
    hflip=True, pad_crop=2, rotate=20.0, zoom=0.2, translate=0.1, brightness=0.2, channel_scale=0.1, noise_std=0.05
)
SEED, EPOCH = 5, 3


def pictures(count: int, channels: int = 3, height: int = 10, width: int = 8) -> Tensor:
    return torch.randint(256, (count, channels, height, width), generator=seeded(), dtype=torch.uint8)


def varied(x: Tensor, how: Augment, ids: Tensor | None = None, seed: int = SEED, epoch: int = EPOCH) -> Tensor:
    return augment(x, torch.arange(len(x)) if ids is None else ids, how, SPAN, seed, epoch)


def blob(count: int, row: float, column: float, height: int = 40, width: int = 60) -> Tensor:
    """(N, 1, H, W) with one soft spot; the centre of the corner pixel is (0, 0)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spot = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4.0)
    return spot.expand(count, 1, -1, -1)


def place(x: Tensor) -> Tensor:
    """(N, 2) row and column of the centre of mass."""
    rows, columns = torch.arange(x.shape[2]).float(), torch.arange(x.shape[3]).float()
    mass = x.sum((1, 2, 3))
    return torch.stack([(x.sum((1, 3)) * rows).sum(1) / mass, (x.sum((1, 2)) * columns).sum(1) / mass], dim=1)


def draws(count: int) -> Tensor:
    """(N, 11) the numbers of each sample: flip, row, column, turn, zoom, right, down, brightness, three channels."""
    return uniform(torch.arange(count), 11, SEED, "augment", EPOCH)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=20, unique=True))
@settings(max_examples=25, deadline=None)
def test_b14_a_samples_draws_do_not_depend_on_its_batch(chosen: list[int]) -> None:
    x = pictures(20)
    ids = torch.tensor(chosen)
    assert torch.allclose(varied(x[ids], ALL, ids), varied(x, ALL)[ids], atol=1e-4)


def test_b14_draws_follow_from_seed_and_epoch() -> None:
    x = pictures(20)
    assert torch.equal(varied(x, ALL), varied(x, ALL))
    assert not torch.equal(varied(x, ALL), varied(x, ALL, epoch=EPOCH + 1))
    assert not torch.equal(varied(x, ALL), varied(x, ALL, seed=SEED + 1))


def test_b14_a_flip_mirrors_half_of_the_pictures_exactly() -> None:
    x = pictures(400)
    y = varied(x, Augment(hflip=True))
    assert y.dtype == torch.uint8
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert bool((mirrored ^ (y == x).flatten(1).all(1)).all())
    assert 160 < int(mirrored.sum()) < 240


def test_b14_a_crop_is_a_window_of_the_picture_padded_with_zeros() -> None:
    pad = 2
    x = pictures(300)
    y = varied(x, Augment(pad_crop=pad))
    padded = torch.nn.functional.pad(x, (pad,) * 4)
    found = set()
    for before, after in zip(padded, y, strict=True):
        windows = [(r, c) for r in range(5) for c in range(5) if torch.equal(before[:, r : r + 10, c : c + 8], after)]
        assert len(windows) == 1
        found.add(windows[0])
    assert len(found) == 25  # every place occurs
    assert y.dtype == torch.uint8


def test_b14_a_shift_moves_a_spot_by_the_drawn_share_of_the_side() -> None:
    count = 30
    x = blob(count, 19.5, 29.5)
    moved = place(varied(x, Augment(translate=0.2))) - place(x)
    u = draws(count)
    expected = -0.2 * (2 * torch.stack([u[:, 6] * 40 - 20, u[:, 5] * 60 - 30], dim=1))
    assert torch.allclose(moved, expected, atol=0.02)
    assert float(moved[:, 0].abs().max()) <= 0.2 * 40
    assert float(moved[:, 1].abs().max()) > 0.1 * 60


def test_b14_a_turn_keeps_the_distance_from_the_centre_in_oblong_pictures() -> None:
    count = 30
    x = blob(count, 19.5 + 6, 29.5 + 9)
    arm = place(varied(x, Augment(rotate=40.0))) - torch.tensor([19.5, 29.5])
    assert torch.allclose(arm.norm(dim=1), torch.tensor(math.hypot(6, 9)), atol=0.05)
    turned = torch.atan2(arm[:, 0], arm[:, 1]) - math.atan2(6, 9)
    assert torch.allclose(turned, -(2 * draws(count)[:, 3] - 1) * math.radians(40), atol=0.01)


def test_b14_a_zoom_scales_the_distance_from_the_centre() -> None:
    count = 30
    x = blob(count, 19.5 + 6, 29.5 + 9)
    arm = place(varied(x, Augment(zoom=0.2))) - torch.tensor([19.5, 29.5])
    scale = arm.norm(dim=1) / math.hypot(6, 9)
    assert torch.allclose(scale, 1 + 0.2 * (2 * draws(count)[:, 4] - 1), atol=0.01)


def test_b14_turn_zoom_and_shift_together_are_the_affine_map_of_torch() -> None:
    x = torch.rand(5, 2, 20, 31, generator=torch.Generator().manual_seed(1))
    u = draws(5)
    angle = (2 * u[:, 3] - 1) * math.radians(30)
    scale = 1 / (1 + 0.2 * (2 * u[:, 4] - 1))
    right, down = (0.2 * (2 * u[:, k] - 1) for k in (5, 6))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([cos, -sin * 20 / 31, right, sin * 31 / 20, cos, down], 1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(matrix, [5, 2, 20, 31], align_corners=False)
    oracle = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(varied(x, Augment(rotate=30.0, zoom=0.2, translate=0.1)), oracle, atol=2e-5, rtol=0)


def test_b14_brightness_scales_a_picture_and_colour_its_channels() -> None:
    x = pictures(50).clamp(min=1)
    bright = varied(x, Augment(brightness=0.3)) / x
    assert torch.allclose(bright, bright[:, :1, :1, :1].expand_as(bright), atol=1e-6)
    assert 0.7 <= float(bright.min()) < 0.75
    assert 1.25 < float(bright.max()) <= 1.3
    tinted = varied(x, Augment(channel_scale=0.3)) / x
    assert torch.allclose(tinted, tinted[:, :, :1, :1].expand_as(tinted), atol=1e-6)
    assert bool((tinted[:, 0, 0, 0] != tinted[:, 1, 0, 0]).all())


def test_b14_noise_has_the_deviation_asked_for_and_is_new_in_every_pixel() -> None:
    x = torch.full((20, 3, 40, 40), 100, dtype=torch.uint8)
    noise = varied(x, Augment(noise_std=0.1)) - 100
    assert float(noise.std()) == pytest.approx(25.5, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=25.5 * 4 / math.sqrt(noise.numel()))
    flat = noise.flatten(1)
    between = torch.corrcoef(flat) - torch.eye(20)
    assert float(between.abs().max()) < 5 / math.sqrt(flat.shape[1])
    normal = (noise / noise.std()).flatten()
    assert float((normal.abs() < 1.96).float().mean()) == pytest.approx(0.95, abs=0.003)


def test_b14_nothing_asked_for_is_nothing_done() -> None:
    assert not Augment()
    assert Augment(hflip=True)
    assert torch.equal(varied(pictures(5), Augment()), pictures(5))
