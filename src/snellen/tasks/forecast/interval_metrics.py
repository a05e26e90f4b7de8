"""Coverage and width of the prediction intervals of stored forecasts."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from snellen.core.task import Predictions
from snellen.core.views import Metric
from snellen.metrics import forecasting
from snellen.metrics.prediction_intervals import changing_features, covered, smallest_count
from snellen.tasks.forecast.intervals import level_name, levels_of


def coverage_name(level: float) -> str:
    """Name of the metric: "coverage of the 90 % intervals"."""
    return f"coverage of the {level_name(level)} intervals"


def interval_metrics(predictions: Predictions, block: Tensor) -> dict[str, Metric]:
    """Coverage and mean width of the intervals of each level, over windows, steps and the features that change.

    Args:
        block: (N,) block of each window, see `metrics.forecasting`.
    """
    metrics = {}
    for k, level in enumerate(levels_of(predictions)):
        coverage = Metric(value=None, percent=True, over=forecasting.BLOCKS)
        width = Metric(value=None, over=forecasting.BLOCKS, higher_is_better=False)
        reason = _missing(predictions, k, level)
        if reason:
            coverage, width = (dataclasses.replace(m, over="", reason=reason) for m in (coverage, width))
        else:
            inside = coverage_by_step(predictions, k).mean(1)
            size = _of_changing(predictions, (predictions["below"][:, k] + predictions["above"][:, k]).double())
            values = forecasting.by_block(inside, block)
            coverage = forecasting.over_blocks(dataclasses.replace(coverage, value=float(values.mean())), values)
            if coverage.high is not None:
                coverage = dataclasses.replace(coverage, high=min(1.0, coverage.high))
            width = _mean_width(width, size.mean((1, 2)), block)
        metrics[coverage_name(level)] = coverage
        metrics[f"mean width of the {level_name(level)} intervals"] = width
    return metrics


def _mean_width(metric: Metric, size: Tensor, block: Tensor) -> Metric:
    """The mean of (N,) widths; without an interval where they are the same for all windows."""
    metric = dataclasses.replace(metric, value=float(size.mean()))
    if float(size.max() - size.min()) <= 1e-6 * float(size.mean()):
        return dataclasses.replace(metric, over="")
    return forecasting.over_blocks(metric, forecasting.by_block(size, block))


def _missing(predictions: Predictions, k: int, level: float) -> str:
    """Why the coverage of a level is not measured; "" where it is."""
    if not bool(torch.isfinite(predictions["above"][:, k]).all()):
        count = smallest_count(level)
        return f"the validation split has fewer than {count} window{'' if count == 1 else 's'}"
    if bool(predictions["calibrated_on"].any()):
        return "the intervals were fitted to these windows"
    if not int(_changing(predictions).sum()):
        return "no feature changes, and all forecasts are exact"
    return ""


def _changing(predictions: Predictions) -> Tensor:
    error = predictions["truth"] - predictions["said"]
    finite = torch.isfinite(predictions["above"]).all(3).all(2).all(0)
    return changing_features(error, predictions["below"][:, finite], predictions["above"][:, finite])


def _of_changing(predictions: Predictions, values: Tensor) -> Tensor:
    """Values (N, H, D) of the features that change."""
    return values[..., _changing(predictions)]


def coverage_by_step(predictions: Predictions, k: int) -> Tensor:
    """(N, H) fraction of the features that change whose truth the interval of level index k covers."""
    error = predictions["truth"] - predictions["said"]
    inside = covered(error, predictions["below"][:, k : k + 1].double(), predictions["above"][:, k : k + 1].double())
    return _of_changing(predictions, inside[:, 0].double()).mean(2)


def measurable_levels(predictions: Predictions) -> dict[int, float]:
    """Index and level of the intervals whose coverage is measured."""
    return {k: level for k, level in enumerate(levels_of(predictions)) if not _missing(predictions, k, level)}


def finite_levels(predictions: Predictions) -> dict[int, float]:
    """Index and level of the intervals that have ends."""
    return {
        k: level
        for k, level in enumerate(levels_of(predictions))
        if bool(torch.isfinite(predictions["above"][:, k]).all())
    }
