"""Row B14 of the lectures: data augmentation (flip, crop, rotation, zoom, translation, brightness, colour, noise)."""

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

VALUE_RANGE = (0.0, 255.0)
ALL = Augment(
    hflip=True, pad_crop=2, rotate=20.0, zoom=0.2, translate=0.1, brightness=0.2, channel_scale=0.1, noise_std=0.05
)
SEED, EPOCH = 5, 3


def random_images(count: int, channels: int = 3, height: int = 10, width: int = 8) -> Tensor:
    return torch.randint(256, (count, channels, height, width), generator=seeded(), dtype=torch.uint8)


def augmented(
    x: Tensor, augmentation: Augment, ids: Tensor | None = None, seed: int = SEED, epoch: int = EPOCH
) -> Tensor:
    return augment(x, torch.arange(len(x)) if ids is None else ids, augmentation, VALUE_RANGE, seed, epoch)


def spot_images(count: int, row: float, column: float, height: int = 40, width: int = 60) -> Tensor:
    """Images of one Gaussian spot, (N, 1, H, W); the centre of the corner pixel is (0, 0)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spot = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4.0)
    return spot.expand(count, 1, -1, -1)


def centre_of_mass(x: Tensor) -> Tensor:
    """Row and column of the centre of mass, (N, 2)."""
    rows, columns = torch.arange(x.shape[2]).float(), torch.arange(x.shape[3]).float()
    mass = x.sum((1, 2, 3))
    return torch.stack([(x.sum((1, 3)) * rows).sum(1) / mass, (x.sum((1, 2)) * columns).sum(1) / mass], dim=1)


def draws(count: int) -> Tensor:
    """Random numbers, (N, 11): flip, row, column, rotation, zoom, right, down, brightness, three channels."""
    return uniform(torch.arange(count), 11, SEED, "augment", EPOCH)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=20, unique=True))
@settings(max_examples=25)
def test_b14_augmentation_does_not_depend_on_the_batch(rows: list[int]) -> None:
    x = random_images(20)
    ids = torch.tensor(rows)
    assert torch.allclose(augmented(x[ids], ALL, ids), augmented(x, ALL)[ids], atol=1e-4)


def test_b14_augmentation_is_a_function_of_seed_and_epoch() -> None:
    x = random_images(20)
    assert torch.equal(augmented(x, ALL), augmented(x, ALL))
    assert not torch.equal(augmented(x, ALL), augmented(x, ALL, epoch=EPOCH + 1))
    assert not torch.equal(augmented(x, ALL), augmented(x, ALL, seed=SEED + 1))


def test_b14_hflip_mirrors_half_of_the_images() -> None:
    x = random_images(400)
    y = augmented(x, Augment(hflip=True))
    assert y.dtype == torch.uint8
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert bool((mirrored ^ (y == x).flatten(1).all(1)).all())
    assert torch.equal(mirrored, draws(400)[:, 0] < 0.5)
    assert 160 < int(mirrored.sum()) < 240


def test_b14_pad_crop_is_a_window_of_the_zero_padded_image() -> None:
    pad = 2
    x = random_images(300)
    y = augmented(x, Augment(pad_crop=pad))
    padded = torch.nn.functional.pad(x, (pad,) * 4)
    offsets = set()
    for before, after in zip(padded, y, strict=True):
        windows = [(r, c) for r in range(5) for c in range(5) if torch.equal(before[:, r : r + 10, c : c + 8], after)]
        assert len(windows) == 1
        offsets.add(windows[0])
    assert len(offsets) == 25  # every offset occurs
    assert y.dtype == torch.uint8


def test_b14_translate_moves_a_spot_by_a_fraction_of_the_side() -> None:
    count = 30
    x = spot_images(count, 19.5, 29.5)
    moved = centre_of_mass(augmented(x, Augment(translate=0.2))) - centre_of_mass(x)
    u = draws(count)
    expected = -0.2 * (2 * torch.stack([u[:, 6] * 40 - 20, u[:, 5] * 60 - 30], dim=1))
    assert torch.allclose(moved, expected, atol=0.02)
    assert float(moved[:, 0].abs().max()) <= 0.2 * 40
    assert float(moved[:, 1].abs().max()) > 0.1 * 60


def test_b14_rotate_keeps_the_distance_from_the_centre_in_oblong_images() -> None:
    count = 30
    x = spot_images(count, 19.5 + 6, 29.5 + 9)
    arm = centre_of_mass(augmented(x, Augment(rotate=40.0))) - torch.tensor([19.5, 29.5])
    assert torch.allclose(arm.norm(dim=1), torch.tensor(math.hypot(6, 9)), atol=0.05)
    angle = torch.atan2(arm[:, 0], arm[:, 1]) - math.atan2(6, 9)
    assert torch.allclose(angle, -(2 * draws(count)[:, 3] - 1) * math.radians(40), atol=0.01)


def test_b14_zoom_scales_the_distance_from_the_centre() -> None:
    count = 30
    x = spot_images(count, 19.5 + 6, 29.5 + 9)
    arm = centre_of_mass(augmented(x, Augment(zoom=0.2))) - torch.tensor([19.5, 29.5])
    scale = arm.norm(dim=1) / math.hypot(6, 9)
    assert torch.allclose(scale, 1 + 0.2 * (2 * draws(count)[:, 4] - 1), atol=0.01)


def test_b14_rotate_zoom_and_translate_match_torchs_affine_map() -> None:
    x = torch.rand(5, 2, 20, 31, generator=torch.Generator().manual_seed(1))
    u = draws(5)
    angle = (2 * u[:, 3] - 1) * math.radians(30)
    scale = 1 / (1 + 0.2 * (2 * u[:, 4] - 1))
    right, down = (0.2 * (2 * u[:, k] - 1) for k in (5, 6))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([cos, -sin * 20 / 31, right, sin * 31 / 20, cos, down], 1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(matrix, [5, 2, 20, 31], align_corners=False)
    oracle = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(augmented(x, Augment(rotate=30.0, zoom=0.2, translate=0.1)), oracle, atol=2e-5, rtol=0)


def test_b14_brightness_scales_an_image_and_channel_scale_its_channels() -> None:
    x = random_images(50).clamp(min=1)
    bright = augmented(x, Augment(brightness=0.3)) / x
    assert torch.allclose(bright, bright[:, :1, :1, :1].expand_as(bright), atol=1e-6)
    assert 0.7 <= float(bright.min()) < 0.75
    assert 1.25 < float(bright.max()) <= 1.3
    tinted = augmented(x, Augment(channel_scale=0.3)) / x
    assert torch.allclose(tinted, tinted[:, :, :1, :1].expand_as(tinted), atol=1e-6)
    assert bool((tinted[:, 0, 0, 0] != tinted[:, 1, 0, 0]).all())
    assert 0.7 <= float(tinted.min()) < 0.75
    assert 1.25 < float(tinted.max()) <= 1.3
    both = augmented(x, Augment(brightness=0.3, channel_scale=0.3)) / x
    assert torch.allclose(both, bright * tinted, atol=1e-5)


def test_b14_noise_has_the_given_deviation_and_is_independent_in_every_pixel() -> None:
    x = torch.full((20, 3, 40, 40), 100, dtype=torch.uint8)
    noise = augmented(x, Augment(noise_std=0.1)) - 100
    assert float(noise.std()) == pytest.approx(25.5, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=25.5 * 4 / math.sqrt(noise.numel()))
    flattened = noise.flatten(1)
    correlation = torch.corrcoef(flattened) - torch.eye(20)
    assert float(correlation.abs().max()) < 5 / math.sqrt(flattened.shape[1])
    normal = (noise / noise.std()).flatten()
    assert float((normal.abs() < 1.96).float().mean()) == pytest.approx(0.95, abs=0.003)


def test_b14_default_augmentation_changes_nothing() -> None:
    assert not Augment()
    assert Augment(hflip=True)
    assert torch.equal(augmented(random_images(5), Augment()), random_images(5))
