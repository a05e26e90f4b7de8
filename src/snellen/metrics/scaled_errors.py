"""Scaled errors of forecasts: mean absolute scaled error (MASE), mean absolute percentage error, seasonal naive."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.forecasting import mean_absolute_error


def seasonal_naive(past: Tensor, horizon: int, season: int) -> Tensor:
    """Forecast of the value one season before: (N, K, D) last K ≥ `season` steps to (N, horizon, D).

    The forecast h steps ahead is x(t + h − m ⌈h / m⌉), with t the last step and m the season.
    """
    ahead = torch.arange(horizon, device=past.device)
    return past[:, past.shape[1] - season + ahead % season]


def naive_errors(series: Sequence[Tensor], season: int) -> Tensor | None:
    """(D,) float64 mean of |x(t) − x(t − m)| over the steps of several series (T, D); None if none is long enough."""
    differences = [(x[season:] - x[:-season]).double().abs() for x in series if len(x) > season]
    return torch.cat(differences).mean(0) if differences else None


def mean_absolute_scaled_error(errors: Tensor, scale: Tensor, block: Tensor) -> Metric:
    """Mean absolute scaled error (MASE): errors in units of those of the seasonal naive forecast one season ahead.

    Args:
        errors: (N, H, D).
        scale: (N, D) mean absolute error of the seasonal naive forecast on the training part of the series of each
            window; features with a scale of 0, which do not change there, are left out.
        block: (N,) see `forecasting.blocks`.
    Source: Hyndman and Koehler 2006.
    """
    varies = (scale > 0).all(0) & torch.isfinite(scale).all(0)
    if not bool(varies.any()):
        return Metric(value=None, reason="the training part does not change, or is shorter than a season")
    return mean_absolute_error(errors[..., varies] / scale[:, None, varies], block)


def mean_absolute_percentage_error(errors: Tensor, truth: Tensor, block: Tensor) -> Metric | None:
    """Mean absolute percentage error (MAPE), 100 |e| / y; None unless every true value is above 0.

    Args:
        errors, truth: (N, H, D). block: (N,).
    """
    if not bool((truth > 0).all()):
        return None
    return mean_absolute_error(100 * errors / truth, block)
