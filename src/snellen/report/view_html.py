"""Views as HTML: tables and matrices as tables, plots as SVG, images as embedded PNG, motions and sounds as players."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snellen.core.views import (
    AnnotatedImage,
    Board,
    Cell,
    DecisionMap,
    ImageGrid,
    Matrix,
    Motion,
    Plot,
    Series,
    Sound,
    Table,
    Text,
    View,
)
from snellen.report import palette
from snellen.report.board import board_svg
from snellen.report.confusion_matrix import confusion_matrix_html
from snellen.report.decision_map import decision_map_html
from snellen.report.html_text import clean, escape, escape_name, escape_nowrap, format_number, scrollable
from snellen.report.motion import motion_html
from snellen.report.overlay import class_colour, draw_marks
from snellen.report.plots import plot_svg
from snellen.report.sound import sound_html

MAX_SIDE = 160  # pixels of an image in the page: 24 images of noise stay below 3 MB
STRIP = 2.5  # width of an image in heights from which it takes the place of two
STACKED, STACKED_SIDE = 4, 640  # such a width from which panels lie below one another, and its pixels
SMALL = 64  # pixels; images up to this size are enlarged by nearest neighbour
MAX_CHANNELS = 6  # of an image that is neither grey nor RGB: its channels are drawn side by side

if TYPE_CHECKING:
    from PIL import Image

_NUMERIC = re.compile(r"[-−+]?\d[\d,.]*( ± [\d.,]+)?( ?%)?( \w{1,5})?")


def html(view: View) -> str:
    """A view as HTML. All text is escaped."""
    if isinstance(view, Text):
        return _text(view)
    if isinstance(view, Table):
        return _table(view)
    if isinstance(view, Plot):
        return _plot(view)
    if isinstance(view, Matrix):
        return figure_html("table", view.title, confusion_matrix_html(view), view.caption)
    if isinstance(view, Board):
        return figure_html("plot board", view.title, board_svg(view), view.caption)
    if isinstance(view, DecisionMap):
        return figure_html("plot map", view.title, decision_map_html(view), view.caption)
    if isinstance(view, Motion):
        return figure_html("motion", view.title, motion_html(view), view.caption)
    if isinstance(view, Sound):
        return figure_html("plot", view.title, sound_html(view), view.caption)
    return _image_grid(view)


def figure_html(kind: str, title: str, body: str, caption: str) -> str:
    """A `<figure>` with its title above and its caption below."""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    tail = f"<figcaption>{escape_nowrap(caption)}</figcaption>" if caption else ""
    return f'<figure class="{kind}">{head}{body}{tail}</figure>'


def _text(view: Text) -> str:
    level = f" {view.level}" if view.level in ("good", "warning") else ""
    lines = "".join(f"<p>{escape_nowrap(line)}</p>" for line in view.lines)
    head = f"<h3>{escape(view.title)}</h3>" if view.title else ""
    return f'<div class="note{level}">{head}{lines}</div>'


def _table(view: Table) -> str:
    # The first column holds names, although the name of a class may be a number.
    numeric_columns = [_is_numeric([row[k] for row in view.rows], names=not k) for k in range(len(view.columns))]
    align = [' class="n"' if numeric else "" for numeric in numeric_columns]
    head = "".join(f"<th{a}>{escape_name(c)}</th>" for a, c in zip(align, view.columns, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{a}>{escape_name(format_number(cell))}</td>" for a, cell in zip(align, row, strict=True))
        + "</tr>"
        for row in view.rows
    )
    body = scrollable(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return figure_html("table", view.title, body, view.caption)


def _is_numeric(cells: Sequence[Cell], names: bool) -> bool:
    """Whether a column holds numbers only, also as text such as "97.1 ± 1.2 %"."""
    present = [cell for cell in cells if cell is not None]
    return bool(present) and all(
        isinstance(cell, int | float) or (not names and _NUMERIC.fullmatch(cell) is not None) for cell in present
    )


def _plot(view: Plot) -> str:
    legend = ""
    if len(view.series) > 1:
        keys = "".join(f"<li>{_key(view, line, k)}{escape_name(line.name)}</li>" for k, line in enumerate(view.series))
        legend = f'<ul class="legend">{keys}</ul>'
    return figure_html("plot", view.title, plot_svg(view) + legend, view.caption)


def _key(view: Plot, line: Series, position: int) -> str:
    """The symbol of a series in the legend: a short line, the marker of its points, or a square for bars and bands."""
    index = _colour_index(line, position)
    style = line.style or view.style
    look = f"background:{palette.CSS[palette.series_colour(index)]}"
    if style == "points":
        marker = palette.marker_index(index)
        kind = f"marker{marker}" if marker else ""
    elif style == "band":  # as dark as the bands of this colour up to this one
        kind = "band"
        below = sum(
            (other.style or view.style) == "band" and _colour_index(other, k) == index
            for k, other in enumerate(view.series[: position + 1])
        )
        look += f";opacity:{palette.band_opacity(below):.2f}"
    else:
        kind = {"bars": "marker2", "dashed": "line dashed"}.get(style, "line")
    shape = f' class="{kind}"' if kind else ""
    return f'<i{shape} style="{look}"></i>'


def _colour_index(line: Series, position: int) -> int:
    return position if line.colour_index is None else line.colour_index


def _image_grid(view: ImageGrid) -> str:
    items = "".join(_grid_item(item) for item in view.items)
    colours = [(text, "#{:02x}{:02x}{:02x}".format(*class_colour(index))) for text, index in view.legend]
    keys = "".join(f'<li><i style="background:{colour}"></i>{escape_name(word)}</li>' for word, colour in colours)
    legend = f'<ul class="legend">{keys}</ul>' if keys else ""
    kind = "grid compact" if view.compact else "grid"
    return figure_html("images", view.title, f'{legend}<ul class="{kind}">{items}</ul>', view.caption)


def _grid_item(item: AnnotatedImage) -> str:
    first, *others = [clean(line) for line in item.caption.split("\n")]
    mark = {True: " right", False: " wrong", None: ""}[item.good]
    strip = not item.panels and is_strip(item.values)
    small = ' class="small"' if (item.values.shape[-2] if strip else max(item.values.shape[-2:])) <= SMALL else ""
    caption = f"<b>{escape_name(first)}</b>" + "".join(f"<span>{escape_name(line)}</span>" for line in others)
    stacked = bool(item.panels) and is_strip(item.values, STACKED)
    images = "".join(
        f'<img{small} src="data:image/png;base64,{_png_base64(part, stacked)}" alt="{escape(clean(part.caption))}">'
        for part in (item, *item.panels)
    )
    wide = " wide" if item.panels else " strip" if strip else ""
    wide += " strips" if stacked else ""
    return f'<li class="image{mark}{wide}">{images}<p>{caption}</p></li>'


def is_strip(values: Tensor, aspect: float = STRIP) -> bool:
    """Whether an image (C, H, W) is wide, such as the frames of a clip side by side, or the steps of a sequence."""
    height, width = values.shape[-2:]
    return width >= aspect * height


def to_pil_image(values: Tensor, low: float, high: float) -> Image.Image:
    """(C, H, W) values as an image, `low` black and `high` white; channels other than RGB side by side in grey."""
    from PIL import Image

    pixels = to_uint8(values, low, high)  # (C, H, W) uint8
    if pixels.shape[0] not in (1, 3):
        pixels = torch.cat(list(pixels[:MAX_CHANNELS]), dim=1)[None]  # (1, H, C * W)
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _png_base64(item: AnnotatedImage, stacked: bool = False) -> str:
    """Base64 PNG of at most MAX_SIDE pixels a side; twice that with an overlay, STACKED_SIDE below other panels."""
    from PIL import Image

    image = to_pil_image(item.values, item.low, item.high)
    has_overlay = bool(item.marks) or item.classes is not None or bool(item.panels)
    side = 2 * MAX_SIDE if has_overlay or is_strip(item.values) else MAX_SIDE
    side = STACKED_SIDE if stacked else side
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    elif item.marks:  # marks on a small image are drawn at a higher resolution
        times = side // max(image.size)
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    if has_overlay:
        image = draw_marks(image, image.width / item.values.shape[-1], item.marks, item.classes)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def to_uint8(values: Tensor, low: float, high: float) -> Tensor:
    """Scale values from `low` … `high` to 0 … 255; NaN and -inf become 0, inf becomes 255.

    Args:
        values: (C, H, W) of any dtype.
    Returns:
        (C, H, W) uint8.
    """
    value_range = high - low if high > low else 1.0
    scaled = (values.detach().cpu().double() - low) / value_range
    return (scaled.nan_to_num(0.0, 1.0, 0.0).clamp(0, 1) * 255).round().to(torch.uint8)
