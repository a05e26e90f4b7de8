"""Importance of the settings of a study: effects of lists of values, and of ranges as second-degree polynomials."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snellen.metrics.effects import Effect, effects
from snellen.metrics.significance import holm
from snellen.model_selection.cross_validation import fold_variance_factor
from snellen.model_selection.search_space import Axis, RangeAxis, StudyCell


def importance(
    cells: Sequence[StudyCell], values: Sequence[Sequence[float]], axes: Sequence[Axis], over: str
) -> dict[str, Effect] | None:
    """Effect of each varied setting on validation, p-values corrected for their number (Holm); None as in `effects`.

    In a grid with several seeds or folds, chance is what they change differently from cell to cell; in a search, and
    with one seed, it is what the settings do not explain.

    Args:
        values: metric of each cell for the same seeds or folds.
        over: "seeds" or "folds".
    """
    if len(cells) < 2 or not values[0]:
        return None
    ranges = {axis.name: axis for axis in axes if isinstance(axis, RangeAxis)}
    factors = {}
    for name in cells[0].values:
        column = [cell.values[name] for cell in cells]
        factors[name] = _polynomial(column, ranges[name].log) if name in ranges else _indicators(column)
    results = np.asarray(values, dtype=np.float64)
    replicates = results.shape[1]
    replicated = not ranges and replicates > 1
    result = effects(
        factors,
        results if replicated else results.mean(1, keepdims=True),
        replicated,
        fold_variance_factor(replicates) if over == "folds" else 1.0,
    )
    return None if result is None else _corrected(result)


def _indicators(column: Sequence[Any]) -> np.ndarray:
    values = list(dict.fromkeys(column))
    return np.array([[float(value == other) for other in values[1:]] for value in column]).reshape(len(column), -1)


def _polynomial(column: Sequence[float], log: bool) -> np.ndarray:
    x = np.array([math.log(value) if log else value for value in column], dtype=np.float64)
    x = (x - x.mean()) / max(float(x.std()), 1e-12)
    return np.stack([x, x**2], axis=1)


def _corrected(result: Mapping[str, Effect]) -> dict[str, Effect]:
    p_values = holm([effect.chance for effect in result.values()])
    return {
        name: dataclasses.replace(effect, chance=p) for (name, effect), p in zip(result.items(), p_values, strict=True)
    }
