"""Calibration of prediction intervals: margins from the windows of the validation split, for every learner.

The margin of a step ahead and a feature is a quantile of how far the truths of the validation windows lie beyond the
interval without margin: of their absolute errors, or of the distances beyond the quantiles of a network. The
finite-sample correction counts windows. Windows that overlap are no independent samples: the coverage then varies more
from series to series than that of as many independent windows.

Source: see `metrics.prediction_intervals`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from typing import Any, TypeVar

import torch
from torch import nn

from snellen.core import settings as core_settings
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.prediction_intervals import conformal_margin
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.intervals import (
    IntervalSettings,
    PredictionIntervals,
    intervals_of,
    quantile_levels,
)
from snellen.tasks.forecast.task import TASK

C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)


def with_intervals(learner: Learner[C, Dataset[Labelled], M]) -> Learner[C, Dataset[Labelled], M]:
    """The learner with prediction intervals: the setting `levels`, and margins computed after `fit`."""

    @functools.wraps(learner.build)
    def build(c: C, spec: Spec) -> M:
        model, values = learner.build(c, spec), core_settings.values(c)
        levels = sorted(values["levels"])
        repeated = next((level for level in levels if levels.count(level) > 1), None)
        if repeated is not None:
            raise UsageError(f"--levels has {repeated:g} twice", "Give each level once.")
        if values.get("loss") == "quantile" and not quantile_levels(model):
            raise UsageError(
                f"{learner.name} forecasts no quantiles" if levels else "--loss quantile needs levels",
                "Use --loss absolute, whose intervals are from past errors." if levels else "Give --levels 50,90.",
            )
        model.add_module("intervals", PredictionIntervals(levels, future(spec).steps, len(future(spec).names)))
        return model

    @functools.wraps(learner.fit)
    def fit(c: C, data: Dataset[Labelled], model: M, run: Run) -> None:
        learner.fit(c, data, model, run)
        calibrate(model, data, run)

    return dataclasses.replace(learner, settings=_with_levels(learner.settings), build=build, fit=fit)


def _with_levels(cls: type[C]) -> type[C]:
    """Settings that have `levels`."""
    if any(setting.name == "levels" for setting in core_settings.flatten(cls, help=False)):
        return cls
    about = {"__doc__": cls.__doc__, "__module__": cls.__module__}
    return core_settings.settings(type(cls.__name__, (cls, IntervalSettings), about))


def calibrate(model: nn.Module, data: Dataset[Labelled], run: Run) -> None:
    """Compute the margins of the intervals from the validation windows; infinite ones where there are too few.

    The predictions of the validation split are left in `run`, so that they are not made again.
    """
    intervals = intervals_of(model)
    assert intervals is not None
    model.to(run.device).eval()
    intervals.margin.fill_(math.inf)
    if not len(data.splits["val"]) or not intervals.levels:
        return
    started = time.monotonic()
    intervals.margin.zero_()
    predictions: dict[str, Any] = dict(TASK.predict(model, data, "val", run))
    below, above = predictions["below"].double(), predictions["above"].double()
    error = predictions["truth"] - predictions["said"]
    for k, level in enumerate(intervals.levels):
        scores = torch.maximum(-error - below[:, k], error - above[:, k])
        intervals.margin[k] = conformal_margin(scores, level)
    margins = PredictionIntervals(intervals.levels, *error.shape[1:])
    margins.margin.copy_(intervals.margin)
    below, above = margins.widened(below, above)
    run.validation_predictions = (
        {**predictions, "below": below.float(), "above": above.float()},
        time.monotonic() - started,
    )
