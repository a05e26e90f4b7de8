"""Regression metrics: mean absolute error, root mean squared error, R²."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import add_interval, add_interval_of_mean

SAMPLES = "samples"


def mean_absolute_error(truth: Tensor, predicted: Tensor, unit: str = "") -> Metric:
    """Mean absolute error, the mean of |t − y|.

    Args:
        truth, predicted: (N,) float64.
    """
    errors = (truth - predicted).abs().double()
    metric = Metric(value=float(errors.mean()), over=SAMPLES, higher_is_better=False, unit=unit)
    return add_interval_of_mean(metric, errors)


def root_mean_squared_error(truth: Tensor, predicted: Tensor, unit: str = "") -> Metric:
    """Root mean squared error, √ of the mean of (t − y)²."""
    squares = (truth - predicted).double().square()
    metric = Metric(value=float(squares.mean().sqrt()), over=SAMPLES, higher_is_better=False, unit=unit)
    return add_interval_of_mean(metric, squares, root=2)


def r2(truth: Tensor, predicted: Tensor) -> Metric:
    """R², 1 − Σ(t − y)² / Σ(t − t̄)²: the fraction of variance explained, averaged over targets; 0 for the mean.

    Args:
        truth, predicted: (N, T) float64.
    """
    if len(truth) < 2 or bool((truth == truth[:1]).all(0).any()):
        return Metric(value=None, reason="a target does not vary in this split")

    errors, spread = (truth - predicted).square(), truth - truth.mean(0)  # (N, T)
    value = float((1 - errors.sum(0) / spread.square().sum(0)).mean())
    return add_interval(Metric(value=value, over=SAMPLES), resampled_r2(truth, predicted), len(truth))


def resampled_r2(truth: Tensor, predicted: Tensor) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of the samples to (R,) values of R², NaN for rows in which a target does not vary."""
    errors, spread = (truth - predicted).square(), truth - truth.mean(0)  # (N, T)

    def statistic(rows: Tensor) -> Tensor:
        weights = torch.zeros(len(rows), len(truth), dtype=torch.float64)  # (R, N) copies of each sample
        weights.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
        total = (
            weights @ spread.square() - (weights @ spread).square() / rows.shape[1]
        )  # (R, T), about the resample's mean
        explained = 1 - (weights @ errors) / total
        return torch.where(total > 1e-12 * spread.square().sum(0), explained, torch.nan).mean(1)

    return statistic
