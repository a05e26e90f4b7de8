"""Main effects of the settings of a grid (functional analysis of variance)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def main_effects(cells: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, float] | None:
    """Fraction of the variance between cells that each setting explains alone; interactions and noise are the rest.

    In a complete grid the fractions sum to at most one. None where all cells are equal.

    Args:
        cells: setting -> value as text, and the mean metric of the cell.
    Source: Hutter, Hoos and Leyton-Brown 2014, sec. 3 (functional analysis of variance), main effects; Fisher 1925.
    """
    values = [value for _, value in cells]
    if len(values) < 2:
        return None
    grand = statistics.fmean(values)
    total = sum((value - grand) ** 2 for value in values)
    if total <= 1e-18 * len(values) * max(1.0, grand**2):
        return None
    fractions = {}
    for name in cells[0][0]:
        by_value: dict[str, list[float]] = {}
        for settings, value in cells:
            by_value.setdefault(settings[name], []).append(value)
        fractions[name] = sum(len(g) * (statistics.fmean(g) - grand) ** 2 for g in by_value.values()) / total
    return fractions
