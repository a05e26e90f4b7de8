"""Confusion matrix as an HTML table: true classes in rows, predicted classes in columns."""

from __future__ import annotations

from snellen.core.views import Matrix
from snellen.report.html_text import escape, escape_name, format_number, scrollable

MAX_COUNTED_COLUMNS = 25  # a matrix with more columns shows colour only


def confusion_matrix_html(view: Matrix) -> str:
    """A table whose cells are tinted by their fraction of the row; correct predictions and errors differ in colour."""
    head = "".join(f'<th scope="col"><span>{escape_name(c)}</span></th>' for c in view.columns)
    rows = []
    show_counts = len(view.columns) <= MAX_COUNTED_COLUMNS
    for row, (label, values) in enumerate(zip(view.rows, view.values, strict=True)):
        total = sum(values) or 1
        cells = []
        for column, value in enumerate(values):
            is_correct = row == column if view.rows == view.columns else label == view.columns[column]
            is_correct = is_correct or not view.has_errors
            # The exponent keeps a few errors in a thousand visible.
            tint = f"--t:{100 * (max(value, 0) / total) ** 0.4:.0f}%"
            tooltip = escape(f"{label} → {view.columns[column]}: {format_number(value)}")
            cell_text = format_number(value) if show_counts else ""
            cells.append(
                f'<td class="{"ok" if is_correct else "bad"}" style="{tint}" title="{tooltip}">{cell_text}</td>'
                if value
                else "<td></td>"
            )
        rows.append(f'<tr><th scope="row">{escape_name(label)}</th>{"".join(cells)}</tr>')
    axes = f'<p class="axes">rows: {escape(view.y)}; columns: {escape(view.x)}</p>' if view.x or view.y else ""
    size = "counted" if show_counts else "dense"
    long = " turned" if max((len(c) for c in view.columns), default=0) > 3 else ""
    table = (
        f'<table class="matrix {size}{long}"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return f"{axes}{scrollable(table)}"
