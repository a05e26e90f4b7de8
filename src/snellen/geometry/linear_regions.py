"""Linear regions of a network with ReLU units: exact, by splitting a polygon by the line of each unit.

A network of linear layers and ReLU is linear on each region in which no unit changes its sign. In the plane each
region is a convex polygon; the line of a unit of the first layer is straight, that of a deeper unit is straight inside
each region of the layers before. In one dimension regions are intervals between breakpoints.

Source: Montúfar, Pascanu, Cho and Bengio 2014, "On the number of linear regions of deep neural networks"; lecture 004.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray

MAX_REGIONS = 20_000
MAX_VALUES = 8_000_000  # regions × units of a layer: 200 MB
TOLERANCE = 1e-9  # in widths of the window: a vertex nearer to a line lies on it


class LinearRegions(NamedTuple):
    """Linear regions in a window.

    Args:
        vertices: (P, V, 2), the corners of each polygon in their order; the first is repeated up to V.
        corners: (P,) number of corners of each.
        active: for each hidden layer, (P, units) bool: whether the unit is above zero in the region.
        lines: for each hidden layer, the unit of each segment (S,) and its ends (S, 2, 2).
        complete: False: there are more than the limit, and the splitting stopped.
    """

    vertices: Array
    corners: Array
    active: tuple[Array, ...]
    lines: tuple[tuple[Array, Array], ...]
    complete: bool


def linear_regions(
    weights: Sequence[Array],
    biases: Sequence[Array],
    low: Sequence[float],
    high: Sequence[float],
    slope: float = 0.0,
    max_regions: int = MAX_REGIONS,
) -> LinearRegions:
    """Linear regions of a network of two inputs in the rectangle from `low` to `high`, with the lines of its units.

    Args:
        weights: of the hidden layers, (units, inputs) float64; the first has two inputs.
        biases: of the hidden layers, (units,).
        slope: of the activation below zero: 0 for ReLU.
    """
    corner, size = np.asarray(low, np.float64), np.asarray(high, np.float64) - np.asarray(low, np.float64)
    vertices = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])  # of the window, in units of its size
    corners = np.array([4])
    slopes, offsets = np.diag(size)[None], corner[None]  # inputs of the layer: linear in u, (P, n, 2) and (P, n)
    active: list[Array] = []
    lines: list[tuple[Array, Array]] = []
    complete = True
    for weight, bias in zip(weights, biases, strict=True):
        gradients = np.einsum("mn,pnd->pmd", weight, slopes)  # of the pre-activations, (P, m, 2)
        constants = offsets @ weight.T + bias  # (P, m)
        parent = np.arange(len(vertices))
        units: list[Array] = []
        ends: list[Array] = []
        for unit in range(len(weight)):
            if len(vertices) > max_regions or len(vertices) * len(weight) > MAX_VALUES:
                complete = False
                break
            gradient = gradients[parent, unit]
            values = np.einsum("pvd,pd->pv", vertices, gradient) + constants[parent, unit][:, None]
            values[np.abs(values) <= TOLERANCE * np.linalg.norm(gradient, axis=1)[:, None]] = 0.0
            split = (values.min(1) < 0) & (values.max(1) > 0)
            if not split.any():
                continue
            above, below, segments = _split(vertices[split], corners[split], values[split])
            units.append(np.full(len(segments), unit))
            ends.append(segments)
            vertices = _stack([vertices[~split], above[0], below[0]])
            corners = np.concatenate([corners[~split], above[1], below[1]])
            parent = np.concatenate([parent[~split], parent[split], parent[split]])
        lines.append(
            (
                np.concatenate([np.zeros(0, np.int64), *units]),
                corner + np.concatenate([np.zeros((0, 2, 2)), *ends]) * size,
            )
        )
        inner = np.arange(vertices.shape[1]) < corners[:, None]
        centres = (vertices * inner[..., None]).sum(1) / corners[:, None]
        gradients, constants = gradients[parent], constants[parent]
        is_active = np.einsum("pmd,pd->pm", gradients, centres) + constants > 0
        active = [*(before[parent] for before in active), is_active]
        if not complete:
            break
        factor = np.where(is_active, 1.0, slope)
        slopes, offsets = gradients * factor[..., None], constants * factor
    return LinearRegions(corner + vertices * size, corners, tuple(active), tuple(lines), complete)


def _split(vertices: Array, corners: Array, values: Array) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
    """Split convex polygons by the line on which a linear function is zero.

    Args:
        vertices: (P, V, 2). corners: (P,). values: (P, V) of the function at the vertices; each polygon has some
            above and some below zero.
    Returns:
        Vertices and corners of the parts above and below, and the segments between them (P, 2, 2).
    """
    count, width = values.shape
    is_vertex = np.arange(width) < corners[:, None]
    after = (np.arange(width) + 1) % corners[:, None]
    next_values = np.take_along_axis(values, after, 1)
    is_cut = is_vertex & (values * next_values < 0)
    position = values / np.where(is_cut, values - next_values, 1.0)
    cuts = vertices + position[..., None] * (np.take_along_axis(vertices, after[..., None], 1) - vertices)
    points = np.stack([vertices, cuts], 2).reshape(count, 2 * width, 2)

    def select(chosen: Array) -> tuple[Array, Array]:
        """The chosen vertices, and the cuts, in their order."""
        mask = np.stack([is_vertex & chosen, is_cut], 2).reshape(count, 2 * width)
        number = mask.sum(1)
        order = np.argsort(~mask, axis=1, kind="stable")[:, : number.max()]
        result = np.take_along_axis(points, order[..., None], 1)
        return np.where(np.arange(result.shape[1])[:, None] < number[:, None, None], result, result[:, :1]), number

    on_line, number = select(values == 0)
    segments = np.stack([on_line[:, 0], on_line[np.arange(count), number - 1]], 1)
    return select(values >= 0), select(values <= 0), segments


def _stack(parts: Sequence[Array]) -> Array:
    """Concatenate (P, V, 2) polygons of several V; the first vertex is repeated."""
    width = max(part.shape[1] for part in parts)
    padded = [np.concatenate([p, np.repeat(p[:, :1], width - p.shape[1], axis=1)], 1) for p in parts]
    return np.concatenate(padded)


def breakpoints(weights: Sequence[Array], biases: Sequence[Array], slope: float = 0.0) -> Array:
    """Breakpoints of a network of one input: all x at which the slope of an output changes, ascending, (B,) float64.

    Args:
        weights: of all layers, (units, inputs) float64; the first has one input, the last gives the outputs.
        biases: of all layers, (units,).
        slope: of the activation below zero: 0 for ReLU.
    """
    edges = np.array([-np.inf, np.inf])  # of the intervals
    slopes, offsets = np.ones((1, 1)), np.zeros((1, 1))  # inputs of the layer: linear in x, (P, n)
    for depth, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        slopes, offsets = slopes @ weight.T, offsets @ weight.T + bias
        if depth == len(weights) - 1:
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            roots = -offsets / slopes  # (P, m)
        inside = (roots > edges[:-1, None]) & (roots < edges[1:, None]) & np.isfinite(roots)
        new_edges = _distinct(np.concatenate([edges, roots[inside]]))
        middles = _middles(new_edges)
        parent = np.clip(np.searchsorted(edges, middles) - 1, 0, len(edges) - 2)
        edges, slopes, offsets = new_edges, slopes[parent], offsets[parent]
        factor = np.where(slopes * middles[:, None] + offsets > 0, 1.0, slope)
        slopes, offsets = slopes * factor, offsets * factor
    jump = np.abs(np.diff(slopes, axis=0)).max(1)
    changes: Array = jump > 1e-9 * np.abs(slopes).max(initial=0.0)
    result: Array = edges[1:-1][changes]
    return result


def _distinct(edges: Array) -> Array:
    """Sorted, without those that differ by rounding only."""
    edges = np.sort(edges)
    with np.errstate(invalid="ignore"):
        gap = np.diff(edges) > 1e-12 * np.maximum(1e-300, np.abs(edges[1:]))
    gap |= ~np.isfinite(edges[1:])
    return np.concatenate([edges[:1], edges[1:][gap]])


def _middles(edges: Array) -> Array:
    """A point inside each interval; the first and the last may be infinite."""
    finite = edges[np.isfinite(edges)]
    reach = max(1.0, float(np.abs(finite).max(initial=0.0)))
    bounded = np.concatenate([finite[:1] - reach if len(finite) else [-1.0], finite, finite[-1:] + reach])
    if not len(finite):
        return np.zeros(1)
    middles: Array = (bounded[:-1] + bounded[1:]) / 2
    return middles


def max_pieces(widths: Sequence[int]) -> int:
    """Bound ∏(W_n + 1) on the linear pieces of a ReLU network of one input and hidden layers of W_n units.

    Each unit changes its sign at most once in each piece of the layers before, so W units divide it into at most W + 1.
    The breakpoints are one fewer. Lecture 004 has ∏ W_n, which one unit (two pieces) exceeds.
    """
    return math.prod(width + 1 for width in widths)
