"""The page of a ladder: every model in one table, what it costs to be better, then the best model's own sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from snellen.core.views import Metric, Plot, Series
from snellen.report import view_html
from snellen.report.html_text import duration, escaped, large, name, size, unbroken
from snellen.report.pages.layout import Section, page, together


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One model on the ladder.

    Args:
        status: how it ended; "no time" where the budget was spent before it.
        headline: the figure all are ranked by, on the test split; None where it failed or was refused.
        validation: the same on validation, by which choices are made.
        reason: why it failed or was refused, or what else is to be known.
        parameters, multiply_adds, seconds_learning, milliseconds_a_prediction, peak_memory_bytes,
            seconds_judging: what it costs; the last for validation.
        on_frontier: no other rung is both better and cheaper.
        folder: of its run, as the user would type it; "" where there is none.
    """

    name: str
    status: Literal["done", "refused", "failed", "no time"] = "done"
    headline: Metric | None = None
    validation: Metric | None = None
    reason: str = ""
    parameters: int | None = None
    multiply_adds: int | None = None
    seconds_learning: float | None = None
    milliseconds_a_prediction: float | None = None
    peak_memory_bytes: int | None = None
    seconds_judging: float | None = None
    on_frontier: bool = False
    folder: str = ""


def ladder_page(title: str, rungs: Sequence[Rung], advice: str, best_sections: str, data_sections: str) -> str:
    """A whole page on a climb.

    Args:
        title: "The ladder on mnist".
        rungs: smallest first, those that failed among them.
        advice: which to take and why, in a sentence.
        best_sections, data_sections: HTML, from `closer` of the best run and `data_section`.
    """
    climbed = sum(rung.headline is not None for rung in rungs)
    over = f"{climbed} model{'s' if climbed != 1 else ''}, smallest first"
    statement = f'<h1>{escaped(title)}</h1><p class="verdict">{unbroken(advice)}</p>'
    return page(title, over, statement, "\n".join([ladder_sections(rungs), best_sections, data_sections]))


def ladder_sections(rungs: Sequence[Rung]) -> str:
    """The table of the rungs and the plots of the headline against its cost."""
    measured = [rung for rung in rungs if rung.headline is not None and rung.headline.value is not None]
    over = next((rung.headline.over for rung in measured if rung.headline and rung.headline.over), "")
    words = "● is the frontier: no other model is both better and cheaper."
    caption = f"± is half of the 95 % interval over {over}. {words}" if over else words
    plots = "".join(
        view_html.html(plot)
        for plot in (
            against(measured, "multiply_adds", "multiply-adds a prediction"),
            against(measured, "seconds_learning", "seconds of learning"),
        )
        if plot is not None
    )
    return together(
        [
            Section(title="The ladder", body=_table(rungs) + f'<p class="small">{unbroken(caption)}</p>'),
            Section(title="What better costs", body=f'<div class="plots">{plots}</div>' if plots else ""),
        ]
    )


def against(rungs: Sequence[Rung], cost: str, axis: str) -> Plot | None:
    """The headline against one cost on a logarithmic axis; None where fewer than two rungs have it.

    Args:
        cost: the name of a field of `Rung`.
    """
    known = [(float(getattr(rung, cost)), rung) for rung in rungs if getattr(rung, cost)]
    if len(known) < 2:
        return None
    series = []
    for label, wanted in (("on the frontier", True), ("others", False)):
        chosen = [(x, rung) for x, rung in known if rung.on_frontier is wanted]
        figures = [rung.headline for _, rung in chosen if rung.headline is not None]
        if figures:
            series.append(
                Series(
                    name=label,
                    x=[x for x, _ in chosen],
                    y=[_scaled(m, m.value) for m in figures],
                    low=[_scaled(m, m.value if m.low is None else m.low) for m in figures],
                    high=[_scaled(m, m.value if m.high is None else m.high) for m in figures],
                    labels=[rung.name for _, rung in chosen],
                )
            )
    first = known[0][1].headline
    unit = "%" if first is not None and first.percent else first.unit if first is not None else ""
    return Plot(
        title=f"Against {axis}",
        x=axis,
        y=f"result [{unit}]" if unit else "result",
        style="points",
        log_x=True,
        series=series,
    )


def _scaled(metric: Metric, value: float | None) -> float | None:
    return value * 100 if metric.percent and value is not None else value


def _table(rungs: Sequence[Rung]) -> str:
    head = "".join(
        f'<th class="n">{words}</th>'
        for words in ("result", "parameters", "multiply-adds", "learning", "a prediction", "memory")
    )
    rows = "".join(map(_row, rungs))
    return (
        f'<figure class="table"><div class="wide"><table class="rungs"><thead><tr><th>model</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></figure>"
    )


def _row(rung: Rung) -> str:
    if rung.headline is None:
        return (
            f'<tr class="out"><td>{name(rung.name)}</td>'
            f'<td colspan="6">{unbroken(rung.reason or "was not measured")}</td></tr>'
        )
    mark = '<span class="mark" title="on the frontier">●</span> ' if rung.on_frontier else ""
    cells = [
        unbroken(str(rung.headline)),
        "–" if rung.parameters is None else large(rung.parameters),
        "–" if rung.multiply_adds is None else large(rung.multiply_adds),
        "–" if rung.seconds_learning is None else duration(rung.seconds_learning),
        "–" if rung.milliseconds_a_prediction is None else f"{rung.milliseconds_a_prediction:.3g} ms",
        "–" if rung.peak_memory_bytes is None else size(rung.peak_memory_bytes),
    ]
    reason = f'<br><span class="small">{unbroken(rung.reason)}</span>' if rung.reason else ""
    numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    title = f' title="{escaped(rung.folder)}"' if rung.folder else ""
    return f"<tr{title}><td>{mark}{name(rung.name)}{reason}</td>{numbers}</tr>"
