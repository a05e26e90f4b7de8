"""Rows C0, C5 and C12: an image as a vector and as an array, what learned filters resemble, their feature maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from raw_datasets import classes, seeded
from torch import nn

from snellen.architectures.alexnet import ALEXNET
from snellen.filters.kernels import gabor, gaussian_derivative
from snellen.filters.shifts import check_shift
from snellen.metrics.pixel_correlation import pixel_correlation
from snellen.report.first_layer import FirstLayer, compare_filters, first_layer, layer_views
from snellen.tasks.classify import LEARNERS


def test_c0_neighbouring_pixels_are_correlated_and_those_of_a_permuted_image_are_not() -> None:
    """The plot falls with the distance: an AR(1) process along the rows has the correlation 0.9^d."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((30, 1, 32, 96))
    noise[..., 0] /= math.sqrt(1 - 0.9**2)  # stationary from the first column
    images = scipy.signal.lfilter([math.sqrt(1 - 0.9**2)], [1, -0.9], noise, axis=-1)
    result = pixel_correlation(list(torch.from_numpy(images)), 8)
    horizontal = [metric.value for metric in result.horizontal]
    assert horizontal == pytest.approx([0.9**d for d in range(9)], abs=0.03)
    assert all(metric.value == pytest.approx(0, abs=0.02) for metric in result.permuted[1:])


def test_c0_a_shifted_input_gives_a_shifted_map_of_a_filter_and_not_of_a_fully_connected_layer() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.float64)
    check = check_shift(image, gaussian_derivative(1, 0, 1.0), 4, -3)
    assert check.filter_difference == 0
    assert check.layer_difference > check.layer_rms
    layer = nn.Conv2d(1, 3, 5).double()  # as in a network
    x = torch.from_numpy(image)[None, None]
    shifted = torch.roll(x, (-3, 4), (2, 3))
    inside = np.s_[:, :, 0:30, 4:36]
    assert torch.allclose(layer(shifted)[inside], torch.roll(layer(x), (-3, 4), (2, 3))[inside], atol=1e-12, rtol=0)


def test_c5_a_network_that_must_find_an_edge_learns_its_derivative() -> None:
    """One filter, trained to give ∂/∂v of a smoothed image at 45°, becomes that derivative: least squares."""
    target = gaussian_derivative(1, 0, 1.2, 7) + gaussian_derivative(0, 1, 1.2, 7)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((6, 24, 24))
    patches = np.lib.stride_tricks.sliding_window_view(images, (7, 7), axis=(1, 2)).reshape(-1, 49)
    maps = np.concatenate([scipy.signal.correlate2d(image, target, mode="valid").ravel() for image in images])
    noisy = maps + 0.3 * maps.std() * rng.standard_normal(maps.shape)
    weights = np.linalg.lstsq(patches, noisy, rcond=None)[0].reshape(1, 1, 7, 7)
    best = compare_filters(layer_of(torch.from_numpy(weights)))[0].best
    assert best is not None
    assert best.family == "first derivative"
    assert best.orientation == pytest.approx(45, abs=2)
    assert best.sigma == pytest.approx(1.2, abs=0.1)
    assert best.explained > 0.9


def test_c5_filters_planted_in_a_network_are_named_in_the_report() -> None:
    """Filters of AlexNet's size: Gabor filters, derivatives in colour, and noise."""
    rng = np.random.default_rng(3)
    colour = np.array([0.7, -0.5, 0.5])[:, None, None]
    filters = np.stack([
        np.repeat(gabor(5, 30, 90, 2.0, size=11)[None], 3, 0),
        colour * gaussian_derivative(0, 2, 1.5, 11),
        rng.standard_normal((3, 11, 11)),
        np.zeros((3, 11, 11)),
    ])  # fmt: skip
    (grid, maps) = layer_views(layer_of(torch.from_numpy(filters)), "Of one training image")
    captions = [item.caption.split("\n")[1] for item in grid.items]
    assert captions == ["Gabor", "second derivative", "resembles neither", "is zero"]
    assert "90°, σ 1.5" in grid.items[1].caption
    assert "explains 100 %" in grid.items[0].caption
    assert grid.items[1].panels[0].values.shape == (3, 11, 11), "in the colour of the filter"
    assert torch.allclose(
        grid.items[1].panels[0].values / grid.items[1].panels[0].values.norm(),
        torch.from_numpy(filters[1] / np.linalg.norm(filters[1])).float(),
        atol=1e-4,
    )
    assert "2 of 4 filters pass" in grid.caption
    assert len(maps.items) == 1 + len(filters)


def layer_of(filters: torch.Tensor) -> FirstLayer:
    count, channels = filters.shape[:2]
    return FirstLayer(
        filters=filters.float(),
        bias=None,
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        mean=None,
        std=None,
        image=torch.zeros(channels, 16, 16),
        maps=torch.zeros(count, 16, 16),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_c12_feature_maps_are_the_correlation_with_the_filters(channels: int) -> None:
    """Of the raw image with the filters of raw pixels, up to the constant of each filter; SciPy's correlation."""
    data = classes(
        torch.randint(0, 256, (40, channels, 16, 16), generator=seeded(), dtype=torch.uint8), torch.arange(40) % 2, 2
    )
    learner = LEARNERS["lenet"]
    model = learner.build(learner.settings(), data.spec).eval()
    model.network.standardize.fit(data.example("train").float().repeat(2, 1, 1, 1))
    x = data.example("train")
    layer = first_layer(learner.task, model, x, data.spec)
    assert layer is not None
    assert layer.maps.shape == (6, 16, 16)
    assert layer.mean is not None
    assert layer.std is not None
    assert layer.bias is not None
    raw = x[0].double().numpy()
    for index in range(6):
        kernels = layer.raw_filters[index].double().numpy()
        expected = sum(
            scipy.signal.correlate2d(channel, kernel, mode="valid")
            for channel, kernel in zip(raw, kernels, strict=True)
        )
        constant = float(layer.bias[index]) - float((layer.mean[:, None, None] * layer.raw_filters[index]).sum())
        assert np.allclose(layer.maps[index, 2:-2, 2:-2].numpy(), expected + constant, atol=1e-4)


def test_c12_the_first_filters_of_alexnet_are_eleven_pixels_wide() -> None:
    layer = next(
        part for part in ALEXNET.body(ALEXNET.settings(), (3, 224, 224), 10).modules() if isinstance(part, nn.Conv2d)
    )
    assert layer.weight.shape == (64, 3, 11, 11)
    compared = compare_filters(layer_of(layer.weight.detach()))
    passing = sum(one.best is not None for one in compared.values())
    assert len(compared) == 64
    assert passing < 64 * 0.05 + 3 * math.sqrt(64 * 0.05 * 0.95), "untrained filters resemble nothing"
