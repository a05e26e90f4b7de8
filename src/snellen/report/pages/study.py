"""Report page of a study: table of cells, headline metric against each setting, importance, all trainings."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.views import Plot, Table
from snellen.report import view_html
from snellen.report.html_text import escape, escape_nowrap
from snellen.report.pages.layout import Section, join_sections, page


def study_page(title: str, verdict: str, caption: str, tables: Sequence[Table], plots: Sequence[Plot]) -> str:
    """The report page of a study.

    Args:
        title: "Study of lr and hidden".
        verdict: the best cell, in a sentence.
        caption: what ± means.
        tables: the table of cells first; the plots follow it.
        plots: the headline metric against each setting.
    """
    header = f'<h1>{escape(title)}</h1><p class="verdict">{escape_nowrap(verdict)}</p>'
    plots_html = "".join(view_html.html(plot) for plot in plots)
    sections = [
        Section(title=table.title, body=view_html.html(Table(title="", columns=table.columns, rows=table.rows)))
        for table in tables
    ]
    first, rest = sections[:1], sections[1:]
    note = f'<p class="small">{escape_nowrap(caption)}</p>'
    body = join_sections(
        [
            *(Section(title=section.title, body=section.body + note) for section in first),
            Section(
                title="Validation result against each setting",
                body=f'<div class="plots">{plots_html}</div>' if plots_html else "",
            ),
            *rest,
        ]
    )
    return page(title, f"{len(tables[0].rows)} cells" if tables else "", header, body)
