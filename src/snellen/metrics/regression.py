"""How far numbers are from the truth, in the user's units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import bootstrap

SAMPLES = "samples"
FEWEST = 5  # samples that an interval can be said of


def mean_absolute_error(truth: Tensor, said: Tensor, unit: str = "") -> Metric:
    """Mean of |t − y|.

    Args:
        truth, said: (N,) float64.
    """
    errors = (truth - said).abs().double()
    low, high = bootstrap(lambda rows: errors[rows].mean(1), len(errors))
    return Metric(value=float(errors.mean()), low=low, high=high, over=SAMPLES, higher_is_better=False, unit=unit)


def root_mean_squared_error(truth: Tensor, said: Tensor, unit: str = "") -> Metric:
    """√ of the mean of (t − y)²."""
    squares = (truth - said).double().square()
    low, high = bootstrap(lambda rows: squares[rows].mean(1).sqrt(), len(squares))
    value = float(squares.mean().sqrt())
    return Metric(value=value, low=low, high=high, over=SAMPLES, higher_is_better=False, unit=unit)


def r2(truth: Tensor, said: Tensor) -> Metric:
    """1 − Σ(t − y)² / Σ(t − t̄)²: the share of the variance explained, averaged over targets; 0 for the mean.

    Args:
        truth, said: (N, T) float64.
    """
    if len(truth) < 2 or bool((truth == truth[:1]).all(0).any()):
        return Metric(value=None, reason="a target does not vary in this split")

    errors, spread = (truth - said).square(), truth - truth.mean(0)  # (N, T)
    value = float((1 - errors.sum(0) / spread.square().sum(0)).mean())
    if len(truth) < FEWEST:  # most resamples would hold one sample alone, whose variance is zero
        return Metric(value=value)
    low, high = bootstrap(r2_of_rows(truth, said), len(truth))
    return Metric(value=value, low=low, high=high, over=SAMPLES)


def r2_of_rows(truth: Tensor, said: Tensor) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of the samples to (R,) shares of the variance explained."""
    errors, spread = (truth - said).square(), truth - truth.mean(0)  # (N, T)

    def statistic(rows: Tensor) -> Tensor:
        often = torch.zeros(len(rows), len(truth), dtype=torch.float64)  # (R, N) how often a resample has each sample
        often.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
        total = often @ spread.square() - (often @ spread).square() / rows.shape[1]  # (R, T), by Steiner
        explained = 1 - (often @ errors) / total
        return torch.where(total > 1e-12 * spread.square().sum(0), explained, torch.zeros_like(explained)).mean(1)

    return statistic
