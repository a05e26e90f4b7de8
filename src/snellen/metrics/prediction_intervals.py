"""Prediction intervals: split-conformal margins, pinball loss, coverage and width.

Source: Vovk, Gammerman and Shafer 2005; Lei, G'Sell, Rinaldo, Tibshirani and Wasserman 2018, algorithm 2; of quantile
forecasts: Romano, Patterson and Candès 2019; pinball loss: Koenker and Bassett 1978.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def conformal_rank(count: int, level: float) -> int:
    """Rank k = ⌈(n + 1) p⌉ of n scores, so that a new score of the same distribution is at most the k-th smallest with
    a probability of at least p; k > n: none of them is large enough.

    Args:
        count: n. level: p in percent, in (0, 100).
    """
    return math.ceil(round((count + 1) * level / 100, 9))  # rounded: 100 · 0.55 is 55.000…01 in binary numbers


def smallest_count(level: float) -> int:
    """The smallest number of scores that gives a finite margin: ⌈p / (1 − p)⌉."""
    return math.ceil(round(level / (100 - level), 9))


def conformal_margin(scores: Tensor, level: float) -> Tensor:
    """Margin by which an interval is widened to cover a fraction of new samples, the k-th smallest of the scores.

    A score is the distance of a truth beyond its interval: max(low − y, y − high), negative inside; for an interval
    without width around a forecast it is the absolute error. The coverage is at least p for independent samples, and at
    most p + 1 / (n + 1) where no scores are equal.

    Args:
        scores: (N, ...). level: p in percent.
    Returns:
        (...) float64; infinite where N is below `smallest_count`.
    """
    rank = conformal_rank(len(scores), level)
    if rank > len(scores):
        return torch.full(scores.shape[1:], math.inf, dtype=torch.float64)
    return scores.double().sort(0).values[rank - 1]


def pinball_loss(error: Tensor, quantile: float) -> Tensor:
    """Pinball loss max(τ e, (τ − 1) e) of errors e = truth − forecast of the quantile τ, of the shape of `error`."""
    return torch.maximum(quantile * error, (quantile - 1) * error)


def tails(level: float) -> tuple[float, float]:
    """The quantiles in (0, 1) that bound the central interval of a level in percent: 0.05 and 0.95 of 90 %."""
    return (1 - level / 100) / 2, (1 + level / 100) / 2


def covered(error: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """(N, L, H, D) bool, whether each truth lies in its interval, ends included.

    Args:
        error: (N, H, D) truth − forecast.
        below, above: (N, L, H, D) distances of the ends of L intervals from the forecast, at least 0.
    """
    return (error[:, None] >= -below) & (error[:, None] <= above)


def changing_features(error: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """(D,) bool, features with an error or an interval of some width. All others are constant, and covered exactly."""
    has_width = ((below + above) > 0).flatten(0, 2).any(0)
    return has_width | (error != 0).flatten(0, 1).any(0)


def nested(ends: Sequence[Tensor]) -> list[Tensor]:
    """Distances of the ends of intervals of increasing level, each at least that of the level before, at least 0."""
    inside = torch.zeros_like(ends[0])
    result = []
    for end in ends:
        inside = torch.maximum(inside, end)
        result.append(inside)
    return result
