"""Page of a trace: the network drawn as a graph or as grids, a slider over the updates, all numbers, the loss curve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files as resources
from typing import Any

from snellen.core.errors import counted
from snellen.core.views import Metric, Table
from snellen.report import view_html
from snellen.report.html_text import escape, escape_nowrap
from snellen.report.pages.layout import Section, join_sections, page
from snellen.report.pages.trace_drawing import graph_style, network_graph, network_grids, widest_edge
from snellen.trace.activations import ACTIVATIONS, Array
from snellen.trace.descent import NetworkTrace, SeedOutcomes, TracedState
from snellen.trace.labels import describe, parameter_names, unit_names
from snellen.trace.losses import LOSSES
from snellen.trace.remarks import Remark
from snellen.trace.summary import check_lines, format_value

MAX_NUMBERS = 5_000  # numbers with a gradient in all states of the page
DIGITS = 9  # significant digits of a number in the page
LONG_TABLE = 60  # rows from which a table is folded
CURVE_WIDTH, CURVE_HEIGHT = 520, 170
INDEX_ORDER = (
    " A place in a grid is [row,column], or [channel,row,column], from 0; snellen filter writes x,y = column,row."
)


def trace_page(
    trace: NetworkTrace, title: str, outcomes: SeedOutcomes | None = None, remarks: Sequence[Remark] = ()
) -> str:
    """One offline page of a trace. Without JavaScript it shows the numbers before the first update."""
    trace = _with_fewer_states(trace)
    network, first = trace.network, trace.states[0]
    is_graph = all(layer.kind == "linear" for layer in network.layers)
    drawing = network_graph(first) if is_graph else network_grids(first)
    loss = LOSSES[network.loss]
    origin = f" Its weights are drawn with seed {network.seed}." if network.seed is not None else ""
    header = (
        f"<h1>{escape(title)}</h1>"
        f'<p class="verdict {"good" if trace.agrees else "warning"}">{_exponents(check_lines(trace)[0])}</p>'
        f'<p class="small">{escape_nowrap(f"E = {loss.formula}; learning rate {network.lr:g}.{origin}")}</p>'
    )
    sections = [
        Section(
            title="Forward and backward",
            lead="Point at a unit, an edge or a cell, or move to it with the Tab key, to see its formula."
            + INDEX_ORDER * any(len(shape) > 1 for shape in network.shapes),
            body=_controls(trace) + drawing + '<div class="formula" id="formula" aria-live="polite"></div>',
        ),
        Section(title="Loss", body=_curve(trace)),
        Section(title="All numbers", lead="δ = ∂E/∂z, the gradient of a pre-activation.", body=_tables(first)),
        *(
            Section(
                title=remark.title,
                body="".join(f"<p>{escape_nowrap(line)}</p>" for line in remark.lines)
                + (view_html.html(Table(title="", columns=remark.columns, rows=remark.rows)) if remark.rows else ""),
            )
            for remark in remarks
        ),
        *([_seeds(outcomes)] if outcomes is not None else []),
        Section(title="How the gradients are checked", body=_check(trace)),
    ]
    script = (resources("snellen.report.pages") / "trace.js").read_text(encoding="utf-8")
    data = json.dumps(_data(trace, is_graph), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    style = (resources("snellen.report.pages") / "trace.css").read_text(encoding="utf-8")
    style += graph_style(network) if is_graph else ""
    return page(
        title, describe(network), header, join_sections(sections), f"const D = {data};\n{script}", style=f"\n{style}"
    )


def _with_fewer_states(trace: NetworkTrace) -> NetworkTrace:
    """The trace with as many states as keep the page below 1 MB: the first, the last and some between."""
    count = max(2, MAX_NUMBERS // trace.network.number_count)
    if len(trace.states) <= count:
        return trace
    chosen = [round(k * (len(trace.states) - 1) / (count - 1)) for k in range(count)]
    return replace(trace, states=tuple(trace.states[k] for k in chosen))


def _data(trace: NetworkTrace, is_graph: bool) -> dict[str, Any]:
    """What the script reads: fixed descriptions, and the numbers of every stored state as flat lists."""
    network, loss = trace.network, LOSSES[trace.network.loss]
    points = _curve_points(trace)
    return {
        "graph": is_graph,
        "widest": widest_edge(network),
        "lr": network.lr,
        "steps": trace.steps,
        "samples": len(network.inputs),
        "lossGradient": loss.gradient_formula,
        "factor": 2 if network.loss == "squared" else 1,
        "fused": loss.after is not None,
        "names": unit_names(network),
        "shapes": network.shapes,
        "layers": [
            {
                "kind": layer.kind,
                "activation": layer.activation,
                "formula": ACTIVATIONS[layer.activation].formula,
                "derivative": ACTIVATIONS[layer.activation].derivative,
                **layer.options,
            }
            for layer in network.layers
        ],
        "parameters": {
            key: {"names": names, "shape": network.parameters[key].shape}
            for key, names in parameter_names(network).items()
        },
        "inputs": _flat(network.inputs),
        "targets": _flat(network.targets),
        "states": [_state(state, points[state.updates]) for state in trace.states],
    }


def _state(state: TracedState, point: tuple[float, float]) -> dict[str, Any]:
    traced, check = state.traced, state.check
    differences = {
        key: ["kink" if kink else value for value, kink in zip(_flat(values), check.kinks[key].ravel(), strict=True)]
        for key, values in check.differences.items()
    }
    return {
        "k": state.updates,
        "E": traced.loss,
        "at": [round(point[0], 2), round(point[1], 2)],
        "z": [_flat(z) for z in traced.z],
        "a": [
            None if layer.activation == "linear" else _flat(a)
            for a, layer in zip(traced.a, state.network.layers, strict=True)
        ],
        "g": {key: _flat(values) for key, values in traced.gradients.items()},
        "auto": {key: _flat(values) for key, values in check.autograd.items()},
        "diff": differences,
        "p": {key: _flat(values) for key, values in state.parameters.items()},
        "next": {key: _flat(values) for key, values in state.updated.items()},
    }


def _flat(values: Array) -> list[float | None]:
    return [None if math.isnan(v) else float(f"{v:.{DIGITS}g}") for v in values.ravel().tolist()]


def _controls(trace: NetworkTrace) -> str:
    """Slider, buttons, toggle and choice of the sample; hidden without JavaScript."""
    samples = len(trace.network.inputs)
    last = len(trace.states) - 1
    slider = (
        '<div><button type="button" id="back">Previous</button><button type="button" id="forth">Next</button>'
        f'<label>Updates <input type="range" id="step" min="0" max="{last}" value="0"></label></div>'
    )
    toggle = (
        '<fieldset aria-label="Numbers shown"><label><input type="radio" name="mode" value="forward" checked>'
        'forward: values</label><label><input type="radio" name="mode" value="backward">backward: gradients</label>'
        "</fieldset>"
    )
    options = "".join(f'<option value="{k}">{k + 1}</option>' for k in range(samples))
    sample = f'<label>Sample <select id="sample">{options}</select></label>' if samples > 1 else ""
    count = len(trace.states)
    chosen = "" if count == trace.steps + 1 else f"The slider shows {count} of these states, more of the first ones."
    return (
        f'<div class="controls" id="controls" hidden>{slider if last else ""}{toggle}{sample}</div>'
        f'<p class="now" id="now" aria-live="polite">After 0 of {trace.steps:,} update{"s" * (trace.steps != 1)}: '
        f"E = {format_value(trace.losses[0])}{_target_text(trace.states[0])}</p>"
        + (f'<p class="small">{escape(chosen)}</p>' if chosen else "")
    )


def _target_text(state: TracedState) -> str:
    targets = state.network.targets[0].ravel()
    if len(targets) > 4:
        return ""
    return f"; target{'s' * (len(targets) > 1)} {', '.join(map(format_value, targets))}"


def _tables(state: TracedState) -> str:
    """Units of the first sample and parameters, each gradient three times."""
    network, traced, check = state.network, state.traced, state.check

    def three(key: str, n: int, sample: int | None) -> list[str]:
        arrays = [values[key] for values in (traced.gradients, check.autograd, check.differences)]
        kinks = check.kinks[key]
        if sample is not None:
            arrays, kinks = [values[sample] for values in arrays], kinks[sample]
        cells = [format_value(float(values.flat[n])) for values in arrays]
        return [*cells[:2], "kink" if kinks.flat[n] else cells[2]]

    units, parameters = [], []
    for k, names in enumerate(unit_names(network)):
        key = "x" if k == 0 else f"{k - 1}.z"
        for j, name in enumerate(names):
            value = float((network.inputs if k == 0 else traced.a[k - 1])[0].flat[j])
            z = format_value(float(traced.z[k - 1][0].flat[j])) if k else ""
            cells = [z, format_value(value), *three(key, j, 0)]
            units.append(_row(name, cells, f'data-layer="{k}" data-i="{j}"'))
    for key, names in parameter_names(network).items():
        for n, name in enumerate(names):
            cells = [format_value(float(state.parameters[key].flat[n])), *three(key, n, None)]
            cells.append(format_value(float(state.updated[key].flat[n])))
            parameters.append(_row(name, cells, f'data-key="{key}" data-i="{n}"'))
    heads = (
        ("unit", "z", "value", "δ", "autograd", "differences"),
        ("parameter", "value", "∂E/∂w", "autograd", "differences", "next value"),
    )
    tables = []
    for title, head, rows in zip(("Units", "Parameters"), heads, (units, parameters), strict=True):
        table = (
            f'<div class="wide" tabindex="0" role="region" aria-label="{title}"><table class="numbers">'
            f"<thead><tr>{_head(head)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
        if len(rows) > LONG_TABLE:
            table = f"<details><summary>{counted(len(rows), 'row')}</summary>{table}</details>"
        tables += [f'<figure class="table"><h3>{title}</h3>{table}</figure>'] if rows else []
    return "".join(tables)


def _head(columns: Sequence[str]) -> str:
    first, *rest = columns
    return f'<th scope="col">{first}</th>' + "".join(f'<th scope="col" class="n">{c}</th>' for c in rest)


def _row(name: str, cells: Sequence[str], data: str) -> str:
    return f'<tr {data}><th scope="row">{name}</th>' + "".join(f'<td class="n">{c}</td>' for c in cells) + "</tr>"


def _is_logarithmic(losses: Sequence[float]) -> bool:
    return min(losses) > 0 and max(losses) / min(losses) > 20


def _curve_points(trace: NetworkTrace) -> list[tuple[float, float]]:
    """Places of the losses in the drawing, one for each number of updates."""
    losses = trace.losses
    heights = [math.log10(loss) for loss in losses] if _is_logarithmic(losses) else list(losses)
    low, high = min(heights), max(heights)
    span = (high - low) or 1.0
    across = (CURVE_WIDTH - 90) / max(1, trace.steps)
    return [(70 + across * k, 15 + (CURVE_HEIGHT - 55) * (high - height) / span) for k, height in enumerate(heights)]


def _curve(trace: NetworkTrace) -> str:
    """E against the number of updates, with a mark at the state that is shown."""
    if not trace.steps:
        return ""
    points, losses = _curve_points(trace), trace.losses
    some = points if len(points) <= 400 else [points[round(k * (len(points) - 1) / 399)] for k in range(400)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in some)
    bottom = CURVE_HEIGHT - 34
    scale = "logarithmic scale" if _is_logarithmic(losses) else "linear scale"
    ends = f"from {format_value(losses[0])} to {format_value(losses[-1])}"
    text = f"Loss after 0 to {counted(trace.steps, 'update')}: {ends}"
    return (
        f'<figure class="plot"><svg class="curve" viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" role="img" '
        f'aria-label="{text}"><line class="axis" x1="70" y1="{bottom}" x2="{CURVE_WIDTH - 20}" y2="{bottom}"/>'
        f'<text x="58" y="22" text-anchor="end">{max(losses):.3g}</text>'
        f'<text x="58" y="{bottom - 3}" text-anchor="end">{min(losses):.3g}</text>'
        f'<text x="70" y="{bottom + 18}">0</text><text x="{CURVE_WIDTH - 20}" y="{bottom + 18}" text-anchor="end">'
        f'{trace.steps:,} update{"s" * (trace.steps != 1)}</text><polyline points="{line}"/>'
        f'<circle id="mark" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="6"/></svg>'
        f"<figcaption>{escape(text)}, on a {scale}.</figcaption></figure>"
    )


def _seeds(outcomes: SeedOutcomes) -> Section:
    """The fraction of seeds that succeed, with every seed."""
    count, right = len(outcomes.succeeded), sum(outcomes.succeeded)
    metric = Metric(value=outcomes.fraction, low=outcomes.low, high=outcomes.high, percent=True)
    items = "".join(
        f'<li class="{"ok" if good else "bad"}">{seed} {"✓" if good else "×"}</li>'
        for seed, good in enumerate(outcomes.succeeded)
    )
    note = f"A seed succeeds (✓) if every output is within 0.5 of its target after {counted(outcomes.steps, 'update')}."
    seeds = counted(count, "seed")
    return Section(
        title="How many seeds succeed",
        body=f'<p class="figure">{right} of {seeds}: {escape_nowrap(str(metric))}</p>'
        f'<ul class="seeds">{items}</ul><p class="small">{note} ± is Wilson’s 95 % interval over seeds.</p>',
    )


def _check(trace: NetworkTrace) -> str:
    lines = [
        "The backward pass is written out by hand, in float64, and compared with PyTorch’s autograd and with central "
        "finite differences of E.",
        *check_lines(trace),
    ]
    return "".join(f"<p>{_exponents(line)}</p>" for line in lines)


def _exponents(text: str) -> str:
    """Text whose exponents stay on one line."""
    return escape_nowrap(text).replace("e-", "e−")
