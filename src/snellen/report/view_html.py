"""A view to HTML: tables and matrices as tables, plots as SVG, pictures as PNG inside the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Matrix, Plot, Table, Text, View
from snellen.report import palette, plots
from snellen.report.html_text import clean, escaped, name, number, unbroken
from snellen.report.overlay import colour, overlaid

MOST_SIDE = 160  # pixels of a picture on the page: two dozen stay below 3 MB even when they are noise
SMALL = 64  # pixels; such pictures are enlarged in crisp squares, not smoothed
MOST_CHANNELS = 6  # drawn side by side where a picture is neither grey nor RGB
COUNTS_SHOWN = 25  # columns of a matrix beyond which its cells carry colour alone

if TYPE_CHECKING:
    from PIL import Image

_NUMERIC = re.compile(r"[-−+]?\d[\d,.]*( ± [\d.,]+)?( ?%)?( \w{1,5})?")


def html(view: View) -> str:
    """One figure, table or note as HTML. Every word in it is escaped."""
    if isinstance(view, Text):
        return _text(view)
    if isinstance(view, Table):
        return _table(view)
    if isinstance(view, Plot):
        return _plot(view)
    if isinstance(view, Matrix):
        return _matrix(view)
    return _pictures(view)


def figure(kind: str, title: str, body: str, caption: str) -> str:
    """A figure with its title above and its caption below."""
    head = f"<h3>{escaped(title)}</h3>" if title else ""
    tail = f"<figcaption>{unbroken(caption)}</figcaption>" if caption else ""
    return f'<figure class="{kind}">{head}{body}{tail}</figure>'


def _text(view: Text) -> str:
    level = f" {view.level}" if view.level in ("good", "warning") else ""
    lines = "".join(f"<p>{unbroken(line)}</p>" for line in view.lines)
    head = f"<h3>{escaped(view.title)}</h3>" if view.title else ""
    return f'<div class="note{level}">{head}{lines}</div>'


def _table(view: Table) -> str:
    # Names stand in the first column, though the name of a class may be a figure.
    right = [_is_numeric([row[place] for row in view.rows], names=not place) for place in range(len(view.columns))]
    align = [' class="n"' if numeric else "" for numeric in right]
    head = "".join(f"<th{a}>{name(c)}</th>" for a, c in zip(align, view.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{a}>{name(number(cell))}</td>" for a, cell in zip(align, row, strict=True)) + "</tr>"
        for row in view.rows
    )
    body = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return figure("table", view.title, body, view.caption)


def _is_numeric(cells: Sequence[Cell], names: bool) -> bool:
    """Whether a column holds figures alone, as numbers or as "97.1 ± 1.2 %"."""
    there = [cell for cell in cells if cell is not None]
    return bool(there) and all(
        isinstance(cell, int | float) or (not names and _NUMERIC.fullmatch(cell) is not None) for cell in there
    )


def _plot(view: Plot) -> str:
    legend = ""
    if len(view.series) > 1:
        keys = "".join(
            f'<li><i style="background:{palette.CSS[palette.series(place)]}"></i>{name(line.name)}</li>'
            for place, line in enumerate(view.series)
        )
        legend = f'<ul class="legend">{keys}</ul>'
    return figure("plot", view.title, plots.svg(view) + legend, view.caption)


def _matrix(view: Matrix) -> str:
    """A table whose cells are tinted by their share of the row; right answers in one colour, errors in another."""
    head = "".join(f'<th scope="col"><span>{name(c)}</span></th>' for c in view.columns)
    rows = []
    counted = len(view.columns) <= COUNTS_SHOWN
    for place, (label, values) in enumerate(zip(view.rows, view.values, strict=True)):
        total = sum(values) or 1
        cells = []
        for across, value in enumerate(values):
            right = place == across if view.rows == view.columns else label == view.columns[across]
            # The power lets a few errors in a thousand still be seen.
            tint = f"--t:{100 * (max(value, 0) / total) ** 0.4:.0f}%"
            told = escaped(f"{label} → {view.columns[across]}: {number(value)}")
            shown = number(value) if counted else ""
            cells.append(
                f'<td class="{"ok" if right else "bad"}" style="{tint}" title="{told}">{shown}</td>'
                if value
                else "<td></td>"
            )
        rows.append(f'<tr><th scope="row">{name(label)}</th>{"".join(cells)}</tr>')
    axes = f'<p class="axes">rows: {escaped(view.y)}; columns: {escaped(view.x)}</p>' if view.x or view.y else ""
    size = "counted" if counted else "dense"
    long = " turned" if max((len(c) for c in view.columns), default=0) > 3 else ""
    table = (
        f'<table class="matrix {size}{long}"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return figure("table", view.title, f'{axes}<div class="wide">{table}</div>', view.caption)


def _pictures(view: ImageGrid) -> str:
    items = "".join(_picture(item) for item in view.items)
    inks = [(word, "#{:02x}{:02x}{:02x}".format(*colour(place))) for word, place in view.legend]
    keys = "".join(f'<li><i style="background:{ink}"></i>{name(word)}</li>' for word, ink in inks)
    legend = f'<ul class="legend">{keys}</ul>' if keys else ""
    return figure("pictures", view.title, f'{legend}<ul class="grid">{items}</ul>', view.caption)


def _picture(item: AnnotatedImage) -> str:
    first, *others = [clean(line) for line in item.caption.split("\n")]
    mark = {True: " right", False: " wrong", None: ""}[item.good]
    small = ' class="small"' if max(item.values.shape[-2:]) <= SMALL else ""
    words = f"<b>{name(first)}</b>" + "".join(f"<span>{name(line)}</span>" for line in others)
    drawn = "".join(
        f'<img{small} src="data:image/png;base64,{_png(part)}" alt="{escaped(clean(part.caption))}">'
        for part in (item, *item.beside)
    )
    wide = " wide" if item.beside else ""
    return f'<li class="picture{mark}{wide}">{drawn}<p>{words}</p></li>'


def image(values: Tensor, low: float, high: float) -> Image.Image:
    """(C, H, W) values drawn from `low`, black, to `high`, white; channels that are no RGB side by side in grey."""
    from PIL import Image

    pixels = as_bytes(values, low, high)  # (C, H, W) uint8
    if pixels.shape[0] not in (1, 3):
        # No mixture of colours would be true.
        pixels = torch.cat(list(pixels[:MOST_CHANNELS]), dim=1)[None]  # (1, H, C * W)
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _png(item: AnnotatedImage) -> str:
    """Base64 of a PNG of at most MOST_SIDE pixels a side; of up to twice that where something is drawn on it."""
    from PIL import Image

    drawn = image(item.values, item.low, item.high)
    marked = bool(item.marks) or item.classes is not None or bool(item.beside)
    side = 2 * MOST_SIDE if marked else MOST_SIDE
    if max(drawn.size) > side:
        drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    elif item.marks:  # what is drawn on small pictures is drawn finer than they are
        times = side // max(drawn.size)
        drawn = drawn.resize((times * drawn.width, times * drawn.height), Image.Resampling.NEAREST)
    if marked:
        drawn = overlaid(drawn, drawn.width / item.values.shape[-1], item.marks, item.classes)
    written = io.BytesIO()
    drawn.save(written, format="PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def as_bytes(values: Tensor, low: float, high: float) -> Tensor:
    """Values of any depth to 0 … 255 between `low` and `high`; what is not finite is drawn black or white.

    Args:
        values: (C, H, W) of any dtype.
    Returns:
        (C, H, W) uint8.
    """
    value_range = high - low if high > low else 1.0
    scaled = (values.detach().cpu().double() - low) / value_range
    return (scaled.nan_to_num(0.0, 1.0, 0.0).clamp(0, 1) * 255).round().to(torch.uint8)
