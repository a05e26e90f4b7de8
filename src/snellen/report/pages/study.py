"""Report page of a study: table of cells, headline metric against each setting, importance, all trainings."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.views import DecisionMap, Plot, Table, View
from snellen.report import view_html
from snellen.report.decision_map import decision_map_svg, legend_html
from snellen.report.html_text import escape, escape_nowrap
from snellen.report.pages.layout import Section, join_sections, page


def study_page(
    title: str,
    verdict: str,
    caption: str,
    tables: Sequence[Table],
    plots: Sequence[Plot],
    maps: Sequence[View] = (),
    maps_note: str = "",
) -> str:
    """The report page of a study.

    Args:
        title: "Study of lr and hidden".
        verdict: the best cell, in a sentence.
        caption: what ± means.
        tables: the table of cells first; the plots follow it.
        plots: the headline metric against each setting.
        maps: of the cells over one or two inputs. maps_note: which trainings they show.
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
            Section(title="Maps of the cells", body=_maps_html(maps), lead=maps_note),
            *rest,
        ]
    )
    return page(title, f"{len(tables[0].rows)} cells" if tables else "", header, body)


def _maps_html(maps: Sequence[View]) -> str:
    """Maps side by side, with one legend for all."""
    if not maps:
        return ""
    decision_maps = [view for view in maps if isinstance(view, DecisionMap)]
    figures = [
        view_html.figure_html("plot map", view.title, decision_map_svg(view), view.caption)
        if isinstance(view, DecisionMap)
        else view_html.html(view)
        for view in maps
    ]
    return f'{legend_html(decision_maps) if decision_maps else ""}<div class="plots">{"".join(figures)}</div>'
