"""Linear regions in the plane and breakpoints on a line: counted in two independent ways each, and by hand."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import prod

import numpy as np
import pytest

from snellen.geometry.contours import contour_lines
from snellen.geometry.linear_regions import breakpoints, linear_regions, max_pieces

Layers = tuple[list[np.ndarray], list[np.ndarray]]


def random_layers(sizes: tuple[int, ...], seed: int) -> Layers:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) * (2 / a) ** 0.5 for a, b in pairwise(sizes)]
    return weights, [rng.normal(size=b) * 0.6 for b in sizes[1:]]


def forward(layers: Layers, x: np.ndarray, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Output of the last layer, whose outputs are linear, and which hidden units are above zero."""
    active = []
    for k, (weight, bias) in enumerate(zip(*layers, strict=True)):
        x = x @ weight.T + bias
        if k < len(layers[0]) - 1:
            active.append(x > 0)
            x = np.where(x > 0, x, slope * x)
    return x, np.concatenate(active, 1)


@pytest.mark.parametrize("seed", range(3))
def test_regions_of_one_layer_are_counted_as_those_of_an_arrangement_of_lines(seed: int) -> None:
    """Lines that cross a convex window in general position divide it into 1 + lines + crossings inside."""
    (weight, _), (bias, _) = random_layers((2, 25, 1), seed)
    low, high = np.array([-2.0, -1.0]), np.array([1.0, 3.0])
    regions = linear_regions([weight], [bias], low, high)
    corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
    values = corners @ weight.T + bias
    crossing = int(((values.min(0) < 0) & (values.max(0) > 0)).sum())
    inside = 0
    for i, j in combinations(range(25), 2):
        point = np.linalg.solve(weight[[i, j]], -bias[[i, j]])
        inside += bool(((point > low) & (point < high)).all())
    assert regions.complete
    assert len(regions.vertices) == 1 + crossing + inside
    assert len(np.unique(regions.lines[0][0])) == crossing


@pytest.mark.parametrize(("widths", "slope"), [((12,), 0.0), ((8, 8), 0.0), ((6, 5, 4), 0.1)])
def test_regions_are_those_of_the_activation_patterns(widths: tuple[int, ...], slope: float) -> None:
    """Every sampled pattern is that of one polygon, in which the sample lies; the polygons tile the window."""
    layers = random_layers((2, *widths, 1), 1)
    low, high = np.array([-1.5, -1.0]), np.array([1.0, 2.0])
    regions = linear_regions(layers[0][:-1], layers[1][:-1], low, high, slope)
    patterns = np.concatenate(regions.active, 1)
    assert len(np.unique(patterns, axis=0)) == len(patterns)
    following = np.roll(regions.vertices, -1, axis=1)
    cross = regions.vertices[..., 0] * following[..., 1] - regions.vertices[..., 1] * following[..., 0]
    areas = cross.sum(1) / 2
    assert (areas > -1e-12).all()
    assert areas.sum() == pytest.approx(np.prod(high - low), rel=1e-9)
    x = np.random.default_rng(2).uniform(low, high, (20_000, 2))
    index = {pattern.tobytes(): k for k, pattern in enumerate(patterns)}
    polygon = np.array([index[pattern.tobytes()] for pattern in forward(layers, x, slope)[1]])
    start, end = regions.vertices[polygon], following[polygon]
    along, across = end - start, x[:, None] - start
    side = along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0]
    assert (side > -1e-9).all(), "a sample lies outside the polygon of its pattern"
    for depth, (unit, ends) in enumerate(regions.lines):
        middle = ends.mean(1)
        pre = (
            forward((layers[0][: depth + 1], layers[1][: depth + 1]), middle, slope)[0]
            if depth
            else (middle @ layers[0][0].T + layers[1][0])
        )
        assert np.abs(pre[np.arange(len(unit)), unit]).max() < 1e-9, "a unit is zero on its line"


def test_a_network_with_too_many_regions_is_reported_as_incomplete() -> None:
    weights, biases = random_layers((2, 60, 1), 0)
    assert not linear_regions(weights[:1], biases[:1], (-2, -2), (2, 2), max_regions=50).complete


def test_lines_through_a_corner_or_through_one_point_are_counted_once() -> None:
    """Three lines through one point make six regions; a line along an edge of the window makes none."""
    weight = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    assert len(linear_regions([weight], [np.zeros(4)], (-1, -1), (1, 1)).vertices) == 6
    edge = linear_regions([np.array([[1.0, 0.0], [0.0, 0.0]])], [np.array([1.0, 3.0])], (-1, -1), (1, 1))
    assert len(edge.vertices) == 1


@pytest.mark.parametrize("widths", [(1,), (5,), (4, 4), (3, 4, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_breakpoints_are_where_second_differences_on_a_fine_grid_are_not_zero(
    widths: tuple[int, ...], seed: int
) -> None:
    layers = random_layers((1, *widths, 2), seed)
    found = breakpoints(*layers)
    assert len(found) + 1 <= max_pieces(widths) == prod(width + 1 for width in widths)
    inside = found[np.abs(found) < 20]
    if len(inside) < 2 or np.diff(inside).min() > 1e-3:  # general position for the grid
        x = np.linspace(-20.00003, 20.00007, 400_001)
        y, _ = forward(layers, x[:, None])
        bends = np.abs(np.diff(y, 2, axis=0)).max(1) > 1e-10
        groups = x[1:-1][bends][np.concatenate([[True], np.diff(np.flatnonzero(bends)) > 2])] if bends.any() else []
        assert len(groups) == len(inside)
        assert np.allclose(groups, inside, atol=3e-4)


def test_breakpoints_by_hand_and_the_bound_of_the_lecture() -> None:
    """|x| folded once more, | |x| − 1 |, bends at −1, 0 and 1; a hat of three units bends three times.

    One ReLU has two pieces: more than ∏ W = 1, as many as ∏ (W + 1). A cancelled unit bends nothing.
    """
    fold = np.array([[1.0], [-1.0]])
    w = [fold, np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[1.0, 1.0]])]
    b = [np.zeros(2), np.array([-1.0, 1.0]), np.zeros(1)]
    assert breakpoints(w, b).tolist() == [-1.0, 0.0, 1.0]
    hat = breakpoints([np.ones((3, 1)), np.array([[1.0, -2.0, 1.0]])], [np.array([0.0, -1.0, -2.0]), np.zeros(1)])
    assert hat.tolist() == [0.0, 1.0, 2.0]
    assert len(breakpoints([np.ones((1, 1)), np.ones((1, 1))], [np.zeros(1), np.zeros(1)])) + 1 == max_pieces((1,)) == 2
    assert not len(breakpoints([np.ones((2, 1)), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)]))


def test_contour_lines_of_a_circle_and_of_a_plane() -> None:
    x, y = np.linspace(-2, 2, 161), np.linspace(-1.5, 1.5, 121)
    (circle,) = contour_lines(x[None] ** 2 + y[:, None] ** 2, 1.0, x, y)
    assert np.abs(np.linalg.norm(circle, axis=1) - 1).max() < 2e-4
    assert np.array_equal(circle[0], circle[-1])
    assert np.linalg.norm(np.diff(circle, axis=0), axis=1).sum() == pytest.approx(2 * np.pi, rel=1e-3)
    (line,) = contour_lines(x[None] + 2 * y[:, None], 0.3, x, y)
    assert np.abs(line @ [1, 2] - 0.3).max() < 1e-12
    assert np.abs(np.ptp(line[:, 1])) == pytest.approx(2.0, abs=0.05)
    holes = np.full((4, 4), np.nan)
    assert contour_lines(holes, 0.0, np.arange(4.0), np.arange(4.0)) == []
