"""Learning curves: the rows of a training history as plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.core.views import Metric, Plot, Series, View

MAX_POINTS = 300  # of a curve
SMOOTHING_WINDOWS = 50  # a noisy scalar is a running mean over 1/50 of the steps

SMOOTHED = ("loss", "return", "length")  # scalars that vary from step to step

HistoryRow = Mapping[str, Any]

TITLES = {  # scalar -> title, axis label, caption
    "loss": ("Training loss", "loss", "Running mean over 1/50 of the training steps."),
    "score": (
        "Validation score",
        "score (higher is better)",
        "After each epoch. The weights of the best epoch are used.",
    ),
    "validation_loss": ("Validation loss", "loss", "After each epoch, in evaluation mode."),
    "lr": ("Learning rate", "learning rate", ""),
    "mistakes": ("Misclassified training samples", "misclassified samples per epoch", ""),
    "updates": ("Weight updates", "updates so far", ""),
    "return": (
        "Return of the training episodes, with exploration",
        "return",
        "Running mean over 1/50 of the episodes.",
    ),
    "length": ("Length of the training episodes", "steps", "Running mean over 1/50 of the episodes."),
    "epsilon": ("Exploration", "probability of a random action", ""),
    "inertia": (
        "Inertia",
        "sum of squared distances to the nearest centre",
        "One restart after another; within a restart no iteration raises it.",
    ),
    "change": ("Change of the values", "largest change in a sweep", ""),
}


def scalar_series(history: Sequence[HistoryRow], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one scalar of the history."""
    rows = [row for row in history if row.get(key) is not None]
    return [float(row["step"]) for row in rows], [float(row[key]) for row in rows]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Running mean over the last `width` values; over fewer at the start."""
    means, total = [], 0.0
    for k, value in enumerate(values):
        total += value - (values[k - width] if k >= width else 0.0)
        means.append(total / min(k + 1, width))
    return means


def learning_curves(history: Sequence[HistoryRow], score: str = "", unit: str = "") -> list[View]:
    """One plot per scalar: the smoothed loss, the validation score, the learning rate and any other logged scalar.

    Args:
        score: the metric that is the validation score, negated where lower is better; "": none, or unknown.
        unit: of that metric.
    """
    keys = list(dict.fromkeys(key for row in history for key in row if key not in ("loop", "step")))
    order = [key for key in TITLES if key in keys] + [key for key in keys if key not in TITLES]
    plots: list[View] = []
    for key in order:
        steps, values = scalar_series(history, key)
        title, axis, caption = TITLES.get(key, (key, key, ""))
        if key == "score":
            is_error = min(values) < 0  # minus a loss or an error
            values = [-value for value in values] if is_error else values
            title = f"Validation {score or ('loss' if is_error else 'score')}"
            named = f"{score}{f' [{unit}]' if unit else ''}" if score else "loss" if is_error else "score"
            axis = f"{named} ({'lower' if is_error else 'higher'} is better)"
        if key in SMOOTHED:
            values = running_mean(values, max(1, len(values) // SMOOTHING_WINDOWS))
        steps, values = _subsample(steps), _subsample(values)
        style = "points" if len(values) == 1 else "line"
        # A loss that falls by orders of magnitude needs a logarithmic axis.
        log = key in ("loss", "change") and min(values) > 0 and max(values) > 30 * min(values)
        plots.append(
            Plot(
                title=title,
                x="step",
                y=axis,
                style=style,
                log_y=log,
                caption=caption,
                series=[Series(name=title, x=steps, y=values)],
            )
        )
    return plots


def validation_score(task: Task[Any, Any], spec: Spec, metrics: Mapping[str, Metric]) -> tuple[str, str]:
    """The metric that is the validation score, and its unit; ("", "") for minus a loss."""
    name = task.validation_score(spec)
    return name, metrics[name].unit if name in metrics else ""


def _subsample(values: list[float]) -> list[float]:
    """At most MAX_POINTS evenly spaced values, plus the last one."""
    stride = -(-len(values) // MAX_POINTS)
    selected = values[::stride]
    return selected if not values or (len(values) - 1) % stride == 0 else [*selected, values[-1]]
