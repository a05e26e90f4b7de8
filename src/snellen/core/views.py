"""Views: metrics, tables, plots and images as plain data. Report, page, notebook and terminal render them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from snellen.core.detections import MaskRegion

Cell = str | float | int | None


NO_INTERVAL = "no interval: "  # begins the reason of a value that has none


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Measured value of a metric. `value` is None where it is undefined, for the given `reason`; a value without an
    interval, or with one of width zero, may have a `reason` too.

    `low` and `high` bound the 95 % interval `over` samples, seeds or folds. Values with `percent` are fractions,
    displayed in %. `unit` is that of the data. `ratio_scale` is False where 0 does not mean "no error", as of a
    negative log-likelihood: differences then have a meaning, ratios have none.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    over: str = ""
    higher_is_better: bool = True
    percent: bool = False
    unit: str = ""
    reason: str = ""
    ratio_scale: bool = True

    def text(self, over: str) -> str:
        """The value and its interval; also over what it is, where this is not `over`, which the table names."""
        differs = self.low is not None and self.low != self.high and self.over not in ("", over)
        return f"{self.cell} over {self.over}" if differs else self.cell

    @property
    def cell(self) -> str:
        """As a cell of a table, which says below why values have no interval: see `interval_note`."""
        return str(replace(self, reason="") if self.lacks_interval else self)

    @property
    def lacks_interval(self) -> bool:
        return self.value is not None and self.low is None and self.reason.startswith(NO_INTERVAL)

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        scale = 100 if self.percent else 1
        unit = " %" if self.percent else f" {self.unit}" if self.unit else ""
        if self.low is None or self.high is None or (self.low == self.high and self.reason):
            return f"{_digits(self.value * scale)}{unit}{f' ({self.reason})' if self.reason else ''}"
        half = (self.high - self.low) / 2 * scale
        below, above = self.value - self.low, self.high - self.value
        beyond = (
            self.value * scale - half < 0 <= self.low
            or self.low <= 0 < self.value * scale - half  # ± would exclude zero, and the interval does not
            or self.value * scale + half < 0 <= self.high
            or (self.percent and self.value + half / 100 > 1 >= self.high)
        )
        if beyond or min(below, above) < max(below, above) / 3:  # at the end of a scale: ± would exceed it
            precision = min(half, max(below, above) * scale, abs(self.value * scale) or half)
            low, high = (_digits(end * scale, half) for end in (self.low, self.high))
            return f"{_digits(self.value * scale, precision)} ({low} to {high}){unit}"
        return f"{_digits(self.value * scale, half)} ± {_digits(half, half)}{unit}"


def interval_note(metrics: Iterable[Metric]) -> str:
    """Why values in a table have no interval, as a sentence below it; "" if all have one, or another reason."""
    reasons = list(dict.fromkeys(m.reason.removeprefix(NO_INTERVAL) for m in metrics if m.lacks_interval))
    return f"{NO_INTERVAL.capitalize()}{'; '.join(reasons)}." if reasons else ""


def _digits(value: float, half: float | None = None) -> str:
    """Format a number with the digits that the interval justifies: two significant digits of the half-width."""
    import math

    if half is None or half <= 0 or not math.isfinite(half):
        return f"{value:.4g}"
    places = max(0, 1 - math.floor(math.log10(half)))
    if places > 10:
        return f"{value:.3g}"
    return f"{value:.{min(places, 10)}f}" if value < 1e6 else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Series of a plot: a line or points. `low` and `high` bound a band or error bars.

    `style` differs from that of the plot if it is not "": "line", "dashed", "points", "bars", or "band", which has
    `low` and `high` only (`y` may be None everywhere). Bands of one colour lie over one another, the widest first, so
    that a narrower one is darker. `colour_index` None: the position of the series.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    labels: Sequence[str] = ()
    style: str = ""
    colour_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text in sentences. `level`, "good", "warning" or "", selects the colour."""

    title: str
    lines: Sequence[str]
    level: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Table of text and numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Plot with two axes. `style`: "line", "dashed", "points" or "bars"; `diagonal` draws y = x."""

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
    """Matrix of counts, such as a confusion matrix: rows are true classes, columns predicted classes.

    `has_errors`: whether counts off the diagonal are errors, which have a colour of their own.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    x: str = ""
    y: str = ""
    caption: str = ""
    has_errors: bool = True


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Annotation drawn on an image, in its pixels.

    Args:
        colour_index: selects the colour: the index of the class.
        box: x1, y1, x2, y2.
        region: a mask, blended over the image.
        points: x and y of keypoints; bones: pairs of their indices, connected by lines.
    """

    label: str = ""
    colour_index: int = 0
    box: tuple[float, float, float, float] | None = None
    region: MaskRegion | None = None
    points: Sequence[tuple[float, float]] = ()
    bones: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """Image with annotations: (C, H, W) values and the range that maps to black and white.

    Args:
        marks: boxes, masks and keypoints on the image.
        classes: (H, W) int64, a class for every pixel, blended over the image in colours; -1: none.
        panels: further images of the same sample to its right: ground truth and prediction.
    """

    values: Tensor
    low: float
    high: float
    caption: str = ""
    good: bool | None = None
    marks: Sequence[Mark] = ()
    classes: Tensor | None = None
    panels: Sequence[AnnotatedImage] = ()


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """Grid of images. `legend`: names of what is drawn on them, each with its colour index.

    `compact`: an image with a panel takes the place of two images, not a row.
    """

    title: str
    items: Sequence[AnnotatedImage]
    caption: str = ""
    legend: Sequence[tuple[str, int]] = ()
    compact: bool = False


@dataclass(frozen=True, kw_only=True)
class BoardCell:
    """Cell of a board.

    Args:
        value: number that is printed and selects the colour; None: no colour.
        arrow: rows and columns from the centre of the cell to that of the cell it points to; None: no arrow.
        mark: a letter; "#" is a wall.
    """

    value: float | None = None
    arrow: tuple[int, int] | None = None
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Board:
    """Board of rows of cells, of a game or a gridworld."""

    title: str
    cells: Sequence[Sequence[BoardCell]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """Samples of one split on a decision map.

    Args:
        x, y: coordinates.
        classes: true class of each, which selects colour and marker; empty on a surface.
        values: true number of each, which selects the colour on a surface; else empty.
        wrong: whether each is misclassified.
        filled: whether markers are filled; outlines tell a second split from the first.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    classes: Sequence[int] = ()
    values: Sequence[float] = ()
    wrong: Sequence[bool] = ()
    filled: bool = True


@dataclass(frozen=True, kw_only=True)
class MapLines:
    """Lines of one kind on a decision map. `kind`: "boundary", "unit" (of a network) or "distance" (perpendiculars)."""

    name: str
    kind: str
    paths: Sequence[Sequence[tuple[float, float]]]


@dataclass(frozen=True, kw_only=True)
class DecisionMap:
    """Map of a model over its two inputs: its classes, or its fitted surface.

    Args:
        x, y: labels of the axes. x_range, y_range: their ends.
        classes: names of the classes; empty for a surface.
        values: (H, W), the first row at the lower end of y: the predicted class, -1 for none, or the number.
        strength: (H, W) 0 … 1, of the colours of classes; None: equal.
        levels: ascending values of a surface between which the colours change evenly, from its minimum to its maximum.
        value_name: label of the colour bar of a surface.
        equal: whether both axes have one scale, so that right angles look right.
        log_x, log_y: logarithmic axes, also of the grid.
    """

    title: str
    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    values: Tensor
    classes: Sequence[str] = ()
    strength: Tensor | None = None
    levels: Sequence[float] = ()
    value_name: str = ""
    points: Sequence[MapPoints] = ()
    lines: Sequence[MapLines] = ()
    equal: bool = False
    log_x: bool = False
    log_y: bool = False
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Track:
    """The joints of one skeleton over time.

    Args:
        name: what it is, such as "truth" or "forecast".
        positions: (F, J, 3) of each joint in each frame: right, up, towards the viewer, all in one unit.
        start: index of its first frame on the common axis of time.
    """

    name: str
    positions: Tensor
    start: int = 0


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Skeletons in motion, drawn over one another.

    Args:
        tracks: skeletons, such as the truth and a forecast that begins where the past ends.
        bones: pairs of joints that a line connects.
        frame_seconds: duration of a frame; None where unknown.
        present: index of the last frame that the model reads; None: no frame is special.
    """

    title: str
    tracks: Sequence[Track]
    bones: Sequence[tuple[int, int]]
    frame_seconds: float | None = None
    present: int | None = None
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class SoundClip:
    """One recording of sound.

    Args:
        samples: (C, T) in -1 … 1. rate: samples per second.
        spectrogram: (M, F) in decibels, the lowest frequency first; None: not drawn.
        hop_seconds: time between two columns of the spectrogram.
        frequencies: (M,) of its rows, in hertz.
        good: whether the prediction is right; None where it is more or less wrong.
    """

    samples: Tensor
    rate: float
    spectrogram: Tensor | None = None
    hop_seconds: float = 0.0
    frequencies: Sequence[float] = ()
    caption: str = ""
    good: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Recordings with waveform, spectrogram and a button that plays them."""

    title: str
    items: Sequence[SoundClip]
    caption: str = ""


View = Text | Table | Plot | Matrix | ImageGrid | Board | DecisionMap | Motion | Sound


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Finding about data or a run, with a remedy. `where` lists the first files or rows; `count` is their number."""

    kind: str
    message: str
    remedy: str = ""
    severity: str = "warning"  # "error", "warning", "note"
    where: tuple[str, ...] = ()
    count: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The message as a sentence, and the remedy."""
        stop = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{stop} {self.remedy}".rstrip()

    def unmentioned(self, count: int) -> tuple[str, ...]:
        """First `count` entries of `where`; none where the message names all of them."""
        first = self.where[:count]
        return first if any(name not in self.message for name in first) else ()
