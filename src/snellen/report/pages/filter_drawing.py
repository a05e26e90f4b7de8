"""Drawings of the page of `snellen filter`: input, kernel, result and the gradient's path, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import UsageError
from snellen.filters.correlation import Array, take
from snellen.filters.stages import FilterStage, format_value
from snellen.filters.windows import BORDERS, Axis
from snellen.report.filter_images import GreyScale, png_uri, to_pixels

MAX_SIDE = 200  # outputs on a side of the part of a result that the page computes
MAX_BYTES = 480_000  # of one channel, where not even one output fits the budget with all channels
MAX_SIGNAL = 240  # outputs of a signal in the page
MAX_NUMBERS = 20  # pixels on a side up to which their values are printed in them
MAX_BARS_NUMBERED = 40  # bars of a signal with numbers
MAX_PATHS = 400  # windows whose gradient path is drawn


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rectangle of pixels, from `x`, `y`; of an input it may begin beyond the border."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, kw_only=True)
class Interactive:
    """The part of a stage that the page computes.

    Args:
        crop: of the result. region: of the input with its border, all that the windows of the crop see.
        values: (C, region.h, region.w), the border applied.
        cell: width and height of a pixel in the drawing; a signal has high ones.
    """

    stage: FilterStage
    crop: Region
    region: Region
    values: NDArray[Any]
    cell: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether it is all of the result."""
        return (self.crop.w, self.crop.h) == (self.stage.x.outputs, self.stage.y.outputs)

    @property
    def signal(self) -> bool:
        """Whether it is a signal, drawn as bars."""
        return self.cell[1] > 1

    @property
    def framed(self) -> bool:
        """Whether the result is drawn in a frame of the size of the input."""
        return not self.signal and self.offset != (0, 0)

    @property
    def offset(self) -> tuple[int, int]:
        """Pixels from the corner of the drawing of the result to its first output.

        With stride 1 the result is drawn as large as the input, each output at the centre of its window.
        """
        x, y = self.stage.x, self.stage.y
        if x.stride > 1 or y.stride > 1:
            return 0, 0
        late = self.stage.plan is not None and self.stage.plan.convolve
        return (x.span // 2, y.span // 2) if late else ((x.span - 1) // 2, (y.span - 1) // 2)


def interactive(stage: FilterStage, place: tuple[int, int], budget: int, signal: bool) -> Interactive:
    """The part of a stage around `place` whose values fit `budget` bytes: all channels, or the first.

    Raises:
        UsageError: if one window does not fit.
    """
    source = (
        stage.source if stage.source.dtype in (np.uint8, np.uint16) else stage.source.astype(np.float64, copy=False)
    )
    size = source.dtype.itemsize * 4 / 3

    def bytes_of(side: int, channels: int) -> float:
        spans = [(min(axis.outputs, limit) - 1) * axis.stride + axis.span
                 for axis, limit in ((stage.x, side), (stage.y, side))]  # fmt: skip
        return float(spans[0] * spans[1] * channels * size)

    channels = len(source) if bytes_of(1, len(source)) <= budget else 1
    side = next((k for k in range(MAX_SIGNAL if signal else MAX_SIDE, 0, -1) if bytes_of(k, channels) <= budget), 1)
    if bytes_of(side, channels) > MAX_BYTES:
        raise UsageError(
            f"A window of {stage.x.span} × {stage.y.span} pixels does not fit in a page",
            "Use a smaller kernel or dilation, or --out FILE.npz.",
        )
    crop_x, w = _crop(stage.x, place[0], side)
    crop_y, h = _crop(stage.y, place[1], side)
    columns, rows = _positions(stage.x, crop_x, w), _positions(stage.y, crop_y, h)
    sources = [BORDERS[axis.border].index(positions, axis.inputs)
               for axis, positions in ((stage.x, columns), (stage.y, rows))]  # fmt: skip
    values = np.stack([take(image, sources[1], sources[0]) for image in source[:channels]])
    region = Region(x=int(columns[0]), y=int(rows[0]), w=len(columns), h=len(rows))
    high = max(3, region.w // 4) if signal else 1
    return Interactive(
        stage=stage, crop=Region(x=crop_x, y=crop_y, w=w, h=h), region=region, values=values, cell=(1, high)
    )  # fmt: skip


def _crop(axis: Axis, place: int, side: int) -> tuple[int, int]:
    """First and number of the outputs of an axis around `place`, at most `side`."""
    count = min(side, axis.outputs)
    return min(max(0, place - count // 2), axis.outputs - count), count


def _positions(axis: Axis, first: int, count: int) -> NDArray[np.int64]:
    start = first * axis.stride - axis.before
    return np.arange(start, start + (count - 1) * axis.stride + axis.span, dtype=np.int64)


def svg(width: float, height: float, body: str, attributes: str) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" {attributes}>{body}</svg>'


def rectangle(kind: str, x: float, y: float, w: float, h: float) -> str:
    """A rectangle with a halo below it, so that it is seen on any image."""
    place = f'x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"'
    return f'<rect class="halo {kind}-halo" {place}/><rect class="{kind}" {place}/>'


def _raster(values: NDArray[Any], scale: GreyScale, cell: tuple[int, int]) -> str:
    """(C, H, W) values as an image, with their numbers if they are few; those of a signal as bars from 0."""
    _, height, width = values.shape
    if cell[1] > 1:
        return _bars(values[0, 0], scale, cell)
    return (
        f'<image href="{png_uri(values, scale)}" width="{width * cell[0]}" height="{height * cell[1]}" '
        f'preserveAspectRatio="none"/>'
    )


def _bars(values: NDArray[Any], scale: GreyScale, cell: tuple[int, int]) -> str:
    """Bars from 0 on the range of `scale`, which contains 0; with their numbers if they are few."""
    extent = (scale.high - scale.low) or 1.0
    numbered = len(values) <= MAX_BARS_NUMBERED
    room = 0.75 if numbered else 0.05 * cell[1]  # above and below, for the numbers
    unit = (cell[1] - 2 * room) / extent
    zero = room + scale.high * unit
    body = f'<line class="zero" x1="0" x2="{len(values) * cell[0]}" y1="{zero:.4g}" y2="{zero:.4g}"/>'
    for x, value in enumerate(values.tolist()):
        top, height = zero - max(value, 0.0) * unit, abs(value) * unit
        body += f'<rect class="bar" x="{x + 0.1:g}" y="{top:.4g}" width="0.8" height="{height:.4g}"/>'
        if numbered:
            text = _short(value)
            size = min(0.42, 1.5 / max(2, len(text)))
            y = top - 0.35 if value >= 0 else top + height + 0.35
            body += f'<text x="{x + 0.5:g}" y="{y:.4g}" font-size="{size:.3g}">{text}</text>'
    return body


def _numbers(values: NDArray[Any], scale: GreyScale, cell: tuple[int, int], outside: NDArray[np.bool_] | None) -> str:
    """The numbers of a few pixels, black or white; in the text colour where the pixel is pale, `outside` the border."""
    if len(values) != 1 or max(values.shape) > MAX_NUMBERS or cell[1] > 1:
        return ""
    texts = [[_short(float(value)) for value in row] for row in values[0]]
    bright = to_pixels(values, scale) > 118  # grey on which black and white have the same contrast
    letters = max(2, *(len(text) for row in texts for text in row))
    size = min(0.42, 1.3 / letters)
    body = ""
    for (y, x), is_bright in np.ndenumerate(bright):
        colour = "#000" if is_bright else "#fff"
        fill = "" if outside is not None and outside[y, x] else f' style="fill:{colour}"'
        body += f'<text x="{x + 0.5:g}" y="{y + 0.5:g}" font-size="{size:.3g}"{fill}>{texts[y][x]}</text>'
    return body


def _short(value: float) -> str:
    whole = value == int(value) and abs(value) < 1e6
    return format_value(value if whole else float(f"{value:.{3 if 1e-3 <= abs(value) < 1e6 else 2}g}"))


def region_svg(part: Interactive, values: NDArray[Any], scale: GreyScale, place: tuple[int, int]) -> str:
    stage, region, (unit_x, unit_y) = part.stage, part.region, part.cell
    width, height = region.w * unit_x, region.h * unit_y
    left, top = max(0, -region.x) * unit_x, max(0, -region.y) * unit_y
    right = min(region.w, stage.x.inputs - region.x) * unit_x
    bottom = min(region.h, stage.y.inputs - region.y) * unit_y
    body = _raster(values, scale, part.cell)
    if (left, top, right, bottom) != (0, 0, width, height):
        inner = f"M{left:g} {top:g}V{bottom:g}H{right:g}V{top:g}Z"
        body += f'<path class="ring" fill-rule="evenodd" d="M0 0H{width:g}V{height:g}H0Z{inner}"/>'
        body += f'<path class="edge" d="{inner}"/>'
    rows, columns = np.arange(region.h) + region.y, np.arange(region.w) + region.x
    outside = ((rows < 0) | (rows >= stage.y.inputs))[:, None] | (columns < 0) | (columns >= stage.x.inputs)
    body += _numbers(values, scale, part.cell, outside)
    x = place[0] * stage.x.stride - stage.x.before - region.x
    y = place[1] * stage.y.stride - stage.y.before - region.y
    body += rectangle("window", x * unit_x, y * unit_y, stage.x.span * unit_x, stage.y.span * unit_y)
    return svg(width, height, body, 'role="img" aria-label="Input with the window of the output"')


def result_svg(part: Interactive, values: NDArray[Any], scale: GreyScale, place: tuple[int, int]) -> str:
    unit_x, unit_y = part.cell
    left, top = part.offset
    top = 0 if unit_y > 1 else top
    body = _raster(values, scale, part.cell) + _numbers(values, scale, part.cell, None)
    if left or top:
        body = f'<g transform="translate({left * unit_x} {top * unit_y})">{body}</g>'
    x, y = place[0] - part.crop.x + left, place[1] - part.crop.y + top
    body += rectangle("pixel", x * unit_x, y * unit_y, unit_x, unit_y)
    label = "Result. The arrow keys move the output whose arithmetic is shown."
    size = part.region if left or top else part.crop
    return svg(size.w * unit_x, size.h * unit_y, body, f'role="application" tabindex="0" aria-label="{label}"')


def kernel_svg(weights: Array) -> str:
    """Cells of a kernel, blue above 0 and orange below; with numbers if they are few."""
    rows, columns = weights.shape
    if max(rows, columns) > MAX_NUMBERS:
        body = f'<image href="{kernel_uri(weights)}" width="{columns}" height="{rows}" preserveAspectRatio="none"/>'
        return svg(columns, rows, body, 'role="img" aria-label="Kernel: 0 is mid-grey"')
    largest = float(np.abs(weights).max()) or 1.0
    cells = []
    numbered = max(rows, columns) <= 9
    for (y, x), weight in np.ndenumerate(weights):
        colour = "--tint-ok" if weight > 0 else "--tint-bad"
        strength = 60 * abs(float(weight)) / largest
        fill = f"color-mix(in srgb, var({colour}) {strength:.3g}%, var(--paper))"
        cells.append(f'<rect class="cell" x="{x}" y="{y}" width="1" height="1" style="fill:{fill}"/>')
        if numbered:
            text = _short(float(weight))
            size = min(0.4, 1.5 / max(2, len(text)))
            cells.append(f'<text x="{x + 0.5}" y="{y + 0.5}" font-size="{size:.3g}">{text}</text>')
    label = "; ".join(" ".join(_short(float(weight)) for weight in row) for row in weights) if numbered else ""
    return svg(columns, rows, "".join(cells), f'role="img" aria-label="Kernel {label}"')


def kernel_uri(kernel: Array) -> str:
    largest = float(np.abs(kernel).max()) or 1.0
    return png_uri(kernel[None], GreyScale(low=-largest, high=largest))


def draws_paths(part: Interactive) -> bool:
    """Whether lines show the path of the gradient: of few windows, which do not overlap, or of maxima."""
    apart = part.stage.x.stride >= part.stage.x.taps and part.stage.y.stride >= part.stage.y.taps
    return part.crop.w * part.crop.h <= MAX_PATHS and (apart or part.stage.kind == "max")


def gradient_svg(part: Interactive, place: tuple[int, int]) -> str:
    """The gradient of the sum of the outputs over the input region, and lines from each window to what it reaches."""
    stage, crop, region, (unit_x, unit_y) = part.stage, part.crop, part.region, part.cell
    gradient = stage.gradient()
    assert gradient is not None
    shown = gradient[:1, region.y : region.y + region.h, region.x : region.x + region.w]
    scale = GreyScale(low=0.0, high=max(1.0, float(shown.max())))
    body = _raster(shown, scale, part.cell) + _numbers(shown, scale, part.cell, None)
    if draws_paths(part):
        for y, x in np.ndindex(crop.h, crop.w):
            terms = stage.terms(0, crop.x + x, crop.y + y)
            middle_x = (terms[0].x + terms[-1].x + 1) / 2 - region.x
            middle_y = (terms[0].y + terms[-1].y + 1) / 2 - region.y
            for term in terms:
                if term.weight:
                    to_x, to_y = term.x + 0.5 - region.x, term.y + 0.5 - region.y
                    end_x, end_y = to_x + 0.35 * (middle_x - to_x), to_y + 0.35 * (middle_y - to_y)
                    body += f'<path class="path" d="M{middle_x * unit_x:g} {middle_y * unit_y:g}' \
                            f'L{end_x * unit_x:g} {end_y * unit_y:g}"/>'  # fmt: skip
                    body += f'<circle class="tip" cx="{end_x * unit_x:g}" cy="{end_y * unit_y:g}" r="0.06"/>'
    x, y = place[0] * stage.x.stride - region.x, place[1] * stage.y.stride - region.y
    body += rectangle("window", x * unit_x, y * unit_y, stage.x.span * unit_x, stage.y.span * unit_y)
    return svg(region.w * unit_x, region.h * unit_y, body, 'role="img" aria-label="Gradient with respect to the input"')
