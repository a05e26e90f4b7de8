"""HTML summary of a run for a notebook cell: headline metric, metrics, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snellen.core.views import Cell, Metric, Table, interval_note
from snellen.report import view_html
from snellen.report.html_text import escape, escape_nowrap
from snellen.report.learning_curves import HistoryRow, learning_curves


def run_html(
    title: str,
    headline: str,
    metrics: Mapping[str, Metric],
    history: Sequence[HistoryRow],
    score: tuple[str, str] = ("", ""),
) -> str:
    """A short HTML summary for `_repr_html_`; its colours follow the text colour of the notebook.

    Args:
        title: "lenet on mnist".
        headline: name of the metric quoted first.
        history: the rows of `history.jsonl`.
        score: see `learning_curves.validation_score`.
    """
    rows: list[list[Cell]] = [[key, metric.cell] for key, metric in metrics.items()]
    table = Table(title="", columns=["metric", "value"], rows=rows, caption=interval_note(metrics.values()))
    plots = "".join(
        f'<div style="flex:1 1 16rem;max-width:24rem">{view_html.html(plot)}</div>'
        for plot in learning_curves(history, *score)
    )
    figure = f"{escape(headline)} <b>{escape_nowrap(metrics[headline].cell)}</b>" if headline in metrics else ""
    return (
        f'<div style="max-width:52rem"><p><b>{escape(title)}</b>: {figure}</p>'
        f"{view_html.html(table)}"
        f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{plots}</div></div>'
    )
