"""Contour lines of a function on a grid, by marching squares.

Source: Lorensen and Cline 1987, in two dimensions; saddles are decided by the mean of the four corners.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

Array = np.ndarray

# Edges of a cell: 0 bottom, 1 right, 2 top, 3 left. Bits of its corners: 1, 2, 4, 8, anticlockwise from bottom left.
_SEGMENTS = {
    1: [(3, 0)],
    2: [(0, 1)],
    3: [(3, 1)],
    4: [(1, 2)],
    6: [(0, 2)],
    7: [(3, 2)],
    8: [(2, 3)],
    9: [(0, 2)],
    11: [(1, 2)],
    12: [(1, 3)],
    13: [(0, 1)],
    14: [(0, 3)],
}
_SADDLES = {(5, True): [(3, 2), (0, 1)], (5, False): [(3, 0), (1, 2)]}
_SADDLES |= {(10, True): [(3, 0), (1, 2)], (10, False): [(0, 1), (2, 3)]}


def contour_lines(values: Array, level: float, x: Array, y: Array) -> list[Array]:
    """Polylines (n, 2) on which a function, linear between grid points, has a value.

    Args:
        values: (H, W) at y (H,) and x (W,). Cells with a value that is not finite have no contour.
    """
    width = values.shape[1]
    finite = np.isfinite(values)
    above = np.where(finite, values, -np.inf) > level
    bits = (
        above[:-1, :-1].astype(np.int64) + 2 * above[:-1, 1:] + 4 * above[1:, 1:] + 8 * above[1:, :-1]
    )  # of each cell
    bits[~(finite[:-1, :-1] & finite[:-1, 1:] & finite[1:, 1:] & finite[1:, :-1])] = 0
    rows, columns = np.nonzero((bits > 0) & (bits < 15))
    neighbours: defaultdict[int, list[int]] = defaultdict(list)
    for row, column, bit in zip(rows.tolist(), columns.tolist(), bits[rows, columns].tolist(), strict=True):
        pairs = _SEGMENTS.get(bit)
        if pairs is None:
            pairs = _SADDLES[bit, bool(values[row : row + 2, column : column + 2].mean() > level)]
        below = row * width + column  # horizontal edges have even numbers, vertical edges odd ones
        edges = (2 * below, 2 * (below + 1) + 1, 2 * (below + width), 2 * below + 1)
        for first, second in pairs:
            neighbours[edges[first]].append(edges[second])
            neighbours[edges[second]].append(edges[first])
    chains = _chains(neighbours)
    if not chains:
        return []
    position = _edge_positions(np.concatenate([np.array(chain) for chain in chains]), values, level, x, y)
    return np.split(position, np.cumsum([len(chain) for chain in chains])[:-1])


def _chains(neighbours: dict[int, list[int]]) -> list[list[int]]:
    """Join edges to chains: open ones from their ends, then closed ones, whose first edge is also the last."""
    chains, seen = [], set()
    ends = [edge for edge, others in neighbours.items() if len(others) == 1]
    for start in (*ends, *neighbours):
        if start in seen:
            continue
        chain = [start]
        seen.add(start)
        while (following := next((e for e in neighbours[chain[-1]] if e not in seen), None)) is not None:
            chain.append(following)
            seen.add(following)
        if len(chain) > 2 and start in neighbours[chain[-1]]:
            chain.append(start)
        chains.append(chain)
    return chains


def _edge_positions(edges: Array, values: Array, level: float, x: Array, y: Array) -> Array:
    """The points on edges at which the value is the level, (n, 2)."""
    is_vertical = edges % 2 == 1
    row, column = np.divmod(edges // 2, values.shape[1])
    next_row, next_column = row + is_vertical, column + ~is_vertical
    start, end = values[row, column], values[next_row, next_column]
    part = (level - start) / (end - start)
    return np.stack([x[column] + part * (x[next_column] - x[column]), y[row] + part * (y[next_row] - y[row])], 1)
