"""Difference between two runs on the same samples: an interval and a p-value that agree.

p < 0.05 if and only if the 95 % interval excludes zero. For accuracy both are McNemar's test: its χ² form is the score
interval at zero; its exact form, for few samples, rejects less, and where it does not reject, the interval is extended
to zero. For other metrics two tests must reject, so p is the larger of the p-values of the permutation test and of the
bootstrap, and the interval is that of the bootstrap, extended to zero where p ≥ 0.05. No interval is made narrower, so
its coverage is at least that of the score interval or of the bootstrap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core.spec import Spec
from snellen.core.task import Predictions, Task
from snellen.core.views import Metric
from snellen.metrics.intervals import (
    LEVEL,
    MIN_SAMPLES,
    add_interval,
    level_of_zero,
    paired_difference_interval,
    resampled_values,
    with_percentiles,
)
from snellen.metrics.significance import mcnemar, permutation_test

DRAWS = 2000  # resamples of a bootstrap interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPredictions:
    """Predictions of one run on the test split."""

    name: str
    learner: str
    task: Task[Any, Any]
    spec: Spec
    predictions: Predictions


class PairedTest(NamedTuple):
    """The difference of two runs, and its test; `difference`, `test` and `only` as in `comparison.Pair`."""

    difference: Metric
    test: str
    p: float
    only: tuple[int, int] | None


def paired_test(first: RunPredictions, second: RunPredictions, like: Metric, max_draws: int) -> PairedTest:
    """Test two runs of which the first is at least as good.

    Args:
        like: the headline metric of the first. max_draws: see `permutation_test`.
    Source: McNemar 1947 and Tango 1998; Fisher 1935 and Efron 1979; Berger 1982 on the larger of two p-values.
    """
    count = unit_count(first)
    gain = headline_gain(first, second, like.higher_is_better)
    scale = 100 if like.percent else 1
    difference = Metric(
        value=scale * float(gain(torch.arange(count)[None], torch.arange(count)[None] + count)[0]),
        over=like.over or "samples",
        unit="percentage points" if like.percent else like.unit,
    )
    only = None
    correct, other = (run.task.correct(run.predictions, run.spec) for run in (first, second))
    if correct is not None and other is not None:
        only = int((correct & ~other).sum()), int((other & ~correct).sum())
    if only is not None and first.task.headline(first.spec) == "accuracy":
        p = mcnemar(*only)
        low, high = paired_difference_interval(*only, count)
        difference = dataclasses.replace(difference, low=scale * low, high=scale * high)
        return PairedTest(_with_zero(difference, p), "McNemar", p, only)
    p = exchange_p_value(first, second, max_draws)
    if count < MIN_SAMPLES:  # their permutations reach no p < 0.05
        return PairedTest(add_interval(difference, gain_of_rows(gain, count), count), "exchange", p, only)
    values = scale * resampled_values(gain_of_rows(gain, count), count, DRAWS)
    p = max(p, level_of_zero(values, count))
    return PairedTest(_with_zero(with_percentiles(difference, values, count), p), "exchange", p, only)


def _with_zero(difference: Metric, p: float) -> Metric:
    """The difference, its interval extended to zero unless the test rejects."""
    if p < LEVEL or difference.low is None or difference.low <= 0:
        return difference
    return dataclasses.replace(difference, low=0.0, reason="")


def exchange_p_value(first: RunPredictions, second: RunPredictions, max_draws: int = 0) -> float:
    """Two-sided p-value that two runs have the same headline metric: permutation test of their predictions."""
    count, gain = unit_count(first), headline_gain(first, second, True)
    rows = torch.arange(count)
    return permutation_test(
        lambda swap: gain(rows + count * swap, rows + count * (1 - swap)), count, max_draws=max_draws
    )


def unit_count(run: RunPredictions) -> int:
    """Number of units that are resampled and exchanged: samples, unless these overlap (`Task.unit_count`)."""
    return run.task.unit_count(run.predictions, run.spec)


def gain_of_rows(gain: Callable[[Tensor, Tensor], Tensor], count: int) -> Callable[[Tensor], Tensor]:
    """The difference on the same rows of two runs, a statistic for the bootstrap."""
    return lambda rows: gain(rows, rows + count)


def headline_gain(
    first: RunPredictions, second: RunPredictions, higher_is_better: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    """The difference in headline metric between two sets of rows of the concatenated predictions.

    Rows 0 … N-1 are units of the first run (`unit_count`), rows N … 2N-1 those of the second for the same samples.
    """
    both = {
        key: torch.cat([value, second.predictions[key]]) if value.ndim else value
        for key, value in first.predictions.items()
        if key in second.predictions and value.shape[1:] == second.predictions[key].shape[1:]  # else it is no headline
    }
    headline = first.task.resampled_headline(both, first.spec)
    sign = 1.0 if higher_is_better else -1.0
    return lambda a, b: sign * (headline(a) - headline(b))
