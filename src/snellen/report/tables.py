"""Tables as text, CSV, Markdown and LaTeX. Imports nothing heavy: the command line imports it at startup."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from snellen.core.errors import printable

FORMATS = ("text", "csv", "markdown", "latex")

RowCells = Sequence[str | float | int | None]


def table(columns: Sequence[str], rows: Sequence[RowCells], form: str = "text") -> str:
    """A table as text, CSV, Markdown or LaTeX (booktabs)."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if form == "csv":
        return "\n".join(map(csv_row, [columns, *cells]))
    columns, *cells = [[printable(cell).replace("\n", " ") for cell in row] for row in [columns, *cells]]
    if form == "markdown":
        columns, *escaped = [[escape_markdown(cell) for cell in row] for row in [columns, *cells]]
        head = f"| {' | '.join(columns)} |\n|{'|'.join(' --- ' for _ in columns)}|"
        return "\n".join([head, *(f"| {' | '.join(row)} |" for row in escaped)])
    if form == "latex":
        body = " \\\\\n".join(" & ".join(map(_latex, row)) for row in [list(columns), *cells])
        head, _, rest = body.partition(" \\\\\n")
        return (
            f"\\begin{{tabular}}{{{'l' * len(columns)}}}\n\\toprule\n{head} \\\\\n\\midrule\n{rest} \\\\\n"
            "\\bottomrule\n\\end{tabular}"
        )
    widths = [max(len(row[k]) for row in [list(columns), *cells]) for k in range(len(columns))]
    numeric = [all(_is_number(row[k]) for row in cells if row[k]) for k in range(len(columns))]
    lines = []
    for row in [list(columns), *cells]:
        parts = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def csv_row(cells: Sequence[str]) -> str:
    """One line of CSV, without a line terminator; control characters in a cell are escaped, but for line breaks."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([printable(cell) for cell in cells])
    return buffer.getvalue()


_MARKDOWN = re.compile(r"([\\`*_<>|#&]|\](?=[(\[:]))")  # a bracket only where it may close the text of a link
_LATEX = {
    **{sign: "\\" + sign for sign in "%&_#${}"},
    "±": "$\\pm$",
    "×": "$\\times$",
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "[": "{[}",  # after the end of a row, [ and * would be arguments of it
    "*": "{*}",
}


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in cell)


def escape_markdown(text: str) -> str:
    """Escape Markdown, HTML and table syntax."""
    return _MARKDOWN.sub(r"\\\1", text)


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "+-−."
