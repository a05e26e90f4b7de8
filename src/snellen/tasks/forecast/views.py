"""Report views of a forecaster: error against horizon, forecasts beside the truth, errors by feature, worst windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.core.views import Cell, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import forecasting, scaled_errors
from snellen.tasks.forecast.display import future, steps_text
from snellen.tasks.forecast.interval_views import coverage_views, fan_chart, past_errors, time_axis
from snellen.tasks.forecast.motion_views import joint_distances, motion_views
from snellen.tasks.forecast.step_errors import headline, headline_errors, headline_unit

MAX_FEATURES = 12  # of the table of errors by feature
MAX_PLOTS = 3  # forecasts shown beside the truth
MAX_WORST = 12  # windows in the table of worst forecasts
MAX_TIMES = 3.0  # the error of the last value: the curve of a reference with larger errors would flatten all others
MAX_POINTS = 600  # steps of a recording that is shown

Worst = Callable[[Predictions, Spec, int], Tensor]


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec, worst: Worst, block: Tensor) -> list[View]:
    """Views of the forecasts of a split.

    Args:
        block: (N,) block of each window, see `metrics.forecasting`.
    """
    if not len(predictions["ids"]):
        return []
    skeleton = future(spec).skeleton
    rows = worst(predictions, spec, MAX_WORST)
    if skeleton is not None:
        motion = motion_views(predictions, data, spec, skeleton)
        return [*motion, _worst_windows(predictions, rows, data, spec)]
    errors = (predictions["said"] - predictions["truth"]).abs()  # (N, H, D)
    last = forecasting.last_value(predictions["recent"], errors.shape[1])
    last_errors = (last - predictions["truth"]).abs()
    reference = last_errors.mean((0, 1))
    features = torch.argsort(reference, descending=True, stable=True).tolist()
    moving = [k for k in features if float(reference[k]) > 0] or features[:1]
    typical = int(torch.argsort(errors.mean((1, 2)), stable=True)[len(errors) // 2])
    return [
        _by_horizon(predictions, errors, last_errors, spec),
        past_errors(errors, spec),
        *coverage_views(predictions, spec, block),
        *(_along_recording(predictions, k, spec) for k in moving[:MAX_PLOTS]),
        *(
            fan_chart(predictions, data, typical, k, spec, "Window of median error")
            for k in _largest_change(predictions, typical, moving)
        ),
        *(
            fan_chart(predictions, data, row, _worst_feature(errors, row), spec, "Worst")
            for row in rows[:MAX_PLOTS].tolist()
        ),
        _by_feature(errors, last_errors, spec),
        _worst_windows(predictions, rows, data, spec),
    ]


def _worst_feature(errors: Tensor, row: int) -> int:
    return int(errors[row].mean(0).argmax())


def _largest_change(predictions: Predictions, row: int, moving: list[int]) -> list[int]:
    """The features that change most in the future of a window."""
    change = (predictions["truth"][row] - predictions["recent"][row, -1:]).abs().mean(0)
    return sorted(moving, key=lambda k: -float(change[k]))[:MAX_PLOTS]


def _by_horizon(predictions: Predictions, errors: Tensor, last_errors: Tensor, spec: Spec) -> Plot:
    recent = predictions["recent"]
    step, axis = time_axis(spec)
    x = [step * h for h in range(1, errors.shape[1] + 1)]
    curves = {"model": errors, "last value": last_errors}
    season = future(spec).season
    if season is not None and 1 < season <= recent.shape[1]:
        seasonal = scaled_errors.seasonal_naive(recent, errors.shape[1], season)
        curves["seasonal naive"] = (seasonal - predictions["truth"]).abs()
    if recent.shape[1] > 1:  # a window of one step has no velocity
        velocity = forecasting.constant_velocity(recent, errors.shape[1])
        velocity_errors = (velocity - predictions["truth"]).abs()
        if float(velocity_errors.mean()) < MAX_TIMES * float(last_errors.mean()):
            curves["constant velocity"] = velocity_errors
    return Plot(
        title="Error against horizon",
        x=axis,
        y="mean absolute error",
        series=[Series(name=name, x=x, y=e.mean((0, 2)).tolist()) for name, e in curves.items()],
        caption="The mean absolute error of the forecasts so many steps ahead, over windows and features, in the units "
        "of the data.",
    )


def _along_recording(predictions: Predictions, feature: int, spec: Spec) -> Plot:
    """The truth of the longest recording, and the forecasts of it a whole horizon before."""
    recording = predictions["recording"]
    of_longest = torch.nonzero(recording == recording.mode().values)[:, 0][:MAX_POINTS]
    time = predictions["start"][of_longest] + (spec.input.shape[0] or 0) + future(spec).steps
    name, steps = future(spec).names[feature], future(spec).steps
    return Plot(
        title=f"{name}, forecast {steps_text(steps)} ahead",
        x="step of the recording",
        y=name,
        series=[
            Series(name="truth", x=time.tolist(), y=predictions["truth"][of_longest, -1, feature].tolist()),
            Series(name="forecast", x=time.tolist(), y=predictions["said"][of_longest, -1, feature].tolist()),
        ],
        caption=f"Each forecast is made {steps_text(steps)} before.",
    )


def _skill(error: float, reference: float) -> str:
    return f"{1 - error / reference:.2f}" if reference > 0 else "does not change"


def _by_feature(errors: Tensor, last_errors: Tensor, spec: Spec) -> Table:
    own, reference = errors.mean((0, 1)), last_errors.mean((0, 1))
    order = torch.argsort(own, descending=True, stable=True).tolist()[:MAX_FEATURES]
    total = float(own.sum()) or 1.0
    names = future(spec).names
    shown = f"The {len(order)} of {len(names)} features with the largest errors. " if len(order) < len(names) else ""
    return Table(
        title="Errors by feature",
        columns=["feature", "mean absolute error", "of the last value", "skill", "part of the total error"],
        rows=[
            [
                names[k],
                f"{float(own[k]):.4g}",
                f"{float(reference[k]):.4g}",
                _skill(float(own[k]), float(reference[k])),
                f"{100 * float(own[k]) / total:.1f} %",
            ]
            for k in order
        ],
        caption=f"{shown}Skill: 1 − error / error of the last value. Features in larger units have larger errors.",
    )


def _worst_windows(predictions: Predictions, rows: Tensor, data: Dataset[Labelled], spec: Spec) -> Table:
    cells: list[list[Cell]] = []
    truth = predictions["truth"]
    last = forecasting.last_value(predictions["recent"], truth.shape[1])
    own_errors, last_errors = (
        headline_errors(f[rows], truth[rows], spec).mean(1).tolist() for f in (predictions["said"], last)
    )
    skeleton = future(spec).skeleton
    if skeleton is None:
        part = ["feature with the largest error"]
        errors = (predictions["said"][rows] - truth[rows]).abs().mean(1)  # (W, D)
        worst = [[future(spec).names[k]] for k in errors.argmax(1).tolist()]
    elif skeleton.has_positions:
        part = ["joint with the largest error"]
        distances = joint_distances(predictions["said"][rows], truth[rows], skeleton).mean(1)  # (W, J)
        worst = [[skeleton.joints[k]] for k in distances.argmax(1).tolist()]
    else:
        part, worst = [], [[] for _ in rows]
    for row, own, reference, name in zip(rows.tolist(), own_errors, last_errors, worst, strict=True):
        window = data.name(int(predictions["ids"][row]))
        cells.append([window, f"{own:.4g}", f"{reference:.4g}", _skill(own, reference), *name])
    unit = headline_unit(spec)
    shown = f" [{unit}]" if unit else ""
    return Table(
        title="Worst windows",
        columns=["window", f"{headline(spec)}{shown}", f"of the last value{shown}", "skill", *part],
        rows=cells,
        caption="The largest errors first; of windows that overlap, the one with the largest error.",
    )
