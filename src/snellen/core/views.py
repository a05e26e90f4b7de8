"""What tasks and learners want shown, as plain data. Drawn by report, page, notebook and terminal; never here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from snellen.core.detections import Region

Cell = str | float | int | None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured figure. `value` is None where it is undefined, and `reason` then says why.

    `low` and `high` bound the 95 % interval `over` samples, seeds or folds. `percent` figures are fractions, shown
    times a hundred. `unit` is the user's own.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    over: str = ""
    higher_is_better: bool = True
    percent: bool = False
    unit: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        scale = 100 if self.percent else 1
        unit = " %" if self.percent else f" {self.unit}" if self.unit else ""
        if self.low is None or self.high is None:
            return f"{_digits(self.value * scale)}{unit}"
        half = (self.high - self.low) / 2 * scale
        below, above = self.value - self.low, self.high - self.value
        if min(below, above) < max(below, above) / 3:  # at the end of a scale: ± would promise what cannot be
            low, high = (_digits(end * scale, half) for end in (self.low, self.high))
            return f"{_digits(self.value * scale, half)} ({low} to {high}){unit}"
        return f"{_digits(self.value * scale, half)} ± {_digits(half, half)}{unit}"


def _digits(value: float, half: float | None = None) -> str:
    """As many digits as the interval bears out: two figures of the half-width."""
    import math

    if half is None or half <= 0 or not math.isfinite(half):
        return f"{value:.4g}"
    places = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{min(places, 10)}f}" if value < 1e6 else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line, or points. `low` and `high` draw a band or error bars."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Text:
    """Sentences. `level` is "good", "warning" or "" and gives the colour."""

    title: str
    lines: Sequence[str]
    level: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines or points over two axes. `style`: "line", "points" or "bars"; `diagonal` draws y = x."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    style: str = "line"
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Counts by row and column, as in a confusion matrix: rows are the truth."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    x: str = ""
    y: str = ""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something drawn on a picture, in its pixels.

    Args:
        place: decides the colour: of a class, its place among the classes.
        box: x1, y1, x2, y2.
        region: a mask, laid over the picture.
        points: x and y of keypoints; bones: pairs of their places, drawn joined.
    """

    label: str = ""
    place: int = 0
    box: tuple[float, float, float, float] | None = None
    region: Region | None = None
    points: Sequence[tuple[float, float]] = ()
    bones: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """(C, H, W) values with the range that is drawn from black to white.

    Args:
        marks: boxes, masks and keypoints on it.
        classes: (H, W) int64, a class for every pixel, laid over it in colours; -1: none.
        beside: other pictures of the same thing, drawn to its right: the truth, the answer.
    """

    values: Tensor
    low: float
    high: float
    caption: str = ""
    good: bool | None = None
    marks: Sequence[Mark] = ()
    classes: Tensor | None = None
    beside: Sequence[AnnotatedImage] = ()


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """Pictures side by side. `legend`: what is drawn on them in which colour, each a name and its place."""

    title: str
    items: Sequence[AnnotatedImage]
    caption: str = ""
    legend: Sequence[tuple[str, int]] = ()


View = Text | Table | Plot | Matrix | ImageGrid


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence about data or run, with what to try. `where` names the first files or rows, `count` all."""

    kind: str
    message: str
    remedy: str = ""
    severity: str = "warning"  # "error", "warning", "note"
    where: tuple[str, ...] = ()
    count: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    def unsaid(self, count: int) -> tuple[str, ...]:
        """The first so many places, or none where the message names them itself."""
        first = self.where[:count]
        return first if any(place not in self.message for place in first) else ()
