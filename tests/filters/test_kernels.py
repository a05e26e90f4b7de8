"""Kernels by name: Gaussian derivatives equal SciPy's and finite differences; Gabor kernels find edges by direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage

from snellen.core.errors import UsageError
from snellen.filters import BANKS, KERNELS, convolve, correlate, gabor, gabor_bank, gaussian_derivative
from snellen.filters.kernels import MAX_ORDER, gaussian_1d, sharpen, shift

ORDERS = [(x, y) for x in range(4) for y in range(4)]


@pytest.mark.parametrize(("x", "y"), ORDERS)
@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_gaussian_derivatives_equal_scipy(x: int, y: int, sigma: float) -> None:
    image = np.random.default_rng(0).normal(size=(40, 31))
    ours = correlate(image, gaussian_derivative(x, y, sigma), border="symmetric")
    expected = scipy.ndimage.gaussian_filter(image, sigma, order=(y, x), truncate=4 if max(x, y) < 3 else 5)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_the_response_to_an_impulse_is_the_derivative_of_the_gaussian(order: int) -> None:
    """Central finite differences of exp(−x² / 2σ²), normalised as the kernel."""
    sigma, step, size = 2.5, 0.01, 41
    x = np.arange(size) - size // 2.0

    def bell(at: np.ndarray) -> np.ndarray:
        return np.exp(-(at**2) / (2 * sigma**2)) / np.exp(-(x**2) / (2 * sigma**2)).sum()

    signs = [(-1) ** k * math.comb(order, k) for k in range(order + 1)]
    expected = sum(sign * bell(x + (order / 2 - k) * step) for k, sign in enumerate(signs)) / step**order
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    np.testing.assert_allclose(correlate(impulse, gaussian_1d(order, sigma, size)), expected, atol=1e-5)
    np.testing.assert_allclose(convolve(impulse, gaussian_1d(order, sigma, size)), (-1) ** order * expected, atol=1e-5)


def test_derivatives_are_positive_along_a_rising_slope() -> None:
    y, x = np.mgrid[0:21, 0:21].astype(float)
    for name, image, value in (
        ("gaussian-x", x, 1),
        ("gaussian-y", y, 1),
        ("sobel-x", x, 8),
        ("sobel-y", y, 8),
        ("gaussian-xx", x * x, 2),
        ("gaussian-xy", x * y, 1),
        ("gaussian-xxx", x**3, 6),
        ("laplacian", x * x + y * y, 4),
    ):
        middle = correlate(image, KERNELS[name].make())[10, 10]
        assert middle == pytest.approx(value, rel=2e-2), name
    assert abs(correlate(x, KERNELS["gaussian-y"].make())[10, 10]) < 1e-12


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_the_gabor_kernel_of_the_direction_of_a_grating_responds_most(angle: float) -> None:
    y, x = np.mgrid[-40:41, -40:41].astype(float)
    theta = math.radians(angle)
    grating = np.cos(2 * math.pi * (x * math.cos(theta) + y * math.sin(theta)) / 6)
    responses = {
        other: float(np.abs(correlate(grating, gabor(6, other), padding="valid")).max())
        for other in (0.0, 30.0, 60.0, 90.0, 135.0, 150.0)
    }
    best = max(responses, key=lambda other: responses[other])
    assert best == angle
    assert all(responses[other] < 0.7 * responses[best] for other in responses if other != best)


def test_gabor_formula_and_phase() -> None:
    kernel = gabor(8.0, 20.0, 35.0, sigma=3.0, aspect=0.6, size=15)
    x, y = 4, -2
    along = x * math.cos(math.radians(20)) + y * math.sin(math.radians(20))
    across = -x * math.sin(math.radians(20)) + y * math.cos(math.radians(20))
    expected = math.exp(-(along**2 + 0.36 * across**2) / 18) * math.cos(2 * math.pi * along / 8 + math.radians(35))
    assert kernel[7 + y, 7 + x] == pytest.approx(expected, abs=1e-14)
    np.testing.assert_allclose(gabor(phase=0.0), gabor(phase=0.0)[::-1, ::-1], atol=1e-15)
    np.testing.assert_allclose(gabor(phase=90.0), -gabor(phase=90.0)[::-1, ::-1], atol=1e-15)
    darker = np.where(np.arange(60)[None] < 30, 1.0, 0.0) * np.ones((60, 1))
    assert correlate(darker, gabor(phase=90.0))[30, 30] > 0
    bank = gabor_bank(orientations=3, wavelengths=(4, 6), phases=(0,))
    assert list(bank) == [f"λ {w}, θ {a}°, φ 0°" for w in (4, 6) for a in (0, 60, 120)]
    assert len({kernel.shape for kernel in bank.values()}) == 1


def test_every_kernel_has_a_summary_an_odd_shape_and_a_form_for_signals_where_it_has_one() -> None:
    rows = np.random.default_rng(1).normal(size=(1, 20)) * np.ones((9, 1))  # equal rows: the columns are constant
    for name, kernel in KERNELS.items():
        made = kernel.make()
        assert kernel.summary
        assert all(side % 2 for side in made.shape)
        if kernel.make_1d is not None and name not in ("sobel-x", "sharpen"):
            inside = correlate(rows, made, border="copy")[4]
            np.testing.assert_allclose(correlate(rows[0], kernel.make_1d(), border="copy"), inside, atol=1e-12)
    for bank in BANKS.values():
        assert bank.summary
        assert len(bank.make()) > 1
    np.testing.assert_array_equal(sharpen(5), 2 * shift(0, 0) * np.pad([[1.0]], 2) - np.full((5, 5), 0.04))


def test_settings_out_of_range_are_usage_errors() -> None:
    for call in (
        lambda: gaussian_derivative(5, 0),
        lambda: gaussian_derivative(0, 0, 0.0),
        lambda: gaussian_derivative(0, 0, math.nan),
        lambda: gaussian_derivative(0, 0, 1.0, 4),
        lambda: gabor(1.0),
        lambda: gabor(size=257),
        lambda: gabor_bank(orientations=64, wavelengths=(4, 5, 6)),
        lambda: shift(200),
    ):
        with pytest.raises(UsageError):
            call()
