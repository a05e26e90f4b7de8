"""Planted derivatives and Gabor filters are recovered; random filters resemble nothing in 95 % of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from snellen.core.errors import UsageError
from snellen.filters.kernels import gabor, gaussian_derivative
from snellen.filters.resemblance import LIMITS, best_correlations, limits, principal_component, resemblances


def steered(order: str, angle: float, sigma: float, size: int) -> np.ndarray:
    """A derivative in the direction `angle` in degrees, from the kernels along the axes and the chain rule."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y, xx, xy, yy = (
        gaussian_derivative(i, j, sigma, size) for i, j in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    )  # fmt: skip
    forms = {
        "first derivative": c * x + s * y,
        "second derivative": c * c * xx + 2 * c * s * xy + s * s * yy,
        "mixed derivative": -c * s * xx + (c * c - s * s) * xy + c * s * yy,
        "Gaussian": gaussian_derivative(0, 0, sigma, size),
    }
    return forms[order]


@pytest.mark.parametrize("order", ["Gaussian", "first derivative", "second derivative", "mixed derivative"])
@pytest.mark.parametrize(("angle", "sigma", "size"), [(0, 1.0, 7), (90, 1.3, 7), (37, 0.9, 5), (151, 1.7, 11)])
@pytest.mark.parametrize("scale", [2.5, -0.01])
def test_a_planted_derivative_is_recovered(order: str, angle: float, sigma: float, size: int, scale: float) -> None:
    match = resemblances((scale * steered(order, angle, sigma, size))[None, None])[0].best
    assert match is not None
    assert (match.kind, match.family) == ("derivative", order)
    assert match.correlation == pytest.approx(1, abs=1e-8)
    assert match.sigma == pytest.approx(sigma, rel=2e-3)
    if order == "first derivative":  # the sign turns it by 180°
        assert match.orientation == pytest.approx((angle + 180 * (scale < 0)) % 360, abs=0.1)
    elif order == "mixed derivative":  # and this one by 90°
        turned = (angle + 90 * (scale < 0)) % 180
        assert match.orientation is not None
        assert min(abs(match.orientation - turned), 180 - abs(match.orientation - turned)) < 0.1
    else:
        assert match.sign == np.sign(scale)
    if order == "second derivative":
        assert match.orientation == pytest.approx(angle, abs=0.1)
    planted = steered(order, angle, sigma, size)
    assert np.allclose(match.template, np.sign(scale) * planted / np.linalg.norm(planted), atol=1e-4)


@pytest.mark.parametrize(
    ("wavelength", "orientation", "phase", "sigma", "aspect"),
    [(5.0, 20.0, 30.0, 2.0, 0.5), (4.0, 75.0, -100.0, 2.2, 1.0), (6.0, 140.0, 170.0, 2.5, 0.5), (3.5, 0, 0, 2, 1.0)],
)
def test_a_planted_gabor_is_recovered(
    wavelength: float, orientation: float, phase: float, sigma: float, aspect: float
) -> None:
    planted = gabor(wavelength, orientation, phase, sigma, aspect, size=11)
    match = resemblances(3 * planted[None, None])[0].best
    assert match is not None
    assert match.family == "Gabor"
    assert match.correlation == pytest.approx(1, abs=1e-7)
    assert (match.wavelength, match.sigma, match.aspect) == pytest.approx((wavelength, sigma, aspect), rel=2e-3)
    assert match.orientation is not None
    assert match.phase is not None
    assert math.cos(2 * math.radians(match.orientation - orientation)) == pytest.approx(1, abs=1e-4)
    assert math.cos(math.radians(match.phase - phase)) == pytest.approx(1, abs=1e-4)
    assert np.allclose(match.template, planted / np.linalg.norm(planted), atol=1e-3)


def test_the_search_is_as_good_as_differential_evolution() -> None:
    """With a template written here, on filters that have no exact match."""
    rng = np.random.default_rng(5)
    side = 7
    y, x = np.mgrid[:side, :side] - (side - 1) / 2

    def template(p: np.ndarray, aspect: float) -> np.ndarray:
        sigma, theta, wavelength, phase = p
        u, v = x * np.cos(theta) + y * np.sin(theta), -x * np.sin(theta) + y * np.cos(theta)
        wave = np.exp(-(u**2 + aspect**2 * v**2) / 2 / sigma**2) * np.cos(2 * np.pi * u / wavelength + phase)
        return wave / max(np.linalg.norm(wave), 1e-12)

    bounds = [(0.5, side / 2), (0, np.pi), (2, 2 * side), (-np.pi, np.pi)]
    filters = rng.standard_normal((3, side, side))
    filters[2] += 4 * template(np.array([1.8, 0.6, 5.0, 0.4]), 0.5)
    for one, r in zip(filters, best_correlations(filters, "gabor"), strict=True):
        unit = one / np.linalg.norm(one)
        other = max(
            -scipy.optimize.differential_evolution(
                lambda p, unit=unit, aspect=aspect: -float((unit * template(p, aspect)).sum()),
                bounds,
                maxiter=60,
                popsize=12,
                rng=0,
                polish=True,
            ).fun
            for aspect in (0.5, 1.0)
        )
        assert r > other - 2e-3
        assert r < 1


@pytest.mark.parametrize("side", [3, 5])
def test_random_filters_pass_in_at_most_five_percent_of_cases(side: int) -> None:
    """Seeds other than that of `LIMITS`; normal, uniform (as a network is initialised) and in colour."""
    rng = np.random.default_rng(1)
    n = 300
    filters = [rng.standard_normal((n, 1, side, side)), rng.standard_normal((n, 3, side, side))]
    worst = 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)  # three standard errors
    for some in filters:
        passing = np.mean([one.best is not None for one in resemblances(some)])
        assert 0.005 < passing < worst
    derivative, gabor_limit = LIMITS[side]
    above = np.mean(best_correlations(filters[0][:, 0], "derivative") > derivative)
    assert 0 < above < 0.025 + 3 * math.sqrt(0.025 * 0.975 / n)
    assert derivative < gabor_limit, "more free parameters, a higher limit"


def test_limits_fall_with_the_size_of_a_filter_and_lie_between_those_of_the_measured_sizes() -> None:
    measured = [limits(side, side) for side in sorted(LIMITS)]
    assert measured == [LIMITS[side] for side in sorted(LIMITS)]
    assert measured == sorted(measured, reverse=True)
    assert LIMITS[9] < limits(8, 8) < LIMITS[7]
    assert LIMITS[5] < limits(3, 7) < LIMITS[4]
    assert limits(31, 31)[0] == pytest.approx(LIMITS[16][0] * 16 / 31)


def test_a_filter_in_colour_is_compared_by_its_first_principal_component() -> None:
    rng = np.random.default_rng(0)
    colour = np.array([0.6, -0.8, 0.0])
    pattern = steered("first derivative", 30, 1.2, 7)
    pattern /= np.linalg.norm(pattern)
    filters = colour[:, None, None] * pattern + 0.02 * rng.standard_normal((1, 3, 7, 7))
    matrix = filters[0].reshape(3, 49)
    eigenvalues, vectors = np.linalg.eigh(matrix @ matrix.T)
    one = resemblances(filters)[0]
    assert one.colour_fraction == pytest.approx(eigenvalues[-1] / eigenvalues.sum(), abs=1e-12)
    assert abs(one.colour @ vectors[:, -1]) == pytest.approx(1, abs=1e-12)
    assert one.colour[1] > 0, "the largest weight is positive"
    assert np.allclose(one.pattern.ravel(), one.colour @ matrix)
    assert one.best is not None
    assert one.best.orientation == pytest.approx(210, abs=2), "the sign is in the pattern"
    assert one.explained == pytest.approx(one.colour_fraction * one.best.correlation**2)
    rest = (
        filters[0] - one.best.correlation * np.linalg.norm(one.pattern) * one.colour[:, None, None] * one.best.template
    )
    assert 1 - np.square(rest).sum() / np.square(filters).sum() == pytest.approx(one.explained, abs=1e-9)


def test_one_channel_is_its_own_component() -> None:
    filters = np.random.default_rng(0).standard_normal((4, 1, 3, 5))
    colour, pattern, fraction = principal_component(filters)
    assert np.array_equal(colour, np.ones((4, 1)))
    assert np.allclose(pattern, filters[:, 0])
    assert np.allclose(fraction, 1)


def test_a_zero_filter_resembles_nothing_and_wrong_filters_are_errors() -> None:
    zero, other = resemblances(np.stack([np.zeros((1, 5, 5)), steered("first derivative", 0, 1, 5)[None]]))
    assert zero.best is zero.derivative is zero.gabor is None
    assert zero.explained == 0
    assert other.best is not None
    for shape in ((2, 1, 1, 1), (2, 1, 2, 5), (1, 3, 40, 5), (3, 3), (0, 1, 3, 3)):
        with pytest.raises(UsageError):
            resemblances(np.ones(shape))
    with pytest.raises(UsageError, match="finite"):
        resemblances(np.full((1, 1, 3, 3), np.nan))
