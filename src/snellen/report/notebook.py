"""A run in a notebook cell: headline, figures, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snellen.core.views import Cell, Metric, Table
from snellen.report import view_html
from snellen.report.html_text import escaped, unbroken
from snellen.report.learning_curves import Row, curves


def html_of_run(title: str, headline: str, metrics: Mapping[str, Metric], history: Sequence[Row]) -> str:
    """A short summary for `_repr_html_`; its colours follow the notebook's text.

    Args:
        title: "lenet on mnist".
        headline: the metric quoted first.
        history: the rows of `history.jsonl`.
    """
    rows: list[list[Cell]] = [[key, str(metric)] for key, metric in metrics.items()]
    plots = "".join(
        f'<div style="flex:1 1 16rem;max-width:24rem">{view_html.html(plot)}</div>' for plot in curves(history)
    )
    figure = f"{escaped(headline)} <b>{unbroken(str(metrics[headline]))}</b>" if headline in metrics else ""
    return (
        f'<div style="max-width:52rem"><p><b>{escaped(title)}</b>: {figure}</p>'
        f"{view_html.html(Table(title='', columns=['figure', 'value'], rows=rows))}"
        f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{plots}</div></div>'
    )
