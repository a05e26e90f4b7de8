"""Page of `snellen filter`: image, kernel, result, and the arithmetic of any output pixel."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import counted
from snellen.filters.correlation import Array
from snellen.filters.stages import FilterStage, Term, format_value, sum_of
from snellen.filters.windows import BORDERS
from snellen.report.filter_images import GreyScale, overview_uri, pixels_uri, reduce_peaks, to_pixels
from snellen.report.html_text import escape
from snellen.report.pages.filter_drawing import (
    Interactive,
    Region,
    draws_paths,
    gradient_svg,
    interactive,
    kernel_svg,
    kernel_uri,
    rectangle,
    region_svg,
    result_svg,
    svg,
)
from snellen.report.pages.layout import Section, join_sections, page

BUDGET = 420_000  # bytes of the values of a stage in the page
MAPS = 16  # of a bank that are shown in full size
OVERVIEW_SIDE, MAP_SIDE = 560, 176  # pixels of the images of a whole image, and of the maps of a bank
TABLE_TAPS = (5, 7)  # columns and rows of a window up to which every product has its place; of others the largest
LISTED = 12
GABOR_SIZE = "Gabor kernels are not normalised: of an 8-bit image a response may reach several thousand."


@dataclass(frozen=True, kw_only=True)
class ResponseMap:
    """Map of a kernel of a bank: `image` (H, W) uint8; `rms` is the root mean square of the responses."""

    name: str
    kernel: Array
    image: NDArray[np.uint8]
    rms: float


def filter_page(
    name: str,
    recognised_as: Sequence[str],
    stages: Sequence[FilterStage],
    scales: Sequence[GreyScale],
    places: Sequence[tuple[int, int]],
    signal: bool,
) -> str:
    """The page of a filter, a pooling, or both.

    Args:
        scales: of the input and of the result of each stage.
        places: the output of each stage whose arithmetic is shown first.
    """
    parts = [
        interactive(stage, place, BUDGET // len(stages), signal) for stage, place in zip(stages, places, strict=True)
    ]
    sections = []
    for k, part in enumerate(parts):
        body = _stage_html(part, scales[k], scales[k + 1], places[k], signal)
        if not part.whole:
            body += _overview(part, scales[k], scales[k + 1])
        sections.append(Section(title=_title(stages[k]), body=body))
    header = f"<h1>{escape(' → '.join(stage.title for stage in stages))}</h1>"
    header += f'<p class="verdict">{escape("; ".join(recognised_as))}</p>'
    return _page(name, header, sections, parts, places)


def bank_page(
    name: str,
    recognised_as: Sequence[str],
    title: str,
    maps: Sequence[ResponseMap],
    strongest: FilterStage,
    scales: Sequence[GreyScale],
    place: tuple[int, int],
) -> str:
    """The page of a bank: the map of every kernel, and the arithmetic of the one that responds most at `place`."""
    part = interactive(strongest, place, BUDGET // 2, False)
    items = "".join(
        f'<li><div class="both"><img src="{kernel_uri(item.kernel)}" alt="kernel {escape(item.name)}">'
        f'<img src="{pixels_uri(item.image, lossless=len(maps) <= 8)}" alt="map of {escape(item.name)}"></div>'
        f"<p>{escape(item.name)}<br>root mean square {format_value(float(f'{item.rms:.4g}'))}</p></li>"
        for item in maps
    )
    height, width = strongest.result.shape[1:]
    reduced = maps[0].image.shape != (height, width)
    lead = "Kernel and map of each; 0 is mid-grey, each map has its own range."
    lead += " A pixel of a map is the response of largest magnitude in its square." if reduced else ""
    lead += f" {GABOR_SIZE}" if title.startswith("gabor") else ""
    body = _stage_html(part, scales[0], scales[1], place, False)
    first = Section(title=counted(len(maps), "map"), body=f'<ul class="maps">{items}</ul>', lead=lead)
    lead = f"Of all kernels it has the strongest response at {place[0]},{place[1]}."
    second = Section(title=strongest.title, body=body, lead=lead)
    header = f'<h1>{escape(title)}</h1><p class="verdict">{escape("; ".join(recognised_as))}</p>'
    return _page(name, header, [first, second], [part], [place])


def map_image(result: Array, scale: GreyScale, count: int) -> NDArray[np.uint8]:
    """(H, W) map of one of `count` kernels as an image (h, w) of at most MAP_SIDE pixels a side, less for many maps."""
    side = MAP_SIDE if count <= MAPS else max(MAP_SIDE // 4, round(MAP_SIDE * (MAPS / count) ** 0.5))
    return to_pixels(reduce_peaks(result, side)[None], scale)


def _page(
    name: str,
    header: str,
    sections: Sequence[Section],
    parts: Sequence[Interactive],
    places: Sequence[tuple[int, int]],
) -> str:
    folder = resources("snellen.report.pages")
    data = json.dumps([_data(part, place) for part, place in zip(parts, places, strict=True)], separators=(",", ":"))
    script = f"const STAGES = {data};\n{(folder / 'filter.js').read_text(encoding='utf-8')}".replace("</", "<\\/")
    style = f"<style>{(folder / 'filter.css').read_text(encoding='utf-8')}</style>"
    return page("snellen filter", PurePath(name).name, header, style + join_sections(sections), script)


def _data(part: Interactive, place: tuple[int, int]) -> dict[str, Any]:
    stage, values = part.stage, np.ascontiguousarray(part.values)
    weights = stage.weights()
    little = values.astype(values.dtype.newbyteorder("<"))
    return {
        "dtype": str(values.dtype),
        "values": base64.b64encode(little.tobytes()).decode(),
        "region": vars(part.region),
        "crop": vars(part.crop),
        "cell": part.cell,
        "signal": part.signal,
        "offset": part.offset,
        "at": place,
        "kind": stage.kind,
        "weights": None if weights is None else weights.ravel().tolist(),
        **{
            axis: {key: getattr(windows, key) for key in ("inputs", "taps", "stride", "dilation", "before")}
            for axis, windows in (("x", stage.x), ("y", stage.y))
        },
    }


def _title(stage: FilterStage) -> str:
    if stage.plan is None:
        return f"{stage.kind[0].upper()}{stage.kind[1:]} pooling"
    return "Convolution" if stage.plan.convolve else "Correlation"


def _lead(part: Interactive) -> str:
    stage, x = part.stage, part.stage.x
    lead = ""
    if stage.plan is not None:
        flip = "The kernel is flipped." if stage.plan.convolve else "The kernel is not flipped, as in deep learning."
        lead = f"Positions in H count from its centre. {flip}"
        if x.before or x.after or stage.y.before or stage.y.after:
            lead += f" Beyond the border: {x.border} ({BORDERS[x.border].summary})."
        if x.stride > 1 or x.dilation > 1:
            lead += f" Stride {x.stride}, dilation {x.dilation}."
        lead += f" {GABOR_SIZE}" if stage.title.startswith("gabor") else ""
    if len(part.values) < len(stage.source):
        lead += " Only the first channel fits in the page."
    return lead


def _stage_html(
    part: Interactive, scale: GreyScale, result_scale: GreyScale, place: tuple[int, int], signal: bool
) -> str:
    stage, crop = part.stage, part.crop
    result = stage.result[: len(part.values), crop.y : crop.y + crop.h, crop.x : crop.x + crop.w]
    source = part.values
    if signal:  # bars on one scale, from 0
        ends = [0.0, *(float(end) for values in (source, result) for end in (values.min(), values.max()))]
        scale = result_scale = GreyScale(low=min(ends), high=max(ends))
    if len(source) not in (1, 3):
        source, result = source[:1], result[:1]
    rows = "" if signal else f", rows {crop.y} to {crop.y + crop.h - 1}"
    whole = f" {'Positions' if signal else 'Columns'} {crop.x} to {crop.x + crop.w - 1}{rows}." * (not part.whole)
    frame = " The empty frame has no outputs: its pixels are the centre of no window drawn here." * part.framed
    greys = ["Bars from 0." if signal else f"{each}." for each in (scale, result_scale)]
    size = counted(stage.x.outputs, "value") if signal else f"{stage.x.outputs} × {stage.y.outputs}"
    keys = "Point at it, or focus it and press the arrow keys, Home or End."
    left = _figure("input", "Input", region_svg(part, source, scale, place), f"{greys[0]} {_border_words(part)}")
    right = _figure(
        "result", f"Result, {size}", result_svg(part, result, result_scale, place), f"{greys[1]}{whole}{frame} {keys}"
    )
    if stage.kernel is not None:
        words = "As applied: flipped." if stage.plan is not None and stage.plan.convolve else ""
        words += f" Sum {format_value(sum_of(stage.kernel))}."
        weights = stage.weights()
        assert weights is not None
        middle = _figure("kernel", f"Kernel {_shape(stage.kernel, signal)}", kernel_svg(weights), words.strip())
        trio = f'<div class="trio{" rows" if signal else ""}">{left}{middle}{right}</div>'
    else:
        words = "Gradient of the sum of the outputs."
        words += " Lines lead from the middle of each window to the values it reaches." if draws_paths(part) else ""
        middle = _figure("gradient", "The gradient's path", gradient_svg(part, place), words)
        trio = f'<div class="trio {"rows" if signal else "pair"}">{left}{right}{middle}</div>'
    sum_line, table = _arithmetic(stage, place, signal)
    lead = f'<p class="lead">{escape(_lead(part))}</p>' if _lead(part) else ""
    return (
        f'<p class="formula">{_formula(stage.formula)}</p>{lead}'
        f'<div class="stage">{trio}{_controls(part, place, signal)}'
        f'<p class="sum" aria-live="polite">{sum_line}</p><div class="arithmetic">{table}</div></div>'
    )


def _formula(text: str) -> str:
    return re.sub(r"_(\w)", r"<sub>\1</sub>", escape(text))


def _figure(kind: str, title: str, body: str, caption: str) -> str:
    return f'<figure class="{kind}"><h3>{escape(title)}</h3>{body}<figcaption>{escape(caption)}</figcaption></figure>'


def _shape(kernel: Array, signal: bool) -> str:
    return f"{kernel.shape[1]}" if signal else f"{kernel.shape[1]} × {kernel.shape[0]}"


def _border_words(part: Interactive) -> str:
    region, stage = part.region, part.stage
    beyond = region.x < 0 or region.y < 0
    beyond |= region.x + region.w > stage.x.inputs or region.y + region.h > stage.y.inputs
    return "Faded: beyond the border." if beyond else ""


def _controls(part: Interactive, place: tuple[int, int], signal: bool) -> str:
    crop = part.crop
    ranges = [("x", "Position x" if signal else "Column x", crop.x, crop.w, place[0])]
    ranges += [] if signal else [("y", "Row y", crop.y, crop.h, place[1])]
    labels = "".join(
        f'<label>{label} <input class="{axis}" type="range" min="{first}" max="{first + count - 1}" value="{at}">'
        f"<output>{at}</output></label>"
        for axis, label, first, count, at in ranges
    )
    channels = len(part.values)
    if channels > 1:
        names = ("red", "green", "blue") if channels == 3 else [f"channel {k + 1}" for k in range(channels)]
        options = "".join(f'<option value="{k}">{escape(name)}</option>' for k, name in enumerate(names))
        labels += f"<label>Channel <select>{options}</select></label>"
    return f'<div class="places still">{labels}</div>'


def _overview(part: Interactive, scale: GreyScale, result_scale: GreyScale) -> str:
    """The whole input and result, reduced if they are large, with the part that the page computes."""
    if part.signal:
        return '<p class="small">--at X chooses the part.</p>'
    stage, crop = part.stage, part.crop
    clipped_region = Region(
        x=max(0, part.region.x),
        y=max(0, part.region.y),
        w=min(part.region.x + part.region.w, stage.x.inputs) - max(0, part.region.x),
        h=min(part.region.y + part.region.h, stage.y.inputs) - max(0, part.region.y),
    )
    images = []
    for name, values, of, box in (
        ("Whole input", stage.source, scale, clipped_region),
        ("Whole result", stage.result, result_scale, crop),
    ):
        shown = values if len(values) in (1, 3) else values[:1]
        height, width = shown.shape[1:]
        body = f'<image href="{overview_uri(shown, of, OVERVIEW_SIDE)}" width="{width}" height="{height}"/>'
        body += rectangle("edge", box.x, box.y, box.w, box.h)
        drawing = svg(width, height, body, f'role="img" aria-label="{name}, with the part above marked"')
        reduced = ", reduced" if max(width, height) > OVERVIEW_SIDE else ""
        caption = (
            f"{width} × {height}{reduced}; the dashed part is the one above{', at full resolution' if reduced else ''}."
        )
        images.append(_figure("", name, drawing, caption))
    words = '<p class="small">--at X,Y chooses the part.</p>'
    return f'<h3 class="overview">The whole image</h3><div class="whole">{"".join(images)}</div>{words}'


def _arithmetic(stage: FilterStage, place: tuple[int, int], signal: bool) -> tuple[str, str]:
    """Sentence and HTML of the products of one output: what the script shows before anything is moved."""
    terms = stage.terms(0, *place)
    outside = sum(term.outside for term in terms)
    beyond = f", {outside} of them beyond the border" if outside else ""
    what = {"max": f"largest of {counted(len(terms), 'value')}", "mean": f"mean of {counted(len(terms), 'value')}"}
    total = float(stage.result[0, place[1], place[0]])
    count = what.get(stage.kind, f"sum of {len(terms)} products")
    sentence = f"Output {place[0] if signal else f'{place[0]},{place[1]}'} = {format_value(total)}: {count}{beyond}"
    if stage.x.taps <= TABLE_TAPS[0] and stage.y.taps <= TABLE_TAPS[1]:
        rows = [terms[k : k + stage.x.taps] for k in range(0, len(terms), stage.x.taps)]
        body = "".join(f"<tr>{''.join(_cell(stage, term, signal) for term in row)}</tr>" for row in rows)
        return escape(sentence), f'<table class="terms"><tbody>{body}</tbody></table>'
    key = (lambda term: -term.value) if stage.kind == "max" else (lambda term: -abs(term.product))
    shown = sorted(terms, key=key)[:LISTED]
    items = []
    for term in shown:
        factor = format_value(term.value) + (f" × {format_value(term.weight)}" if stage.kind != "max" else "")
        product = "" if stage.kind == "max" else f" = {format_value(term.product)}"
        items.append(f'<li class="{"out" if term.outside else ""}">{factor}{product} at {_place(term, signal)}</li>')
    if len(terms) > len(shown):
        rest = total - sum(term.product for term in shown)
        together = "" if stage.kind == "max" else f", together {format_value(rest)}"
        items.append(f"<li>{len(terms) - len(shown)} smaller ones{together}</li>")
    return escape(sentence), f'<ul class="listed">{"".join(items)}</ul>'


def _cell(stage: FilterStage, term: Term, signal: bool) -> str:
    chosen = stage.kind == "max" and term.weight == 1
    kind = "out" if term.outside else "chosen" if chosen else ""
    words = format_value(term.value)
    if not stage.kind:
        words += f" × {format_value(term.weight)}<b>= {format_value(term.product)}</b>"
    return f'<td class="{kind}">{words}<span>{_place(term, signal)}</span></td>'


def _place(term: Term, signal: bool) -> str:
    return (f"{term.x}" if signal else f"{term.x},{term.y}").replace("-", "−") + (" border" if term.outside else "")
