"""A `Plot` as SVG (drawn by matplotlib) with the colours and the font of the page."""

from __future__ import annotations

import importlib
import io
import math
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from snellen.core.views import Plot, Series
from snellen.report import html_text, palette

MAX_X_LABEL, MAX_Y_LABEL = 38, 28  # characters of a line
WIDTH, HEIGHT = 4.2, 2.9  # inches; 9-point text stays readable in half a column and on a phone

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "snellen",  # deterministic output
    "text.parse_math": False,  # no TeX: class names may contain a dollar sign
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


def plot_svg(plot: Plot) -> str:
    """A plot as one `<svg>` element without generated ids, external references or fixed colours."""
    matplotlib = import_matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    default = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context({**default, **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser's font has the glyphs
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        for k, line in enumerate(plot.series):
            _draw_series(axes, plot, line, k if line.colour_index is None else line.colour_index)
        _draw_axes(axes, plot)
        if any(line.labels for line in plot.series):
            for _ in range(2):  # labels at the right edge make the axes smaller: place all again in these
                figure.draw_without_rendering()  # fixes the positions of the points
                for text in list(axes.texts):
                    text.remove()
                _annotate_points(axes, plot)
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    return _inline_svg(buffer.getvalue(), plot.title)


def import_matplotlib() -> Any:
    """Import matplotlib without the `matplotlibrc` of the current folder.

    It would be read on import, first of all places: it can start programs (`text.usetex`), and a pipe blocks.
    """
    if "matplotlib" not in sys.modules and os.path.lexists("matplotlibrc"):
        current = os.open(".", os.O_RDONLY)
        try:
            os.chdir(sys.prefix)
            importlib.import_module("matplotlib")
        finally:
            os.chdir(current)
            os.close(current)
    return importlib.import_module("matplotlib")


def _draw_series(axes: Any, plot: Plot, line: Series, index: int) -> None:
    colour = palette.series_colour(index)
    x, y = [float(v) for v in line.x], _with_nan(line.y)
    band = bool(line.low) and bool(line.high)
    low, high = _with_nan(line.low), _with_nan(line.high)
    style = line.style or plot.style
    if style == "bars":
        axes.bar(x, y, color=colour, width=0.8, linewidth=0)
    elif style == "points":
        if band:
            below = [max(0.0, v - lo) for v, lo in zip(y, low, strict=True)]
            above = [max(0.0, hi - v) for v, hi in zip(y, high, strict=True)]
            axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=0.9)
        is_sparse = len(x) <= 60
        axes.plot(
            x,
            y,
            linestyle="none",
            marker=palette.MARKERS[palette.marker_index(index)],
            markersize=4 if is_sparse else 2.5,
            color=colour,
            markeredgewidth=0,
            alpha=1.0 if is_sparse else 0.55,
        )
    else:
        if band:
            axes.fill_between(x, low, high, color=colour, alpha=palette.BAND, linewidth=0)
        if style == "band":
            return
        dashes = {"linestyle": palette.DASHES} if style == "dashed" else {}
        is_fan = any(other.style == "band" for other in plot.series)
        marker = "o" if len(x) <= 30 and not dashes and not is_fan else None
        axes.plot(x, y, color=colour, marker=marker, markersize=3.5, markeredgewidth=0, **dashes)


def _annotate_points(axes: Any, plot: Plot) -> None:
    """Write the label of each point beside it, shifted vertically until it overlaps no other label."""
    occupied: list[tuple[float, float, float]] = []  # left, bottom and width in points
    for across, up, label in (
        (a, u, n) for line in plot.series for a, u, n in zip(line.x, _with_nan(line.y), line.labels, strict=False)
    ):
        if not math.isfinite(up):
            continue
        left, bottom = (v * 72 / axes.figure.dpi for v in axes.transData.transform((float(across), up)))
        width = 5.0 * len(label)
        for shift in (4.0, *(sign * step for step in range(12, 200, 9) for sign in (-1, 1))):
            low = bottom + shift
            if not any(abs(low - b) < 9 and left < le + w and le < left + width for le, b, w in occupied):
                break
        occupied.append((left, low, width))
        axes.annotate(
            html_text.clean(label), (across, up), xytext=(4, low - bottom), textcoords="offset points", fontsize=8
        )


def _wrapped(label: str, width: int) -> str:
    """The label of an axis in up to three lines: a longer one would be cut off."""
    return textwrap.fill(html_text.clean(label), width, max_lines=3, placeholder=" …")


def _draw_axes(axes: Any, plot: Plot) -> None:
    if plot.log_x and any(v > 0 for line in plot.series for v in line.x):
        axes.set_xscale("log")
        _format_log_axis(axes.xaxis)
    if plot.log_y and any(v is not None and v > 0 for line in plot.series for v in line.y):
        axes.set_yscale("log")
        _format_log_axis(axes.yaxis)
    if plot.diagonal:
        low = max(axes.get_xlim()[0], axes.get_ylim()[0])
        high = min(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=palette.QUIET, linewidth=0.9, linestyle="--", zorder=0)
    axes.set_xlabel(_wrapped(plot.x, MAX_X_LABEL))
    axes.set_ylabel(_wrapped(plot.y, MAX_Y_LABEL))


def _format_log_axis(axis: Any) -> None:
    """Tick labels at powers of ten; at a few values in between if the axis contains no power of ten."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    axis.set_major_formatter(lambda value, _: _log_tick(value))
    axis.set_minor_formatter(NullFormatter())
    low, high = axis.get_view_interval()
    if math.ceil(math.log10(low)) > math.floor(math.log10(high)):
        axis.set_major_locator(MaxNLocator(3))


def _log_tick(value: float) -> str:
    """Tick label of a logarithmic axis: 0.01, 100, 10⁶."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if -4 < exponent < 4 or not math.isclose(value, 10.0**exponent):
        return f"{value:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _with_nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if v is None else float(v) for v in values]


_TAG = re.compile(r"<[^<>]+>")  # matplotlib escapes < and > in text of users, so every tag is matplotlib's
_LONG = re.compile(r"(\d+\.\d\d)\d+")
_NAMED = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|PathCollection|LineCollection'
    r'|FillBetweenPolyCollection)_\d+"'
)
_FONT = re.compile(r"font: ([^;'\"]*?px) [^;\"]*")


def _inline_svg(source: str, title: str) -> str:
    """The `<svg>` element alone, with two decimals and the colours and font of the page."""
    start = source.index("<svg")
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", source[start:], flags=re.DOTALL
    )
    body = re.sub(r">\s+<", "><", _TAG.sub(lambda match: _clean_tag(match.group()), body))
    return body.replace("<svg", f'<svg role="img" aria-label="{html_text.escape(title)}"', 1).strip()


def _clean_tag(tag: str) -> str:
    tag = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", tag).replace("xlink:href", "href")
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:width|height)="[^"]*"', "", tag)
    tag = _FONT.sub(r"font: \1 var(--sans, sans-serif)", _NAMED.sub("", tag))
    tag = re.sub(r"\s+", " ", _LONG.sub(r"\1", tag))
    for marker, colour in palette.CSS.items():
        tag = tag.replace(marker, colour)
    return tag
