"""The rows of a history to what is drawn of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.core.views import Plot, Series, View

MOST_POINTS = 300  # of a line: more cannot be seen
SHARE = 50  # the loss is averaged over a fiftieth of the run

Row = Mapping[str, Any]

TITLES = {  # scalar -> title, axis, what to read from it
    "loss": ("Training loss", "loss", "Averaged over a fiftieth of the run, as the single steps scatter."),
    "score": ("Validation score", "score", "After each pass; the weights of the best were kept."),
    "validation_loss": ("Validation loss", "loss", "After each pass, as in use."),
    "lr": ("Learning rate", "rate", ""),
    "mistakes": ("Mistakes", "mistakes in a pass", ""),
    "updates": ("Updates", "updates in all", ""),
}


def scalar(history: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one scalar."""
    rows = [row for row in history if row.get(key) is not None]
    return [float(row["step"]) for row in rows], [float(row[key]) for row in rows]


def smooth(values: Sequence[float], width: int) -> list[float]:
    """The running mean of the last `width` values; shorter at the start."""
    means, total = [], 0.0
    for place, value in enumerate(values):
        total += value - (values[place - width] if place >= width else 0.0)
        means.append(total / min(place + 1, width))
    return means


def curves(history: Sequence[Row]) -> list[View]:
    """One plot for each scalar: the loss smoothed, the validation score, the rate, and what else was logged."""
    keys = list(dict.fromkeys(key for row in history for key in row if key not in ("loop", "step")))
    order = [key for key in TITLES if key in keys] + [key for key in keys if key not in TITLES]
    shown: list[View] = []
    for key in order:
        steps, values = scalar(history, key)
        title, axis, caption = TITLES.get(key, (key, key, ""))
        if key == "loss":
            values = smooth(values, max(1, len(values) // SHARE))
        steps, values = _thinned(steps), _thinned(values)
        style = "points" if len(values) == 1 else "line"
        # A loss that falls a thousandfold is a flat line on even axes.
        log = key == "loss" and min(values) > 0 and max(values) > 30 * min(values)
        shown.append(
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
    return shown


def _thinned(values: list[float]) -> list[float]:
    """At most MOST_POINTS of them, evenly, the last one always."""
    stride = -(-len(values) // MOST_POINTS)
    kept = values[::stride]
    return kept if not values or (len(values) - 1) % stride == 0 else [*kept, values[-1]]
