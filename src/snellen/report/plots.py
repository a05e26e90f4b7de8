"""A `Plot` to SVG that takes its colours and type from the page around it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

from snellen.core.views import Plot, Series
from snellen.report import html_text, palette

WIDTH, HEIGHT = 4.2, 2.9  # inches; with 9-point type it reads in half a column and on a telephone

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # words stay words
    "svg.hashsalt": "snellen",  # the same plot has the same bytes
    "text.parse_math": False,  # a dollar in a class name is a dollar
    "font.size": 9,
    "axes.edgecolor": palette.INK,
    "axes.labelcolor": palette.INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.color": palette.INK,
    "ytick.color": palette.INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "grid.color": palette.FAINT,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "text.color": palette.INK,
}


def svg(plot: Plot) -> str:
    """One `<svg>` element without ids of its own names, outside references or fixed ink."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has the letters
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        for place, line in enumerate(plot.series):
            _draw(axes, plot, line, palette.series(place))
        _frame(axes, plot)
        figure.draw_without_rendering()  # settles the limits
        _label(axes, plot)
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return _for_page(written.getvalue(), plot.title)


def _draw(axes: Any, plot: Plot, line: Series, colour: str) -> None:
    x, y = [float(v) for v in line.x], _numbers(line.y)
    band = bool(line.low) and bool(line.high)
    low, high = _numbers(line.low), _numbers(line.high)
    if plot.style == "bars":
        axes.bar(x, y, color=colour, width=0.8, linewidth=0)
    elif plot.style == "points":
        if band:
            below = [max(0.0, v - lo) for v, lo in zip(y, low, strict=True)]
            above = [max(0.0, hi - v) for v, hi in zip(y, high, strict=True)]
            axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=0.9)
        few = len(x) <= 60
        axes.plot(
            x,
            y,
            linestyle="none",
            marker="o",
            markersize=4 if few else 2.5,
            color=colour,
            markeredgewidth=0,
            alpha=1.0 if few else 0.55,
        )
    else:
        if band:
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, y, color=colour, marker="o" if len(x) <= 30 else None, markersize=3.5, markeredgewidth=0)


def _label(axes: Any, plot: Plot) -> None:
    """Writes the names of points beside them, each moved up or down until it covers no other."""
    taken: list[tuple[float, float, float]] = []  # left, bottom and width in points
    for across, up, label in (
        (a, u, n) for line in plot.series for a, u, n in zip(line.x, _numbers(line.y), line.labels, strict=False)
    ):
        if not math.isfinite(up):
            continue
        left, bottom = (v * 72 / axes.figure.dpi for v in axes.transData.transform((float(across), up)))
        width = 4.4 * len(label)
        for shift in (4.0, *(way * step for step in range(12, 200, 9) for way in (-1, 1))):
            low = bottom + shift
            if not any(abs(low - b) < 9 and left < le + w and le < left + width for le, b, w in taken):
                break
        taken.append((left, low, width))
        axes.annotate(
            html_text.clean(label), (across, up), xytext=(4, low - bottom), textcoords="offset points", fontsize=8
        )


def _frame(axes: Any, plot: Plot) -> None:
    if plot.log_x and any(v > 0 for line in plot.series for v in line.x):
        axes.set_xscale("log")
        _label_powers(axes.xaxis)
    if plot.log_y and any(v is not None and v > 0 for line in plot.series for v in line.y):
        axes.set_yscale("log")
        _label_powers(axes.yaxis)
    if plot.diagonal:
        low = max(axes.get_xlim()[0], axes.get_ylim()[0])
        high = min(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=palette.QUIET, linewidth=0.9, linestyle="--", zorder=0)
    axes.set_xlabel(html_text.clean(plot.x))
    axes.set_ylabel(html_text.clean(plot.y))


def _label_powers(axis: Any) -> None:
    """Words at powers of ten; where none lies on the axis, at a few values in between."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    axis.set_major_formatter(lambda value, _: _power(value))
    axis.set_minor_formatter(NullFormatter())
    low, high = axis.get_view_interval()
    if math.ceil(math.log10(low)) > math.floor(math.log10(high)):
        axis.set_major_locator(MaxNLocator(3))


def _power(value: float) -> str:
    """A tick of a logarithmic axis: 0.01, 100, 10⁶."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if -4 < exponent < 4 or not math.isclose(value, 10.0**exponent):
        return f"{value:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if v is None else float(v) for v in values]


_TAG = re.compile(r"<[^<>]+>")  # matplotlib escapes < and > in what users wrote, so tags are ours
_LONG = re.compile(r"(\d+\.\d\d)\d+")
_NAMED = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|PathCollection|LineCollection'
    r'|FillBetweenPolyCollection)_\d+"'
)
_FONT = re.compile(r"font: ([^;'\"]*?px) [^;\"]*")


def _for_page(drawn: str, title: str) -> str:
    """The element alone, with two decimals and the page's own colours and type."""
    start = drawn.index("<svg")
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", drawn[start:], flags=re.DOTALL
    )
    body = re.sub(r">\s+<", "><", _TAG.sub(lambda found: _tag(found.group()), body))
    return body.replace("<svg", f'<svg role="img" aria-label="{html_text.escaped(title)}"', 1).strip()


def _tag(tag: str) -> str:
    tag = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", tag).replace("xlink:href", "href")
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:width|height)="[^"]*"', "", tag)
    tag = _FONT.sub(r"font: \1 var(--sans, sans-serif)", _NAMED.sub("", tag))
    tag = re.sub(r"\s+", " ", _LONG.sub(r"\1", tag))
    for marker, colour in palette.CSS.items():
        tag = tag.replace(marker, colour)
    return tag
