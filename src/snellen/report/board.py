"""A `Board` as SVG: cells coloured by their value, arrows, marks."""

from __future__ import annotations

import math

from snellen.core.views import Board, BoardCell
from snellen.report.html_text import escape

SIDE = 44  # units of a cell
ARROW = 9  # units from the tail of an arrow to the centre of the cell, and from there to its tip
LOW, MIDDLE, HIGH = (213, 94, 0), (240, 240, 240), (0, 114, 178)  # of the lowest value, zero and the highest
WALL = "#555"


def board_svg(board: Board) -> str:
    """A board as one `<svg>` element, without scripts."""
    numbers = [cell.value for line in board.cells for cell in line if cell.value is not None]
    scale = max((abs(number) for number in numbers), default=0.0) or 1.0
    rows, columns = len(board.cells), max(map(len, board.cells), default=0)
    cells = "".join(
        f'<g transform="translate({SIDE * column} {SIDE * row})">{_cell(cell, scale)}</g>'
        for row, line in enumerate(board.cells)
        for column, cell in enumerate(line)
    )
    width, height = SIDE * columns, SIDE * rows
    return (
        f'<svg viewBox="-1 -1 {width + 2} {height + 2}" width="{width + 2}" style="max-width:100%;height:auto" '
        f'role="img" aria-label="{escape(board.title)}" font-size="10" text-anchor="middle" fill="#111">{cells}</svg>'
    )


def _cell(cell: BoardCell, scale: float) -> str:
    """One cell, with its top left corner at the origin."""
    centre = SIDE / 2
    colour = WALL if cell.mark == "#" else "#fff" if cell.value is None else _colour(cell.value / scale)
    parts = [f'<rect width="{SIDE}" height="{SIDE}" fill="{colour}" stroke="#999" stroke-width="0.5"/>']
    if cell.mark and cell.mark != "#":
        parts.append(
            f'<text x="{centre:g}" y="{centre + 6:g}" font-size="18" font-weight="bold">{escape(cell.mark)}</text>'
        )
    if cell.arrow is not None:
        parts.append(_arrow(cell.arrow))
    if cell.value is not None:
        y = SIDE - 4 if cell.arrow is not None else centre + 4
        parts.append(f'<text x="{centre:g}" y="{y:g}">{cell.value:.2f}</text>')
    return "".join(parts)


def _arrow(move: tuple[int, int]) -> str:
    """An arrow through the centre, a little above the number."""
    length = math.hypot(*move) or 1.0
    dy, dx = (ARROW * part / length for part in move)
    x, y = SIDE / 2, SIDE / 2 - 5
    tip_x, tip_y = x + dx, y + dy
    head = "".join(
        f"L{tip_x - 0.6 * dx + side * 0.5 * dy:.1f} {tip_y - 0.6 * dy - side * 0.5 * dx:.1f}M{tip_x:.1f} {tip_y:.1f}"
        for side in (1, -1)
    )
    path = f"M{x - dx:.1f} {y - dy:.1f}L{tip_x:.1f} {tip_y:.1f}{head}"
    return f'<path d="{path}" fill="none" stroke="#111" stroke-width="1.6"/>'


def _colour(position: float) -> str:
    """Colour of a value from -1 (lowest) over 0 to 1 (highest); light, so that black text is legible."""
    end = HIGH if position > 0 else LOW
    weight = 0.65 * min(abs(position), 1.0)
    return "#{:02x}{:02x}{:02x}".format(
        *(round((1 - weight) * a + weight * b) for a, b in zip(MIDDLE, end, strict=True))
    )
