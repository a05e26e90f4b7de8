"""Report page of a ladder: a table of all models, performance against cost, and sections on the best model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from snellen.core.views import Metric, Plot, Series, interval_note
from snellen.report import view_html
from snellen.report.html_text import (
    escape,
    escape_name,
    escape_nowrap,
    format_bytes,
    format_count,
    format_duration,
    scrollable,
    without_folders,
)
from snellen.report.pages.layout import Section, join_sections, page

_FLAG = re.compile(r"--[a-z][a-z-]*( \w+)?")  # with its value, kept on one line
_COSTS = ("parameters", "multiply-adds", "training time", "latency", "peak RAM")  # columns of the table


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One model of the ladder.

    Args:
        status: "done", "failed", "refused" (the model does not support the data) or "no time" (budget spent before).
        headline: headline metric on the test split; None if the model failed or was refused.
        validation: headline metric on the validation split, by which models are selected.
        reason: why the model failed or was refused, or a remark.
        parameters, multiply_adds, seconds_learning, milliseconds_a_prediction, peak_memory_bytes,
            seconds_judging: cost; the last is the evaluation time of the validation split.
        on_frontier: on the Pareto frontier of multiply-adds and validation result.
        folder: of the run, as the user would type it; "" if there is none.
        seconds_needed: estimated seconds of the complete training, where the budget did not allow it.
        needs_more: whether the training was stopped without an estimate: `seconds_needed` is twice what it had.
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
    seconds_needed: float | None = None
    needs_more: bool = False


def ladder_page(
    title: str,
    headline: str,
    rungs: Sequence[Rung],
    advice: str,
    best_sections: str,
    data_sections: str,
    remark: str = "",
    split: Literal["test", "validation"] = "test",
    plan: Mapping[str, Any] = MappingProxyType({}),
    resized: str = "images",
) -> str:
    """The report page of a ladder.

    Args:
        title: "The ladder on mnist".
        headline: the name of the headline metric.
        rungs: from simple to complex, including those that failed.
        advice: the recommended model and why, in a sentence.
        best_sections, data_sections: HTML, from `best_model_sections` of the best run and `data_section`.
        remark: a sentence below the advice.
        split: of the headline metrics; "validation" in a ladder that was stopped.
        plan: the plan of `ladder.json`.
        resized: what the models read at a smaller size; of recordings these are spectrograms.
    """
    trained = sum(rung.headline is not None for rung in rungs)
    subject = f"{trained} model{'s' if trained != 1 else ''}, from simple to complex"
    header = f'<h1>{escape(title)}</h1><p class="verdict">{escape_nowrap(advice)}</p>'
    header += f'<p class="small">{escape(remark)}</p>' if remark else ""
    return page(
        title,
        subject,
        header,
        "\n".join([ladder_sections(headline, rungs, split), plan_section(plan, resized), best_sections, data_sections]),
    )


def ladder_sections(headline: str, rungs: Sequence[Rung], split: str = "test") -> str:
    """The table of all models and the plots of the headline metric against cost."""
    measured = [rung for rung in rungs if rung.headline is not None and rung.headline.value is not None]
    over = next((rung.headline.over for rung in measured if rung.headline and rung.headline.over), "")
    frontier = "● marks the Pareto frontier of multiply-adds and validation result."
    caption = f"± is half the width of the 95 % confidence interval over {over}. {frontier}" if over else frontier
    caption = f"{interval_note(rung.headline for rung in measured if rung.headline is not None)} {caption}".strip()
    plots = "".join(
        view_html.html(plot)
        for plot in (
            cost_plot(headline, measured, "multiply_adds", "multiply-adds per prediction", split),
            cost_plot(headline, measured, "seconds_learning", "training time [s]", split),
        )
        if plot is not None
    )
    return join_sections(
        [
            Section(
                title="Models", body=_table(headline, rungs, split) + f'<p class="small">{escape_nowrap(caption)}</p>'
            ),
            Section(title="Performance against cost", body=f'<div class="plots">{plots}</div>' if plots else ""),
        ]
    )


def plan_section(plan: Mapping[str, Any], resized: str = "images") -> str:
    """The table of the models that were planned from their measured time; "" if all were trained at once."""
    needed = {**plan.get("first", {}), **plan.get("needed", {})}
    if not needed:
        return ""
    longer: dict[str, list[str]] = {}
    for key, value in plan.items():
        if key.startswith("longer-") and value is not None:
            longer.setdefault(value[0], []).append(f"{value[1]:,} epochs")

    def seconds_of(part: str, name: str) -> str:
        planned = plan.get(part, {})
        return format_duration(planned[name]) if name in planned else ""

    columns = {
        "complete training": [format_duration(seconds) for seconds, _ in needed.values()],
        f"{resized} reduced to": [f"{pixels} px" if pixels else "" for _, pixels in needed.values()],
        "pilot": [seconds_of("pilots", name) for name in needed],
        "final training": [seconds_of("finals", name) for name in needed],
        "trained longer": [", ".join(longer.get(name, [])) for name in needed],
    }
    columns = {column: values for column, values in columns.items() if any(values)}
    rows = []
    for k, name in enumerate(needed):
        cells = "".join(
            f'<td class="n" data-label="{escape(column)}">{escape_nowrap(values[k])}</td>'
            for column, values in columns.items()
        )
        rows.append(f"<tr><td>{escape_name(name)}</td>{cells}</tr>")
    caption = (
        "Times of complete trainings are measured by a few steps of each. The other models were trained at once. "
        "Pilots are short trainings; the best have a final training, and the best of all is trained longer if time is "
        "left."
    )
    head = "".join(f'<th class="n">{escape(column)}</th>' for column in columns)
    table = _rung_table(head, "".join(rows))
    figure = f'<figure class="table">{table}<figcaption>{escape(caption)}</figcaption></figure>'
    return join_sections([Section(title="Plan", body=figure)])


def cost_plot(headline: str, rungs: Sequence[Rung], cost: str, axis: str, split: str = "test") -> Plot | None:
    """The headline metric against one cost on a logarithmic axis; None if fewer than two models have it.

    Args:
        headline: the name of the metric.
        cost: the name of a field of `Rung`.
    """
    known = [(float(getattr(rung, cost)), rung) for rung in rungs if getattr(rung, cost)]
    if len(known) < 2:
        return None
    series = []
    for label, on_frontier in (("Pareto frontier (multiply-adds, validation)", True), ("other models", False)):
        points = [(x, rung) for x, rung in known if rung.on_frontier is on_frontier]
        metrics = [rung.headline for _, rung in points if rung.headline is not None]
        if metrics:
            series.append(
                Series(
                    name=label,
                    x=[x for x, _ in points],
                    y=[_scaled(m, m.value) for m in metrics],
                    low=[_scaled(m, m.value if m.low is None else m.low) for m in metrics],
                    high=[_scaled(m, m.value if m.high is None else m.high) for m in metrics],
                    labels=[rung.name for _, rung in points],
                )
            )
    first = known[0][1].headline
    assert first is not None
    unit = " [%]" if first.percent else f" [{first.unit}]" if first.unit else ""
    return Plot(
        title=f"{headline[0].upper()}{headline[1:]} against {axis.removesuffix(' [s]')}",
        x=axis,
        y=f"{headline} ({split}){unit}, {'higher' if first.higher_is_better else 'lower'} is better",
        style="points",
        log_x=True,
        series=series,
    )


def _scaled(metric: Metric, value: float | None) -> float | None:
    return value * 100 if metric.percent and value is not None else value


def _table(headline: str, rungs: Sequence[Rung], split: str) -> str:
    columns = (f"{headline} ({split})", *_COSTS)
    head = "".join(f'<th class="n">{escape(column)}</th>' for column in columns)
    rows = "".join(_row(rung, columns) for rung in rungs)
    return f'<figure class="table">{_rung_table(head, rows)}</figure>'


def _rung_table(head: str, rows: str) -> str:
    """The HTML table with the given cells after "model" in its head, and rows."""
    return scrollable(f'<table class="rungs"><thead><tr><th>model</th>{head}</tr></thead><tbody>{rows}</tbody></table>')


def _row(rung: Rung, columns: Sequence[str]) -> str:
    """The row of a model; a remark is a row of its own, so that its length changes no column."""
    reason = _FLAG.sub(r'<span class="flag">\g<0></span>', escape_nowrap(without_folders(rung.reason)))
    if rung.headline is None:
        return (
            f'<tr class="out"><td>{escape_name(rung.name)}</td>'
            f'<td colspan="{len(columns)}">{reason or "not measured"}</td></tr>'
        )
    mark = (
        '<span class="mark" title="on the Pareto frontier of multiply-adds and validation result">●</span> '
        if rung.on_frontier
        else ""
    )
    cells = [
        escape_nowrap(rung.headline.cell),
        "–" if rung.parameters is None else format_count(rung.parameters),
        "–" if rung.multiply_adds is None else format_count(rung.multiply_adds),
        "–" if rung.seconds_learning is None else format_duration(rung.seconds_learning),
        "–" if rung.milliseconds_a_prediction is None else f"{rung.milliseconds_a_prediction:.3g} ms",
        "–" if rung.peak_memory_bytes is None else format_bytes(rung.peak_memory_bytes),
    ]
    numbers = "".join(
        f'<td class="n" data-label="{escape(column)}">{cell}</td>' for column, cell in zip(columns, cells, strict=True)
    )
    title = f' title="{escape(rung.folder)}"' if rung.folder else ""
    row = f"<tr{title}{' class=remarked' if reason else ''}><td>{mark}{escape_name(rung.name)}</td>{numbers}</tr>"
    return row + (f'<tr class="remark"><td colspan="{1 + len(columns)}">{reason}</td></tr>' if reason else "")
