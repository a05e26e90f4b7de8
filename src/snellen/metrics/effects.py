"""How much each setting of a grid matters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def main_effects(cells: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, float] | None:
    """The share of the variance between cells that each setting explains by itself; the rest is interplay and chance.

    In a whole grid the shares add up to at most one. None where all cells are equal.

    Args:
        cells: setting -> value as a word, and the mean figure of the cell.
    Source: Hutter, Hoos and Leyton-Brown 2014, sec. 3 (functional analysis of variance), main effects; Fisher 1925.
    """
    figures = [figure for _, figure in cells]
    if len(figures) < 2:
        return None
    grand = statistics.fmean(figures)
    total = sum((figure - grand) ** 2 for figure in figures)
    if total <= 1e-18 * len(figures) * max(1.0, grand**2):
        return None
    shares = {}
    for name in cells[0][0]:
        by_value: dict[str, list[float]] = {}
        for values, figure in cells:
            by_value.setdefault(values[name], []).append(figure)
        shares[name] = sum(len(g) * (statistics.fmean(g) - grand) ** 2 for g in by_value.values()) / total
    return shares
