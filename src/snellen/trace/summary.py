"""A trace as plain data (for JSON and for the page) and as tables of text (for the terminal)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snellen.core.errors import counted
from snellen.trace.check import AUTOGRAD_TOLERANCE, DIFFERENCE_TOLERANCE, SMALL
from snellen.trace.descent import NetworkTrace, SeedOutcomes, TracedState
from snellen.trace.labels import parameter_names, unit_names
from snellen.trace.network_file import MARK, network_json

Rows = list[list[str]]


def trace_json(trace: NetworkTrace, outcomes: SeedOutcomes | None = None) -> dict[str, Any]:
    """A trace as plain data for strict JSON. Unreliable differences, and those at a kink, are None."""
    plain: dict[str, Any] = {
        "format": MARK,
        "network": network_json(trace.network),
        "losses": list(trace.losses),
        "states": [_state_json(state) for state in trace.states],
        "check": {
            "agrees": trace.agrees,
            "autograd_deviation": max(state.check.autograd_deviation for state in trace.states),
            "difference_deviation": max(state.check.difference_deviation for state in trace.states),
            "autograd_tolerance": AUTOGRAD_TOLERANCE,
            "difference_tolerance": DIFFERENCE_TOLERANCE,
            "kinks": sum(state.check.kink_count for state in trace.states),
            "unsettled": sum(state.check.unsettled for state in trace.states),
        },
    }
    if outcomes is not None:
        plain["seeds"] = {
            "count": len(outcomes.succeeded),
            "steps": outcomes.steps,
            "succeeded": list(outcomes.succeeded),
            "losses": [loss if math.isfinite(loss) else None for loss in outcomes.losses],
            "fraction": outcomes.fraction,
            "interval": [outcomes.low, outcomes.high],
        }
    return plain


def _state_json(state: TracedState) -> dict[str, Any]:
    traced, check = state.traced, state.check

    def gradient(key: str) -> dict[str, Any]:
        return {
            "gradient": traced.gradients[key].tolist(),
            "autograd": check.autograd[key].tolist(),
            "finite_differences": _without_nan(check.differences[key]),
        }

    layers = []
    for k, layer in enumerate(state.network.layers):
        own = {
            name: {"value": value.tolist(), **gradient(f"{k}.{name}"), "updated": state.updated[f"{k}.{name}"].tolist()}
            for name, value in layer.parameters.items()
        }
        layers.append(
            {
                "kind": layer.kind,
                "pre_activation": traced.z[k].tolist(),
                "activation": traced.a[k].tolist(),
                "delta": gradient(f"{k}.z"),
                "parameters": own,
            }
        )
    return {"updates": state.updates, "loss": traced.loss, "inputs": gradient("x"), "layers": layers}


def _without_nan(values: np.ndarray[Any, Any]) -> Any:
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def format_value(value: float) -> str:
    """A number with seven significant digits; small ones in short exponential form."""
    if value == 0:
        return "0"
    if math.isnan(value):
        return "–"
    return f"{value:.3e}" if abs(value) < 1e-3 or abs(value) >= 1e7 else f"{value:.7g}"


def unit_table(state: TracedState) -> tuple[list[str], Rows]:
    """Columns and rows of every unit: z where there is an activation, value, ∂E/∂z three times."""
    network, traced, check = state.network, state.traced, state.check
    names = unit_names(network)
    samples = len(network.inputs)
    has_z = any(layer.activation != "linear" for layer in network.layers)
    columns = ["sample"] * (samples > 1) + ["unit"] + ["z"] * has_z + ["value", "δ = ∂E/∂z", "autograd", "differences"]
    rows = []
    for sample in range(samples):
        for k, unit in enumerate(names):
            key = "x" if k == 0 else f"{k - 1}.z"
            value = (network.inputs if k == 0 else traced.a[k - 1])[sample].ravel()
            z = value if k == 0 else traced.z[k - 1][sample].ravel()
            three = [values[key][sample].ravel() for values in (traced.gradients, check.autograd, check.differences)]
            kinks = check.kinks[key][sample].ravel()
            for j, name in enumerate(unit):
                own = [f"{sample + 1}"] * (samples > 1) + [name]
                own += [format_value(z[j]) if k else ""] * has_z + [format_value(value[j])]
                own += [format_value(three[0][j]), format_value(three[1][j])]
                rows.append([*own, "kink" if kinks[j] else format_value(three[2][j])])
    return columns, rows


def parameter_table(state: TracedState) -> tuple[list[str], Rows]:
    """Columns and rows of every parameter: value, ∂E/∂w three times, and its next value."""
    rows = []
    for key, names in parameter_names(state.network).items():
        arrays = (
            state.parameters[key],
            state.traced.gradients[key],
            state.check.autograd[key],
            state.check.differences[key],
            state.updated[key],
        )
        flat = [values.ravel() for values in arrays]
        kinks = state.check.kinks[key].ravel()
        for j, name in enumerate(names):
            cells = [format_value(values[j]) for values in flat]
            if kinks[j]:
                cells[3] = "kink"
            rows.append([name, *cells])
    return ["", "value", "∂E/∂w", "autograd", "differences", "next value"], rows


def _deviation(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def check_lines(trace: NetworkTrace) -> list[str]:
    """What the check of all stored states gave, in sentences."""
    numbers = trace.network.number_count * len(trace.states)
    auto = max(state.check.autograd_deviation for state in trace.states)
    finite = max(state.check.difference_deviation for state in trace.states)
    kinks = sum(state.check.kink_count for state in trace.states)
    unsettled = sum(state.check.unsettled for state in trace.states)
    verdict = "agree" if trace.agrees else "DISAGREE"
    lines = [
        f"{counted(numbers, 'gradient')} {verdict} with autograd (largest relative deviation {_deviation(auto)}, "
        f"{AUTOGRAD_TOLERANCE:g} allowed) and with central finite differences ({_deviation(finite)}, "
        f"{DIFFERENCE_TOLERANCE:g} allowed).",
        f"A deviation is relative to the larger of both numbers, or to {SMALL:g} max(1, |E|): gradients far below "
        "that may differ visibly.",
    ]
    if kinks:
        lines.append(
            f"{kinks} of them lie at a kink of E, where no derivative and no difference exists, and are compared "
            "with autograd alone: of equal largest values the first in row order gets the gradient; "
            "the derivative of ReLU at 0 is 0."
        )
    if unsettled:
        lines.append(
            f"{unsettled} have no reliable finite difference, as E changes too fast or its rounding is too large."
        )
    if not trace.agrees:
        worst = max(trace.states, key=lambda s: max(s.check.autograd_deviation, s.check.difference_deviation))
        lines.append(
            f"The largest deviation is in {worst.check.worst} (layer.name) after {counted(worst.updates, 'update')}."
        )
    return lines
