"""Names of the numbers of a traced network: x1, h2, y for units, w5, b1 for parameters."""

from __future__ import annotations

import numpy as np

from snellen.trace.network import TracedNetwork

_LETTERS = {"weight": "w", "bias": "b", "scale": "γ", "shift": "β"}


def stems(network: TracedNetwork) -> list[str]:
    """Letters of the inputs and of each layer: x, h (h1, h2 of several hidden layers), y."""
    hidden = len(network.layers) - 1
    return ["x", *(f"h{k + 1}" if hidden > 1 else "h" for k in range(hidden)), "y"]


def unit_names(network: TracedNetwork) -> list[list[str]]:
    """Names of the inputs and of the units of each layer, in row order: x1, h1 (h2.1 in the second of several), y.

    The places of a grid are written as [row, column], or [channel, row, column], from 0.
    """
    names = []
    for stem, shape in zip(stems(network), network.shapes, strict=True):
        if len(shape) == 3:
            places = [place if shape[0] > 1 else place[1:] for place in np.ndindex(*shape)]
            names.append([f"{stem}[{','.join(map(str, place))}]" for place in places])
        else:
            dot = "." if stem[-1].isdigit() else ""
            is_single = stem == "y" and shape[0] == 1
            names.append(["y"] if is_single else [f"{stem}{dot}{k + 1}" for k in range(shape[0])])
    return names


def parameter_names(network: TracedNetwork) -> dict[str, list[str]]:
    """Names of the numbers of each parameter "layer.name", in row order, counted over all layers: w1, w2, b1."""
    counts = dict.fromkeys(_LETTERS.values(), 0)
    names = {}
    for key, values in network.parameters.items():
        letter = _LETTERS[key.partition(".")[2]]
        first = counts[letter]
        counts[letter] += values.size
        names[key] = [f"{letter}{first + k + 1}" for k in range(values.size)]
    return names


def describe(network: TracedNetwork) -> str:
    """The layers in one line: "2 inputs → linear 2 (sigmoid) → linear 1"."""
    first = network.shapes[0]
    parts = [f"{first[0]} input{'s' * (first[0] != 1)}" if len(first) == 1 else f"grid {_grid(first)}"]
    for layer, shape in zip(network.layers, network.shapes[1:], strict=True):
        own = f" ({layer.activation})" if layer.activation != "linear" else ""
        parts.append(f"{layer.noun} {shape[0] if len(shape) == 1 else _grid(shape)}{own}")
    return " → ".join(parts)


def _grid(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape if shape[0] > 1 else shape[1:]))
