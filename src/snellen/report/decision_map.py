"""A `DecisionMap` as HTML: the colours as one PNG, below axes, lines and samples in SVG, and a legend."""

from __future__ import annotations

import base64
import io
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from snellen.core.views import DecisionMap, MapLines, MapPoints
from snellen.report import palette
from snellen.report.html_text import clean, escape, escape_name

WIDTH = 420  # units of the drawing, of which 12 are the height of its text
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 8, 42
BAR = 84  # width of a colour bar with its labels
HEIGHT, MAX_HEIGHT = 270, 380  # of the axes, where they have different scales, and at most
MAX_KEYS = 12  # classes in the legend
MAX_DIGITS = 1e5  # ratio of the values and the step of an axis, beyond which labels show differences
CHARACTER = 7.2  # width of a character of a name, about
RADIUS, LARGE_RADIUS, FEW = 3.2, 5.0, 60  # of markers, and of at most so many
WEAKEST, STRONGEST = 0.1, 0.55  # opacity of a class where it has the least and the highest probability
DARKEST = 0.2  # of the colours of a surface, so that black contour lines remain visible
MANY = 30  # unit lines from which each is fainter
BINS = 24  # colours of samples on a surface

_LINE_STYLES = {
    "boundary": 'stroke-width="1.7"',
    "distance": 'stroke-width="1.2"',
    "unit": 'stroke-width="0.9" stroke-dasharray="4 3" opacity="0.75"',
}
_MANY_UNITS = 'stroke-width="0.6" opacity="0.3"'
_HALO = 'stroke="#fff" stroke-width="2.6"'  # of samples on a surface: a white and a black line, seen on any colour
_OUTLINE = 'stroke="#000" stroke-width="0.9"'
_CONTOUR = 'stroke="#000" stroke-width="0.8" opacity="0.55"'


class _Frame(NamedTuple):
    """Place of the axes in the drawing, and their ends."""

    view: DecisionMap
    width: float
    height: float

    @property
    def radius(self) -> float:
        """Of the markers of samples: larger where there are few."""
        return LARGE_RADIUS if sum(len(points.x) for points in self.view.points) <= FEW else RADIUS

    def across(self, x: float) -> float:
        return LEFT + self.width * _position(x, self.view.x_range, self.view.log_x)

    def up(self, y: float) -> float:
        return TOP + self.height * (1 - _position(y, self.view.y_range, self.view.log_y))


def decision_map_html(view: DecisionMap) -> str:
    """A decision map with its legend, without scripts and ids."""
    return decision_map_svg(view) + legend_html([view])


def decision_map_svg(view: DecisionMap) -> str:
    """A decision map as one `<svg>` element."""
    frame = _frame(view)
    total = TOP + frame.height + BOTTOM
    image = f"{_clip(frame)}{_image(view, frame)}</svg>"
    return (
        f'<svg viewBox="0 0 {WIDTH} {total:.0f}" role="img" aria-label="{escape(_label(view))}" font-size="12" '
        f'font-family="var(--sans, sans-serif)" fill="none" stroke="none">{image}{_axes(frame)}{_lines(frame)}'
        f"{_samples(frame)}{_colour_bar(frame) if view.levels else ''}</svg>"
    )


def _clip(frame: _Frame) -> str:
    """Start of an `<svg>` element that shows nothing beyond the axes; its style overrides that of the page."""
    width, height = f"{frame.width:.1f}", f"{frame.height:.1f}"
    style = f"width:{width}px;height:{height}px;max-width:none;overflow:hidden"
    return f'<svg x="{LEFT}" y="{TOP}" width="{width}" height="{height}" style="{style}">'


def _label(view: DecisionMap) -> str:
    what = f"classes {', '.join(map(clean, view.classes))}" if view.classes else clean(view.value_name)
    return f"{clean(view.title)}: {what}, over {clean(view.x)} and {clean(view.y)}"


def _frame(view: DecisionMap) -> _Frame:
    width = float(WIDTH - LEFT - (BAR if view.levels else RIGHT))
    if not view.equal:
        return _Frame(view, width, float(HEIGHT))
    ratio = (view.y_range[1] - view.y_range[0]) / (view.x_range[1] - view.x_range[0])
    width = min(width, MAX_HEIGHT / ratio)
    return _Frame(view, width, width * ratio)


def _position(value: float, ends: tuple[float, float], log: bool) -> float:
    """0 at the lower end of an axis, 1 at the upper."""
    if log:
        return math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return (value - ends[0]) / (ends[1] - ends[0])


# -- the image below --------------------------------------------------------------------------------------------------


def _image(view: DecisionMap, frame: _Frame) -> str:
    """The colours; the centres of the outermost pixels lie on the edges of the axes."""
    from PIL import Image

    pixels = _surface_pixels(view) if not view.classes else _class_pixels(view)
    rows, columns = pixels.shape[:2]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    cell = frame.width / (columns - 1), frame.height / (rows - 1)
    return (
        f'<image x="{-cell[0] / 2:.2f}" y="{-cell[1] / 2:.2f}" width="{frame.width + cell[0]:.2f}" '
        f'height="{frame.height + cell[1]:.2f}" preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    )


def _class_pixels(view: DecisionMap) -> np.ndarray:
    """(H, W, 4) uint8: the colour of the predicted class, opaque where it has a high probability."""
    predicted = view.values.long().numpy()
    colours = np.array([_rgb(palette.series_colour(k)) for k in range(len(view.classes))] or [(0, 0, 0)], np.uint8)
    strength = np.full(predicted.shape, 0.7) if view.strength is None else view.strength.double().numpy().clip(0, 1)
    # 32 steps of opacity compress to a third of 256
    alpha = np.round((WEAKEST + (STRONGEST - WEAKEST) * strength) * 64) / 64
    alpha = np.where(predicted < 0, 0, alpha)
    return np.dstack([colours[predicted.clip(0)], np.round(255 * alpha).astype(np.uint8)])


def _surface_pixels(view: DecisionMap) -> np.ndarray:
    """(H, W, 4) uint8: the colour of each number; transparent where there is none."""
    values = view.values.double().numpy()
    rgb = _colours(_scaled(np.nan_to_num(values), view.levels))
    return np.dstack([rgb, np.where(np.isfinite(values), 255, 0).astype(np.uint8)])


def _scaled(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Numbers to 0 … 1, evenly between the levels."""
    if len(levels) < 2:
        return np.full(values.shape, 0.5)
    scaled: np.ndarray = np.interp(values, levels, np.linspace(0, 1, len(levels)))
    return scaled


def _colours(scaled: np.ndarray) -> np.ndarray:
    """0 … 1 to (..., 3) uint8 of the colour map viridis, without its darkest part."""
    from snellen.report.plots import import_matplotlib

    import_matplotlib()
    from matplotlib import colormaps

    rgba: np.ndarray = colormaps["viridis"](DARKEST + (1 - DARKEST) * scaled, bytes=True)
    return rgba[..., :3]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


# -- axes -------------------------------------------------------------------------------------------------------------


def _axes(frame: _Frame) -> str:
    view, bottom, right = frame.view, TOP + frame.height, LEFT + frame.width
    parts = [
        f'<rect x="{LEFT}" y="{TOP}" width="{frame.width:.1f}" height="{frame.height:.1f}" stroke="currentColor" '
        'stroke-width="0.7"/>'
    ]
    ticks, texts = [], []
    x_ticks, x_base = _ticks(view.x_range, view.log_x, max(2, int(frame.width // 55)))
    y_ticks, y_base = _ticks(view.y_range, view.log_y, max(2, int(frame.height // 40)))
    for value, text in x_ticks:
        x = frame.across(value)
        ticks.append(f"M{x:.1f} {bottom:.1f}v4")
        texts.append(f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{text}</text>')
    for value, text in y_ticks:
        y = frame.up(value)
        ticks.append(f"M{LEFT} {y:.1f}h-4")
        texts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    x_name = escape(_shortened(view.x, int(frame.width / CHARACTER) - len(x_base)) + x_base)
    y_name = escape(_shortened(view.y, int(frame.height / CHARACTER) - len(y_base)) + y_base)
    texts.append(f'<text x="{(LEFT + right) / 2:.1f}" y="{bottom + 34:.1f}" text-anchor="middle">{x_name}</text>')
    middle = TOP + frame.height / 2
    texts.append(f'<text x="{(LEFT + right) / 2:.1f}" y="{bottom + 34:.1f}" text-anchor="middle">{x_name}</text>')
    texts.append(f'<text transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">{y_name}</text>')
    parts.append(f'<path d="{"".join(ticks)}" stroke="currentColor" stroke-width="0.7"/>')
    return "".join(parts) + f'<g fill="currentColor">{"".join(texts)}</g>'


def _shortened(name: str, length: int) -> str:
    name = clean(name)
    return name if len(name) <= max(4, length) else name[: max(3, length - 1)].rstrip() + "…"


def _ticks(ends: tuple[float, float], log: bool, limit: int) -> tuple[list[tuple[float, str]], str]:
    """Round values on an axis, at most about so many, with their text; and what is subtracted in that text, or ""."""
    low, high = ends
    if log:
        first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
        every = max(1, math.ceil((last - first + 1) / limit))
        return [(10.0**k, _text(10.0**k)) for k in range(first, last + 1, every)], ""
    raw = (high - low) / limit
    step = 10.0 ** math.floor(math.log10(raw))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= raw)
    numbers = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    largest = max(abs(low), abs(high))
    base, suffix = 0.0, ""
    if largest / step > MAX_DIGITS and numbers:  # the values differ in digits that no label has space for
        base = numbers[0]
        suffix = f" − {base:.15g}" if base > 0 else f" + {-base:.15g}"
        largest = high - low
    if largest >= 1e5 or largest < 1e-3:
        digits = max(3, math.ceil(math.log10(largest / step)) + 1)
        return [(v, _text(v - base, digits)) for v in numbers], suffix
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(v, f"{v - base:.{places}f}".replace("-", "−")) for v in numbers], suffix


def _text(value: float, digits: int = 6) -> str:
    """A number in few characters."""
    return f"{value:.{min(digits, 9)}g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e−").replace("-", "−")


def _level_text(value: float) -> str:
    """A number with three significant digits, without an exponent below 100,000."""
    return f"{value:.0f}".replace("-", "−") if 1e3 <= abs(value) < 1e5 else _text(value, 3)


def _colour_bar(frame: _Frame) -> str:
    view = frame.view
    x, width, count = LEFT + frame.width + 12, 12.0, len(view.levels)
    steps = 48
    colours = _colours(np.linspace(0, 1, steps) if count > 1 else np.full(steps, 0.5))
    high = frame.height / steps
    bars = "".join(
        f'<rect x="{x:.1f}" y="{TOP + frame.height - (k + 1) * high:.2f}" width="{width}" height="{high + 0.5:.2f}" '
        f'fill="#{bytes(colour).hex()}"/>'
        for k, colour in enumerate(colours)
    )
    labels, longest = [], 0
    every = max(1, math.ceil(count / (frame.height / 16)))
    for k in range(0, count, every):
        y = TOP + frame.height * (1 - (k / (count - 1) if count > 1 else 0.5))
        text = _level_text(view.levels[k])
        longest = max(longest, len(text))
        labels.append(f'<text x="{x + width + 4:.1f}" y="{y + 4:.1f}">{text}</text>')
    middle = TOP + frame.height / 2
    name = escape(_shortened(view.value_name, int(frame.height / CHARACTER)))
    title = min(WIDTH - 4, x + width + 4 + CHARACTER * longest + 14)
    labels.append(
        f'<text transform="translate({title:.1f} {middle:.1f}) rotate(-90)" text-anchor="middle">{name}</text>'
    )
    return bars + f'<g fill="currentColor">{"".join(labels)}</g>'


# -- lines and samples ------------------------------------------------------------------------------------------------


def _lines(frame: _Frame) -> str:
    parts = []
    for line in frame.view.lines:
        d = "".join(
            "M" + "L".join(f"{frame.across(x) - LEFT:.1f} {frame.up(y) - TOP:.1f}" for x, y in path)
            for path in line.paths
        )
        style = _line_style(frame.view, line)
        stroke = "" if "stroke=" in style else 'stroke="currentColor" '
        parts.append(f'<path d="{d}" {stroke}{style}/>')
    return f"{_clip(frame)}{''.join(parts)}</svg>"


def _line_style(view: DecisionMap, line: MapLines) -> str:
    if line.kind == "boundary" and view.levels:
        return _CONTOUR
    return _MANY_UNITS if line.kind == "unit" and len(line.paths) > MANY else _LINE_STYLES[line.kind]


def _samples(frame: _Frame) -> str:
    return "".join(
        _class_samples(frame, points) if frame.view.classes else _surface_samples(frame, points)
        for points in frame.view.points
    )


def _class_samples(frame: _Frame, points: MapPoints) -> str:
    """Samples in the colour and with the marker of their class; rings around misclassified ones."""
    groups: defaultdict[int, list[str]] = defaultdict(list)
    rings = []
    for k, (x, y, label) in enumerate(zip(points.x, points.y, points.classes, strict=True)):
        start = f"M{frame.across(x):.1f} {frame.up(y):.1f}"
        groups[label].append(start + marker(label, frame.radius))
        if points.wrong and points.wrong[k]:
            rings.append(start + marker(0, 2.1 * frame.radius))
    parts = [f'<path d="{"".join(d)}" {_fill(label, points.filled)}/>' for label, d in sorted(groups.items())]
    if rings:
        parts.append(f'<path d="{"".join(rings)}" stroke="currentColor" stroke-width="1.3"/>')
    return "".join(parts)


def _fill(label: int, filled: bool) -> str:
    colour = palette.CSS[palette.series_colour(label)]
    if filled:
        return f'style="fill:{colour};stroke:var(--paper,#fff)" stroke-width="0.8"'
    return f'style="fill:var(--paper,#fff);stroke:{colour}" stroke-width="1.5"'


def _surface_samples(frame: _Frame, points: MapPoints) -> str:
    """Samples in the colour of their true number."""
    scaled = _scaled(np.asarray(points.values, np.float64), frame.view.levels)
    bins = np.round(scaled * BINS).astype(int)
    colours = _colours(np.arange(BINS + 1) / BINS)
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for x, y, index in zip(points.x, points.y, bins.tolist(), strict=True):
        groups[index].append(f"M{frame.across(x):.1f} {frame.up(y):.1f}" + marker(int(not points.filled), frame.radius))
    halo = "".join("".join(d) for d in groups.values())
    return f'<path d="{halo}" {_HALO}/>' + "".join(
        f'<path d="{"".join(d)}" fill="#{bytes(colours[index]).hex()}" {_OUTLINE}/>'
        for index, d in sorted(groups.items())
    )


def _polygon(*corners: tuple[float, float]) -> Callable[[float], str]:
    """A closed path relative to the centre, for a radius."""

    def path(radius: float) -> str:
        (x, y), *others = corners
        moves = [f"m{x * radius:.1f} {y * radius:.1f}"]
        for a, b in others:
            moves.append(f"l{(a - x) * radius:.1f} {(b - y) * radius:.1f}")
            x, y = a, b
        return "".join(moves) + "z"

    return path


def _circle(radius: float) -> str:
    arc = f"a{radius:.1f} {radius:.1f} 0 1 0 "
    return f"m{-radius:.1f} 0{arc}{2 * radius:.1f} 0{arc}{-2 * radius:.1f} 0"


_MARKERS: tuple[Callable[[float], str], ...] = (
    _circle,
    _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    _polygon((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    _polygon((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    _polygon((0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
    _polygon((-1.2, -0.5), (0, -1.3), (1.2, -0.5), (0.8, 1), (-0.8, 1)),
)


def marker(label: int, radius: float) -> str:
    """The marker of a class as a path relative to its centre: six shapes, then these with other colours."""
    return _MARKERS[(label + label // len(_MARKERS)) % len(_MARKERS)](radius)


# -- legend -----------------------------------------------------------------------------------------------------------


def legend_html(views: Sequence[DecisionMap]) -> str:
    """The legend of one or several maps: classes, splits, kinds of lines."""
    keys = dict.fromkeys(key for view in views for key in _keys(view))
    items = "".join(f"<li>{symbol}{escape_name(name)}</li>" for symbol, name in keys)
    return f'<ul class="legend">{items}</ul>'


def _keys(view: DecisionMap) -> list[tuple[str, str]]:
    """Symbol and name of each entry of the legend."""
    keys = [
        (_key(f'<path d="M7 7{marker(k, 4)}" {_fill(k, True)}/>'), name)
        for k, name in enumerate(view.classes[:MAX_KEYS])
    ]
    if len(view.classes) > MAX_KEYS:
        keys.append(("", f"and {len(view.classes) - MAX_KEYS} more classes"))
    for points in view.points if not view.classes else ():
        path, fill = f'<path d="M7 7{marker(int(not points.filled), 4)}"', bytes(_colours(np.array([0.7]))[0]).hex()
        keys.append((_key(f'{path} {_HALO}/>{path} fill="#{fill}" {_OUTLINE}/>'), points.name))
    for points in view.points if view.classes else ():
        shape = marker(0, 4)
        style = 'fill="currentColor"' if points.filled else 'style="fill:var(--paper,#fff)" stroke="currentColor"'
        keys.append((_key(f'<path d="M7 7{shape}" {style} stroke-width="1.5"/>'), points.name))
    if any(any(points.wrong) for points in view.points):
        keys.append((_key(f'<path d="M7 7{_circle(6)}" stroke="currentColor" stroke-width="1.3"/>'), "misclassified"))
    for line in view.lines:
        style = _line_style(view, line).replace("#000", "currentColor")
        style = style if "stroke=" in style else f'stroke="currentColor" {style}'
        keys.append((_key(f'<path d="M0 7H22" {style}/>', 22), line.name))
    return keys


def _key(body: str, width: int = 14) -> str:
    size = f'viewBox="0 0 {width} 14" width="{width}" height="14"'
    return f'<svg class="key" {size} aria-hidden="true" fill="none">{body}</svg>'
