"""Effects of settings on a metric: fractions of variance (ω²) with confidence intervals and F tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snellen.metrics.intervals import LEVEL


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Effect of one setting.

    Args:
        fraction: ω², the fraction of the variance that the setting explains, without what chance explains; 0 … 1.
        low, high: its 95 % confidence interval.
        chance: p-value of the F test of no effect.
    """

    fraction: float
    low: float
    high: float
    chance: float


def effects(
    factors: Mapping[str, np.ndarray], values: np.ndarray, replicated: bool, variance_factor: float = 1.0
) -> dict[str, Effect] | None:
    """Effect of each factor on a metric; None where nothing measures chance, or chance varies nothing.

    The sum of squares of a factor is what the residual of a linear model grows by without it (type II). With
    `replicated`, chance is the interaction of cells and replicates: what a replicate changes in all cells alike
    (a block) is left out. Otherwise chance is the residual of the cell means, which holds interactions too.

    Args:
        factors: name -> (C, D) columns that code it, without the constant.
        values: (C, S) of C cells and S replicates (seeds or folds).
        replicated: whether every cell has the same S ≥ 2 replicates.
        variance_factor: of the variance of a mean over replicates, against independent replicates.
    Source: Fisher 1925; Hays 1963 (ω²); Steiger 2004 (interval from the noncentral F distribution).
    """
    from scipy.special import fdtrc

    cells, replicates = values.shape
    means = values.mean(1)
    complete = _residual(list(factors.values()), means)
    if complete is None:
        return None
    between = float(((means - means.mean()) ** 2).sum())
    if replicated:
        noise = values - means[:, None] - values.mean(0) + values.mean()
        chance_df = (cells - 1) * (replicates - 1)
        chance = variance_factor * float((noise**2).sum()) / chance_df if chance_df else 0.0  # mean square
        between, scale = between * replicates, replicates
        total = between + chance * chance_df
    else:
        chance_df, scale, total = cells - 1 - complete[1], 1, between
        chance = complete[0] / chance_df if chance_df > 0 else 0.0
    if chance <= 1e-18 * max(1.0, float(np.abs(values).max()) ** 2):
        return None
    result = {}
    for name in factors:
        reduced = _residual([columns for other, columns in factors.items() if other != name], means)
        assert reduced is not None
        df = complete[1] - reduced[1]
        if df < 1:  # other settings vary with it in every cell
            continue
        explained = scale * max(0.0, reduced[0] - complete[0])
        ratio = explained / df / chance
        rest = (total - explained) / chance + df + 1  # variance of all else, in units of chance
        low, high = _noncentrality_interval(ratio, df, chance_df)
        strength = max(0.0, explained / chance - df)
        result[name] = Effect(
            fraction=strength / (strength + rest),
            low=low / (low + rest),
            high=high / (high + rest),
            chance=float(fdtrc(df, chance_df, ratio)),
        )
    return result


def _residual(columns: list[np.ndarray], y: np.ndarray) -> tuple[float, int] | None:
    """Residual sum of squares of a linear model, and its rank without the constant; None for fewer than two cells."""
    if len(y) < 2:
        return None
    design = np.concatenate([np.ones((len(y), 1)), *columns], axis=1)
    weights, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ weights) ** 2).sum()), int(rank) - 1


def _noncentrality_interval(ratio: float, df: int, chance_df: int) -> tuple[float, float]:
    """95 % interval of the noncentrality of an F ratio: at its limits the ratio is a 2.5 and a 97.5 % quantile."""
    from scipy.special import ncfdtr

    def limit(level: float) -> float:
        """The noncentrality where P(F ≤ ratio) = level; it falls with the noncentrality."""
        if ncfdtr(df, chance_df, 0.0, ratio) <= level:
            return 0.0
        low, high = 0.0, 1.0
        while ncfdtr(df, chance_df, high, ratio) > level and high < 1e12:
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if ncfdtr(df, chance_df, middle, ratio) > level else (low, middle)
        return (low + high) / 2

    return limit(1 - LEVEL / 2), limit(LEVEL / 2)
