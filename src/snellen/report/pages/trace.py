"""Page of a trace: the network drawn as a graph or as grids, a slider over the updates, all numbers, the loss curve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files as resources
from typing import Any

import numpy as np

from snellen.core.views import Metric, Table
from snellen.report import view_html
from snellen.report.html_text import escape, escape_nowrap
from snellen.report.pages.layout import Section, join_sections, page
from snellen.trace.activations import ACTIVATIONS, Array
from snellen.trace.descent import NetworkTrace, SeedOutcomes, TracedState
from snellen.trace.labels import describe, parameter_names, stems, unit_names
from snellen.trace.layers import BatchNormLayer
from snellen.trace.losses import LOSSES
from snellen.trace.remarks import Remark
from snellen.trace.summary import check_lines, format_value

MAX_NUMBERS = 5_000  # numbers with a gradient in all states of the page
DIGITS = 9  # significant digits of a number in the page
COLUMN, ROW, RADIUS, MARGIN = 170, 112, 31, 48  # of the graph, in its units
LONG_TABLE = 60  # rows from which a table is folded
LABELLED = 8  # edges between two layers up to which every edge shows its number
CURVE_WIDTH, CURVE_HEIGHT = 520, 170


def trace_page(
    trace: NetworkTrace, title: str, outcomes: SeedOutcomes | None = None, remarks: Sequence[Remark] = ()
) -> str:
    """One offline page of a trace. Without JavaScript it shows the numbers before the first update."""
    trace = _with_fewer_states(trace)
    network, first = trace.network, trace.states[0]
    is_graph = all(layer.kind == "linear" for layer in network.layers)
    drawing = _graph(first) if is_graph else _stages(first)
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
            lead="Point at a unit, an edge or a cell, or move to it with the Tab key, to see its formula.",
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
    chosen = "" if len(trace.states) == trace.steps + 1 else f" The slider has {len(trace.states)} of these states."
    return (
        f'<div class="controls" id="controls" hidden>{slider if last else ""}{toggle}{sample}</div>'
        f'<p class="now" id="now" aria-live="polite">After 0 of {trace.steps:,} update{"s" * (trace.steps != 1)}: '
        f"E = {format_value(trace.losses[0])}{_target_text(trace.states[0])}</p>"
        + (f'<p class="small">{escape(chosen.strip())}</p>' if chosen else "")
    )


def _target_text(state: TracedState) -> str:
    targets = state.network.targets[0].ravel()
    if len(targets) > 4:
        return ""
    return f"; target{'s' * (len(targets) > 1)} {', '.join(map(format_value, targets))}"


def _graph(state: TracedState) -> str:
    """The network as units and edges, with the values of the first sample."""
    network = state.network
    sizes = [shape[0] for shape in network.shapes]
    width, height = COLUMN * (len(sizes) - 1) + 2 * MARGIN + 2 * RADIUS, ROW * max(sizes) + 30
    names, values = unit_names(network), [network.inputs, *state.traced.a]

    def place(layer: int, unit: int) -> tuple[float, float]:
        return MARGIN + RADIUS + COLUMN * layer, height / 2 + ROW * (unit - (sizes[layer] - 1) / 2)

    edges, labels, units = [], [], []
    parameters = parameter_names(network)
    for layer in range(len(network.layers)):
        key, count = f"{layer}.weight", sizes[layer] * sizes[layer + 1]
        largest = float(np.abs(state.parameters[key]).max()) or 1.0
        for n, name in enumerate(parameters[key]):
            to, start = divmod(n, sizes[layer])
            (x1, y1), (x2, y2) = place(layer, start), place(layer + 1, to)
            value = float(state.parameters[key].flat[n])
            position = 0.36 if sizes[layer] > 1 else 0.6  # of the way at which the label stands
            lx, ly = x1 + (x2 - x1) * position, y1 + (y2 - y1) * position
            line = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
            edges.append(
                f'<g class="edge{" minus" if value < 0 else ""}" tabindex="0" '
                f'role="button" data-key="{key}" data-i="{n}" aria-label="{name}, from {names[layer][start]} to '
                f'{names[layer + 1][to]}"><line class="hit" {line}/><line class="line" {line} '
                f'stroke-width="{1 + 5 * abs(value) / largest:.2f}"/></g>'
            )
            labels.append(
                f'<text class="label{" quiet" if count > LABELLED else ""}" x="{lx:.1f}" y="{ly + 5:.1f}" '
                f'data-key="{key}" data-i="{n}" aria-hidden="true">{_short(value)}</text>'
            )
    for layer, size in enumerate(sizes):
        biases = state.parameters.get(f"{layer - 1}.bias")
        for j in range(size):
            x, y = place(layer, j)
            here = f'data-layer="{layer}" data-i="{j}"'
            units.append(
                f'<g class="unit" tabindex="0" role="button" {here} aria-label="{names[layer][j]} '
                f'{_short(float(values[layer][0, j]))}"><circle cx="{x:g}" cy="{y:g}" r="{RADIUS}"/></g>'
            )
            texts = [("name", y - RADIUS - 6, names[layer][j]), ("value", y + 5, _short(float(values[layer][0, j])))]
            if biases is not None:
                texts.append(("below", y + RADIUS + 16, f"bias {_short(float(biases[j]))}"))
            labels += [
                f'<text class="{kind}" x="{x:g}" y="{ty:g}" {here} aria-hidden="true">{text}</text>'
                for kind, ty, text in texts
            ]
    min_width = round(0.72 * width)
    key_lines = "".join(
        f'<span class="{sign}"><svg viewBox="0 0 40 10" aria-hidden="true"><line class="line" x1="0" y1="5" x2="40" '
        f'y2="5"/></svg>{text}</span>'
        for sign, text in (("plus", "positive, solid"), ("minus", "negative, dashed"))
    )
    return (
        f'<div class="wide"><svg class="network" viewBox="0 0 {width} {height}" width="{round(1.15 * width)}" '
        f'style="max-width:max(100%,{min_width}px);min-width:{min_width}px" role="group" aria-label="Network">'
        f"{''.join(edges)}"
        f'{"".join(units)}{"".join(labels)}</svg></div><p class="key">{key_lines}<span>wider: larger in size</span></p>'
    )


def _short(value: float) -> str:
    """A number of three significant digits, as the script writes it in the drawing."""
    if value == 0:
        return "0"
    text = f"{value:.1e}" if abs(value) < 0.01 or abs(value) >= 1e5 else f"{float(f'{value:.3g}'):g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def _stages(state: TracedState) -> str:
    """Input, layers and their parameters as tables of numbers."""
    network, names = state.network, parameter_names(state.network)
    letters = stems(network)
    figures = [_stage("x: input", "", [_cells(network.inputs, network.shapes[0], 0)])]
    for k, layer in enumerate(network.layers):
        for name, value in layer.parameters.items():
            key = f"{k}.{name}"
            first, last = names[key][0], names[key][-1]
            span = first if first == last else f"{first} … {last}"
            noun = f"{layer.noun} layer" if layer.kind == "linear" else layer.noun
            figures.append(_stage(f"{span}: {name} of the {noun}", "", [_parameter_cells(value, key)]))
        activation = "" if layer.activation == "linear" else f", {layer.activation}"
        note = ""
        if isinstance(layer, BatchNormLayer):
            note = "mean and variance over the samples of the batch"
        tables = [_cells(state.traced.a[k], network.shapes[k + 1], k + 1)]
        figures.append(_stage(f"{letters[k + 1]}: {layer.noun}{activation}", note, tables))
    return f'<div class="stages">{"".join(figures)}</div>'


def _stage(title: str, note: str, tables: Sequence[str]) -> str:
    small = f'<p class="small">{escape(note)}</p>' if note else ""
    return f"<figure><h3>{escape(title)}</h3>{small}{''.join(tables)}</figure>"


def _cells(values: Array, shape: tuple[int, ...], layer: int) -> str:
    """Cells of a layer: a table for each channel of the sample, or one with a row for each sample."""
    if len(shape) == 1:
        rows = [
            "".join(
                f'<td tabindex="0" data-layer="{layer}" data-s="{s}" data-i="{j}">{_short(float(v))}</td>'
                for j, v in enumerate(sample)
            )
            for s, sample in enumerate(values)
        ]
        heads = [f"<th>sample {s + 1}</th>" if len(values) > 1 else "" for s in range(len(values))]
        return _table_of([head + row for head, row in zip(heads, rows, strict=True)])
    channels, height, width = shape
    return "".join(
        _table_of(
            [
                "".join(
                    f'<td tabindex="0" data-layer="{layer}" data-i="{(c * height + y) * width + x}">'
                    f"{_short(float(values[0, c, y, x]))}</td>"
                    for x in range(width)
                )
                for y in range(height)
            ]
        )
        for c in range(channels)
    )


def _parameter_cells(values: Array, key: str) -> str:
    """Cells of a parameter: one row for a vector, one for each unit of a matrix, a table for each kernel."""
    grids = values.reshape(-1, *values.shape[-2:]) if values.ndim > 1 else values.reshape(1, 1, -1)
    tables, n = [], 0
    for grid in grids:
        rows = []
        for row in grid:
            rows.append(
                "".join(
                    f'<td tabindex="0" data-key="{key}" data-i="{n + j}">{_short(float(v))}</td>'
                    for j, v in enumerate(row)
                )
            )
            n += len(row)
        tables.append(_table_of(rows))
    return "".join(tables)


def _table_of(rows: Sequence[str]) -> str:
    return (
        f'<div class="wide"><table class="cells"><tbody>{"".join(f"<tr>{r}</tr>" for r in rows)}</tbody></table></div>'
    )


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
            table = f"<details><summary>{len(rows):,} rows</summary>{table}</details>"
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
    text = f"Loss after 0 to {trace.steps:,} updates: from {format_value(losses[0])} to {format_value(losses[-1])}"
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
    note = f"A seed succeeds (✓) if every output is within 0.5 of its target after {outcomes.steps:,} updates."
    return Section(
        title="How many seeds succeed",
        body=f'<p class="figure">{right} of {count} seeds: {escape_nowrap(str(metric))}</p>'
        f'<ul class="seeds">{items}</ul><p class="small">{note} ± is Wilson’s 95 % interval over seeds.</p>',
    )


def _check(trace: NetworkTrace) -> str:
    text = (
        "The backward pass is written out by hand, in float64, and compared with PyTorch’s autograd and with central "
    )
    lines = [
        text
        + "finite differences of E. A deviation is relative to the larger of both numbers, or to 0.001 max(1, |E|).",
        *check_lines(trace),
    ]
    return "".join(f"<p>{_exponents(line)}</p>" for line in lines)


def _exponents(text: str) -> str:
    """Text whose exponents stay on one line."""
    return escape_nowrap(text).replace("e-", "e−")
