"""Forecasting metrics: mean absolute error, root mean squared error, skill over a reference, errors by horizon.

Windows of a recording overlap, so their errors are no independent samples. Intervals are over blocks of windows that
start within so many steps that windows of blocks two apart share no step (block bootstrap: Carlstein 1986).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import MIN_SAMPLES, add_interval, add_interval_of_mean

FEW_BLOCKS = 20
BLOCKS = "blocks of overlapping windows"


def blocks(recording: Tensor, start: Tensor, steps: int) -> Tensor:
    """(N,) block of each window, 0, 1, …: a recording is cut into blocks of equal length, of at least `steps` steps.

    Args:
        recording, start: (N,) int64, of windows in the order of time; a recording, or a time that begins anew, begins a
            block. A recording whose windows start within fewer steps is one block.
    """
    if not len(start):
        return torch.empty(0, dtype=torch.int64)
    begins = torch.ones(len(start), dtype=torch.bool)
    begins[1:] = (recording[1:] != recording[:-1]) | (start[1:] <= start[:-1])
    run = begins.cumsum(0) - 1  # consecutive windows of one recording
    first = start[begins]
    length = torch.zeros_like(first).scatter_reduce(0, run, start - first[run] + 1, "amax")
    count = torch.div(length, steps, rounding_mode="floor").clamp(min=1)
    place = torch.div((start - first[run]) * count[run], length[run], rounding_mode="floor")
    begins[1:] |= place[1:] != place[:-1]
    return begins.cumsum(0) - 1


def by_block(values: Tensor, block: Tensor) -> Tensor:
    """(M, ...) float64 of each block, whose mean over the blocks is the mean of the (N, ...) values of the windows."""
    count = int(block[-1]) + 1 if len(block) else 0
    sums = torch.zeros(count, *values.shape[1:], dtype=torch.float64).index_add_(0, block, values.double())
    return sums * (count / max(len(block), 1))


def mean_error(errors: Tensor, block: Tensor, unit: str = "") -> Metric:
    """Mean of the (N,) errors of windows in (N,) blocks."""
    values = by_block(errors, block)
    return over_blocks(Metric(value=float(values.mean()), over=BLOCKS, higher_is_better=False, unit=unit), values)


def mean_absolute_error(errors: Tensor, block: Tensor) -> Metric:
    """Mean absolute error of (N, H, D) errors in (N,) blocks."""
    return mean_error(errors.abs().mean((1, 2)), block)


def root_mean_squared_error(errors: Tensor, block: Tensor) -> Metric:
    """Root mean squared error, over windows, steps and features, of (N, H, D) errors in (N,) blocks."""
    values = by_block(errors.square().mean((1, 2)), block)
    metric = Metric(value=float(values.mean().sqrt()), over=BLOCKS, higher_is_better=False)
    return over_blocks(metric, values, root=2)


def over_blocks(metric: Metric, values: Tensor, root: int = 1) -> Metric:
    """The mean of (M,) values of blocks, or its root, with its interval; of few blocks by Student's t, as resamples of
    few hold too few distinct values for a studentised bootstrap.
    """
    count = len(values)
    if not MIN_SAMPLES <= count < FEW_BLOCKS or not float(values.std()) > 0:
        return add_interval_of_mean(metric, values, root)
    from scipy.special import stdtrit  # torch has no quantile of t

    half = float(stdtrit(count - 1, 0.975)) * float(values.std()) / math.sqrt(count)
    low, high = (max(0.0, float(values.mean()) + sign * half) ** (1 / root) for sign in (-1, 1))
    return dataclasses.replace(metric, low=low, high=high)


def skill(errors: Tensor, reference: Tensor, block: Tensor) -> Metric:
    """Skill: 1 − error / error of a reference forecast; 0 for the reference, 1 for exact forecasts.

    Args:
        errors, reference: (N,) mean absolute errors of the windows, of the model and of the reference; or (N, H, D)
            errors.
    Source: Murphy 1988, with the mean absolute error.
    """
    own, other = (by_block(e.abs().flatten(1).mean(1) if e.ndim > 1 else e, block) for e in (errors, reference))
    if float(other.sum()) == 0:
        return Metric(value=None, reason="the reference is exact")
    statistic = _ratio(own, other)
    every = torch.arange(len(own))[None]
    return add_interval(Metric(value=float(statistic(every)[0]), over=BLOCKS), statistic, len(own))


def _ratio(own: Tensor, other: Tensor) -> Callable[[Tensor], Tensor]:
    """(R, M) rows of blocks to (R,) values of the skill; NaN where the reference is exact."""

    def statistic(rows: Tensor) -> Tensor:
        total = other[rows].sum(1)
        return torch.where(total > 0, 1 - own[rows].sum(1) / total, torch.nan)

    return statistic


def last_value(recent: Tensor, horizon: int) -> Tensor:
    """Forecast of the last value: (N, K, D) last steps to (N, horizon, D)."""
    return recent[:, -1:].expand(-1, horizon, -1)


def constant_velocity(recent: Tensor, horizon: int) -> Tensor:
    """Forecast at constant velocity, x + h (x − x'), from the last two steps x' and x.

    Args:
        recent: (N, K, D), K ≥ 2 last steps.
    Returns:
        (N, horizon, D).
    """
    ahead = torch.arange(1, horizon + 1, dtype=recent.dtype, device=recent.device)[:, None]
    return recent[:, -1:] + ahead * (recent[:, -1:] - recent[:, -2:-1])
