"""Drawing of a traced network: units and edges as SVG, or grids of numbers as tables, which `trace.js` updates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from snellen.report.html_text import escape
from snellen.trace.activations import Array
from snellen.trace.descent import TracedState
from snellen.trace.labels import parameter_names, stems, unit_names
from snellen.trace.layers import BatchNormLayer
from snellen.trace.network import TracedNetwork

COLUMN, ROW, RADIUS, MARGIN = 170, 112, 31, 48  # of the graph, in its units
LABELLED = 8  # edges between two layers up to which edges show their numbers, where there is room
LABEL_WIDTH, LABEL_HEIGHT = 58, 19  # of a number beside an edge
SMALLEST = 0.72  # scale of the graph on a narrow screen
PLACES = (0.36, 0.6, 0.27, 0.5, 0.72)  # of the way along an edge at which its number may stand


def network_graph(state: TracedState) -> str:
    """The network as units and edges, with the values of the first sample."""
    network = state.network
    sizes = [shape[0] for shape in network.shapes]
    width, height = _graph_width(network), ROW * max(sizes) + 30
    names, values = unit_names(network), [network.inputs, *state.traced.a]

    def place(layer: int, unit: int) -> tuple[float, float]:
        return MARGIN + RADIUS + COLUMN * layer, height / 2 + ROW * (unit - (sizes[layer] - 1) / 2)

    widest = widest_edge(network)
    edges, labels, units = [], [], []
    taken: list[tuple[float, float]] = []  # places of numbers beside edges
    parameters = parameter_names(network)
    for layer in range(len(network.layers)):
        key, count = f"{layer}.weight", sizes[layer] * sizes[layer + 1]
        largest = float(np.abs(state.parameters[key]).max()) or 1.0
        for n, name in enumerate(parameters[key]):
            to, start = divmod(n, sizes[layer])
            (x1, y1), (x2, y2) = place(layer, start), place(layer + 1, to)
            value = float(state.parameters[key].flat[n])
            places = [(x1 + (x2 - x1) * t, y1 + (y2 - y1) * t) for t in PLACES[sizes[layer] == 1 :]]
            free = [p for p in places if not _is_near(p, taken)] if count <= LABELLED else []
            lx, ly = free[0] if free else places[0]
            taken += free[:1]
            line = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
            edges.append(
                f'<g class="edge{" minus" if value < 0 else ""}" tabindex="0" '
                f'role="button" data-key="{key}" data-i="{n}" aria-label="{name}, from {names[layer][start]} to '
                f'{names[layer + 1][to]}"><line class="hit" {line}/><line class="line" {line} '
                f'stroke-width="{1 + widest * abs(value) / largest:.2f}"/></g>'
            )
            labels.append(
                f'<text class="label{"" if free else " quiet"}" x="{lx:.1f}" y="{ly + 5:.1f}" '
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
    hidden = sum(len(parameters[f"{layer}.weight"]) for layer in range(len(network.layers))) - len(taken)
    more = "<span>point at an edge for its number</span>" if hidden else ""
    min_width = round(SMALLEST * width)
    kind = "network dense" if widest < 5 else "network"
    key_lines = "".join(
        f'<span class="{sign}"><svg viewBox="0 0 40 10" aria-hidden="true"><line class="line" x1="0" y1="5" x2="40" '
        f'y2="5"/></svg>{text}</span>'
        for sign, text in (("plus", "positive, solid"), ("minus", "negative, dashed"))
    )
    return (
        f'<div class="drawing"><div class="wide"><svg class="{kind}" viewBox="0 0 {width} {height}" '
        f'width="{round(1.15 * width)}" '
        f'style="max-width:max(100%,{min_width}px);min-width:{min_width}px" role="group" aria-label="Network">'
        f"{''.join(edges)}"
        f"{''.join(units)}{''.join(labels)}</svg></div>"
        f'<p class="small swipe">Scroll sideways for the whole graph.</p></div><p class="key">{key_lines}'
        f"<span>wider: larger magnitude</span>{more}</p>"
    )


def _graph_width(network: TracedNetwork) -> int:
    return COLUMN * (len(network.shapes) - 1) + 2 * MARGIN + 2 * RADIUS


def graph_style(network: TracedNetwork) -> str:
    """Style that shows the hint to scroll where the page is narrower than the graph."""
    width = round(SMALLEST * _graph_width(network))
    return f"@container drawing (width < {width}px) {{ .swipe {{ display: block; }} }}\n"


def _is_near(place: tuple[float, float], taken: Sequence[tuple[float, float]]) -> bool:
    """Whether a number at a place would cover one at another."""
    return any(abs(place[0] - x) < LABEL_WIDTH and abs(place[1] - y) < LABEL_HEIGHT for x, y in taken)


def widest_edge(network: TracedNetwork) -> int:
    """Width of the edge of the largest weight, beyond 1: less where many edges lie side by side."""
    sizes = [shape[0] for shape in network.shapes]
    return 5 if all(a * b <= 16 for a, b in itertools.pairwise(sizes)) else 2


def _short(value: float) -> str:
    """A number of three significant digits, as the script writes it in the drawing."""
    if value == 0:
        return "0"
    text = f"{value:.1e}" if abs(value) < 0.01 or abs(value) >= 1e5 else f"{float(f'{value:.3g}'):g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def network_grids(state: TracedState) -> str:
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
