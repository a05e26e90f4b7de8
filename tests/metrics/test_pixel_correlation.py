"""Correlation of pixels against distance equals NumPy's, and that of a process with a known correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.views import Metric
from snellen.metrics.pixel_correlation import pixel_correlation


def values(metrics: tuple[Metric, ...]) -> list[float]:
    assert all(metric.value is not None for metric in metrics)
    return [metric.value for metric in metrics if metric.value is not None]


def ar1(rng: np.random.Generator, n: int, rho: float, axis_length: int) -> np.ndarray:
    """(n, axis_length) stationary AR(1) processes: correlation rho^d at distance d."""
    steps = rng.standard_normal((n, axis_length))
    for k in range(1, axis_length):
        steps[:, k] = rho * steps[:, k - 1] + np.sqrt(1 - rho**2) * steps[:, k]
    return steps


def test_an_autoregressive_field_has_the_correlation_rho_to_the_distance() -> None:
    """Rows are AR(1) processes with 0.8, columns with 0.5: a separable field (Kronecker product of the covariances)."""
    rng = np.random.default_rng(0)
    images = []
    down = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(np.arange(48), np.arange(48))))
    for _ in range(40):
        images.append(torch.from_numpy((down @ ar1(rng, 48, 0.8, 64))[None]))
    result = pixel_correlation(images, 6)
    for metrics, rho in ((result.horizontal, 0.8), (result.vertical, 0.5)):
        for distance, metric in enumerate(metrics):
            assert metric.value == pytest.approx(rho**distance, abs=0.03)
            assert metric.low is not None
            assert metric.high is not None
            # The mean of each image is subtracted, which lowers all coefficients a little: about 0.01 here.
            assert metric.low - 0.02 <= rho**distance <= metric.high + 0.02
    assert values(result.permuted)[0] == 1
    for metric in result.permuted[1:]:
        assert metric.value == pytest.approx(0, abs=0.01)
        assert metric.low is not None
        assert metric.high is not None
        assert metric.high - metric.low < 0.02
    assert (result.images, result.over, result.values) == (40, "images", 40 * 48 * 64)


def test_the_coefficients_are_those_of_numpy_for_several_sizes_channels_and_types() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (2, 9, 12)), rng.integers(0, 256, (2, 11, 8)), rng.integers(0, 99, (2, 9, 12))]
    result = pixel_correlation([torch.from_numpy(image.astype(np.uint8)) for image in images], 4)
    centred = [image - image.mean((1, 2), keepdims=True) for image in images]
    for distance in range(5):
        for metrics, axis in ((result.horizontal, 2), (result.vertical, 1)):
            pairs = [
                (
                    np.delete(x, np.s_[x.shape[axis] - distance :], axis).ravel(),
                    np.delete(x, np.s_[:distance], axis).ravel(),
                )
                for x in centred
            ]
            a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
            assert metrics[distance].value == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert result.horizontal[1].reason == "no interval: fewer than 5 images"


def test_one_image_has_intervals_over_bands() -> None:
    rng = np.random.default_rng(2)
    image = ar1(rng, 64, 0.7, 64)
    result = pixel_correlation([torch.from_numpy(image)[None]])
    assert len(result.horizontal) == 33
    assert result.over == "bands"
    for distance in (1, 5):
        x = image - image.mean()
        expected = np.corrcoef(x[:, :-distance].ravel(), x[:, distance:].ravel())[0, 1]
        metric = result.horizontal[distance]
        assert metric.value == pytest.approx(expected, abs=1e-12)
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < expected < metric.high
        assert metric.low < 0.7**distance < metric.high
    assert result.vertical[1].value == pytest.approx(0, abs=0.05), "rows are independent"


def test_brightness_that_differs_between_images_is_no_correlation() -> None:
    rng = np.random.default_rng(3)
    images = [torch.from_numpy(rng.standard_normal((1, 20, 20)) + 100 * k) for k in range(8)]
    assert pixel_correlation(images, 3).horizontal[2].value == pytest.approx(0, abs=0.05)


def test_results_are_reproducible_and_degenerate_images_have_a_reason() -> None:
    image = [torch.randint(0, 256, (1, 10, 10), generator=torch.Generator().manual_seed(0))]
    assert pixel_correlation(image) == pixel_correlation(image)
    constant = pixel_correlation([torch.full((1, 6, 6), 3.0)] * 6)
    assert all(metric.value is None and metric.reason for metric in constant.horizontal)
    point = pixel_correlation([torch.zeros(1, 1, 1)])
    assert len(point.horizontal) == 1
    row = pixel_correlation([torch.arange(12.0).reshape(1, 3, 4)], 99)
    assert len(row.horizontal) == 3, "limited to the smallest side − 1"
    with pytest.raises(DataError):
        pixel_correlation([])
    with pytest.raises(UsageError):
        pixel_correlation(image, 0)
    with pytest.raises(DataError, match="finite"):
        pixel_correlation([torch.full((1, 3, 3), torch.nan)])
