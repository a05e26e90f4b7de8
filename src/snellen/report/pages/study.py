"""The page of a study: the cells in one table, the headline against each setting, what matters, every training."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.views import Plot, Table
from snellen.report import view_html
from snellen.report.html_text import escaped, unbroken
from snellen.report.pages.layout import Section, page, together


def study_page(title: str, verdict: str, caption: str, tables: Sequence[Table], plots: Sequence[Plot]) -> str:
    """A whole page on a study.

    Args:
        title: "A study of lr and hidden".
        verdict: which cell is the best, in a sentence.
        caption: what ± means.
        tables: of the cells first; the plots stand after it.
        plots: the headline against each setting.
    """
    statement = f'<h1>{escaped(title)}</h1><p class="verdict">{unbroken(verdict)}</p>'
    drawn = "".join(view_html.html(plot) for plot in plots)
    sections = [
        Section(title=table.title, body=view_html.html(Table(title="", columns=table.columns, rows=table.rows)))
        for table in tables
    ]
    first, rest = sections[:1], sections[1:]
    note = f'<p class="small">{unbroken(caption)}</p>'
    body = together(
        [
            *(Section(title=one.title, body=one.body + note) for one in first),
            Section(title="Against each setting", body=f'<div class="plots">{drawn}</div>' if drawn else ""),
            *rest,
        ]
    )
    return page(title, f"{len(tables[0].rows)} cells" if tables else "", statement, body)
