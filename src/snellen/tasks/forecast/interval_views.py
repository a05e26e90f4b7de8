"""Report views of prediction intervals: coverage by horizon, fan charts of windows, past errors by horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.core.views import Metric, Plot, Series, Text, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import forecasting
from snellen.metrics.intervals import MIN_SAMPLES
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.interval_metrics import (
    coverage_by_step,
    coverage_name,
    finite_levels,
    interval_metrics,
    measurable_levels,
)
from snellen.tasks.forecast.intervals import level_name

PAST_HORIZONS = 3  # of a fan chart: steps of the past, in horizons


def time_axis(spec: Spec) -> tuple[float, str]:
    """The length of a step on the axis of time, and the name of the axis."""
    target = future(spec)
    if target.duration is None:
        return 1.0, "steps ahead"
    return target.duration, f"ahead [{target.duration_unit}]" if target.duration_unit else "ahead"


def coverage_views(predictions: Predictions, spec: Spec, block: Tensor) -> list[View]:
    """The coverage of the intervals by horizon, and whether it agrees with the nominal coverage.

    Args:
        block: (N,) block of each window, see `metrics.forecasting`.
    """
    levels = measurable_levels(predictions)
    if not levels:
        return []
    step, axis = time_axis(spec)
    x = [step * h for h in range(1, future(spec).steps + 1)]
    metrics = interval_metrics(predictions, block)
    series = []
    for position, (k, level) in enumerate(levels.items()):
        values = 100 * forecasting.by_block(coverage_by_step(predictions, k), block)  # (M, H)
        low, high = _interval(values)
        series.append(
            Series(
                name=f"{level_name(level)} intervals",
                x=x,
                y=values.mean(0).tolist(),
                low=low,
                high=high,
                colour_index=position,
            )
        )
    series += [
        Series(
            name=f"nominal {level_name(level)}",
            x=[x[0], x[-1]],
            y=[level, level],
            style="dashed",
            colour_index=position,
        )
        for position, level in enumerate(levels.values())
    ]
    bands = "" if not series[0].low else " Bands: 95 % intervals over blocks of overlapping windows."
    return [
        Text(title="", lines=[agreement(level, metrics[coverage_name(level)]) for level in levels.values()]),
        Plot(
            title="Coverage of the intervals by horizon",
            x=axis,
            y="truths in the interval [%]",
            series=series,
            caption="The percentage of truths in the prediction intervals so many steps ahead, over windows and over "
            f"the features that change.{bands}",
        ),
    ]


def _interval(values: Tensor) -> tuple[list[float], list[float]]:
    """95 % interval of the mean of (M, H) percentages of M blocks by Student's t; empty for few blocks."""
    if len(values) < MIN_SAMPLES:
        return [], []
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * values.std(0) / math.sqrt(len(values))
    return (values.mean(0) - half).clamp(min=0).tolist(), (values.mean(0) + half).clamp(max=100).tolist()


def agreement(level: float, coverage: Metric) -> str:
    """A sentence: whether the measured coverage agrees with the nominal one.

    Args:
        level: the nominal coverage in percent. coverage: the measured one.
    """
    if coverage.value is None:
        return f"The coverage of the {level_name(level)} intervals is not measured: {coverage.reason}."
    measured = f"The {level_name(level)} intervals cover {coverage} of the truths"
    if coverage.low is None or coverage.high is None:
        return f"{measured}: too few blocks of windows to compare this with {level_name(level)}."
    if coverage.low <= level / 100 <= coverage.high:
        return f"{measured}, which agrees with {level_name(level)}."
    if coverage.value * 100 < level:
        return (
            f"{measured}, significantly fewer than {level_name(level)}: errors are larger than on the validation "
            "windows that the intervals were fitted to."
        )
    return (
        f"{measured}, significantly more than {level_name(level)}: errors are smaller than on the validation windows "
        "that the intervals were fitted to."
    )


def past_errors(errors: Tensor, spec: Spec) -> Plot:
    """Quantiles of the errors of the windows against the horizon.

    Args:
        errors: (N, H, D) absolute errors.
    """
    step, axis = time_axis(spec)
    x = [step * h for h in range(1, errors.shape[1] + 1)]
    of_windows = errors.mean(2).numpy()  # (N, H)
    low, median, high = np.quantile(of_windows, [0.1, 0.5, 0.9], axis=0)
    return Plot(
        title="Past errors by horizon",
        x=axis,
        y="absolute error of a window",
        series=[
            Series(
                name="10 to 90 % of windows",
                x=x,
                y=[None] * len(x),
                low=low.tolist(),
                high=high.tolist(),
                style="band",
                colour_index=0,
            ),
            Series(name="median", x=x, y=median.tolist(), colour_index=0),
            Series(name="mean", x=x, y=of_windows.mean(0).tolist(), colour_index=1),
        ],
        caption="How the errors of the windows so many steps ahead are distributed; the error of a window is the mean "
        "over its features, in the units of the data.",
    )


def fan_chart(
    predictions: Predictions, data: Dataset[Labelled], row: int, feature: int, spec: Spec, title: str
) -> Plot:
    """Fan chart of one feature of a window: the past, the truth, the forecast and its nested intervals."""
    id = int(predictions["ids"][row])
    past = data.source.read(np.array([id]), data.preprocessing)[0, :, feature].double()
    past = past[-max(2, PAST_HORIZONS * future(spec).steps) :]
    step, axis = time_axis(spec)
    before = [step * k for k in range(1 - len(past), 1)]
    after = [step * h for h in range(1, future(spec).steps + 1)]
    now, name = float(past[-1]), future(spec).names[feature]
    forecast = predictions["said"][row, :, feature]
    bands = [_band(predictions, row, feature, k, level, [0.0, *after]) for k, level in _outermost(predictions)]
    return Plot(
        title=f"{title}: {name}",
        x=axis,
        y=name,
        series=[
            *bands,
            Series(
                name="truth",
                x=[*before, *after],
                y=[*past.tolist(), *predictions["truth"][row, :, feature].tolist()],
                colour_index=0,
            ),
            Series(name="forecast", x=[0.0, *after], y=[now, *forecast.tolist()], colour_index=1),
        ],
        caption=data.name(id),
    )


def _outermost(predictions: Predictions) -> Sequence[tuple[int, float]]:
    """Levels of the bands of a fan chart, the widest first."""
    return list(finite_levels(predictions).items())[::-1]


def _band(predictions: Predictions, row: int, feature: int, k: int, level: float, x: Sequence[float]) -> Series:
    """The interval of a level, which begins at the last value."""
    forecast = predictions["said"][row, :, feature]
    now = float(predictions["recent"][row, -1, feature])
    low = forecast - predictions["below"][row, k, :, feature].double()
    high = forecast + predictions["above"][row, k, :, feature].double()
    return Series(
        name=f"{level_name(level)} interval",
        x=x,
        y=[None] * len(x),
        low=[now, *low.tolist()],
        high=[now, *high.tolist()],
        style="band",
        colour_index=1,
    )
