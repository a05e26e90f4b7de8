"""Multi-layer perceptrons for a trace, from sizes and names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from snellen.core.errors import UsageError, counted
from snellen.trace.activations import Array
from snellen.trace.layers import LinearLayer
from snellen.trace.losses import LOSSES
from snellen.trace.network import TracedNetwork, draw_layers

Rows = Sequence[Sequence[float]]


def mlp(
    inputs: Rows,
    targets: Rows,
    hidden: Sequence[int] = (2,),
    activation: str = "sigmoid",
    output_activation: str | None = None,
    *,
    loss: str = "half-squared",
    lr: float = 0.1,
    bias: bool = True,
    weights: Sequence[float] | None = None,
    biases: Sequence[float] | None = None,
    seed: int = 0,
    name: str = "network",
) -> TracedNetwork:
    """A multi-layer perceptron with its samples.

    Args:
        inputs: (B, D); targets: (B, K).
        hidden: units of each hidden layer; () for none.
        activation: of the hidden layers; output_activation: of the outputs (default: what the loss needs, else linear).
        weights: all weights, by layer, by unit, then by input; None: drawn with `seed`, normal, deviation 1/√n.
        biases: all biases, by layer and unit; None: 0.
    Raises:
        UsageError: a wrong number of weights, or what `TracedNetwork` raises.
    """
    x, t = table(inputs, "inputs"), table(targets, "targets")
    if len(x) != len(t):
        raise UsageError(
            f"There {'is' if len(x) == 1 else 'are'} {counted(len(x), 'sample')} of inputs and {len(t)} of targets",
            "Give one target for every sample.",
        )
    sizes = [x.shape[1], *hidden, t.shape[1]]
    if output_activation is None:
        output_activation = (LOSSES[loss].after if loss in LOSSES else None) or "linear"
    layers = tuple(
        LinearLayer(
            weight=np.zeros((out, n)),
            bias=np.zeros(out) if bias else None,
            activation=output_activation if k == len(sizes) - 2 else activation,
        )
        for k, (n, out) in enumerate(itertools.pairwise(sizes))
    )
    # Limits, names and shapes are checked before anything is drawn.
    network = TracedNetwork(layers=layers, inputs=x, targets=t, loss=loss, lr=lr, name=name)
    values: dict[str, Array] = {}
    if weights is not None:
        values |= _divided(network, "weight", weights)
    if biases is not None:
        if not bias:
            raise UsageError("Biases are given for a network without biases", "Leave out one of both.")
        values |= _divided(network, "bias", biases)
    network = TracedNetwork(
        layers=layers if weights is not None else draw_layers(layers, seed),
        inputs=x,
        targets=t,
        loss=loss,
        lr=lr,
        name=name,
        seed=None if weights is not None else seed,
    )
    return network.with_parameters(values) if values else network


def table(rows: Rows, what: str) -> Array:
    """Rows of numbers as an array; raises UsageError for rows that are empty or differ in length."""
    lengths = [len(row) for row in rows]
    if not lengths or not lengths[0]:
        raise UsageError(f"The {what} are empty", "Give numbers such as 2,3.")
    if len(set(lengths)) > 1:
        row = next(k for k, length in enumerate(lengths) if length != lengths[0])
        raise UsageError(
            f"Sample {row + 1} of the {what} has {counted(lengths[row], 'number')}, the first {lengths[0]}",
            "Give every sample the same numbers; a semicolon begins the next sample.",
        )
    return np.array(rows, dtype=np.float64)


def _divided(network: TracedNetwork, name: str, values: Sequence[float]) -> dict[str, Array]:
    """A flat list of numbers as the parameters of this name."""
    arrays = {key: value for key, value in network.parameters.items() if key.endswith(name)}
    needed = [array.size for array in arrays.values()]
    if len(values) != sum(needed):
        given = counted(len(values), name, "biases" if name == "bias" else "weights")
        verb = "is" if len(values) == 1 else "are"
        raise UsageError(
            f"{given} {verb} given, and the network has {sum(needed)} ({' + '.join(map(str, needed))})",
            "Give them by layer and unit" + (", each unit with one weight per input." if name == "weight" else "."),
        )
    parts = np.split(np.array(values, dtype=np.float64), np.cumsum(needed)[:-1])
    return {key: part.reshape(array.shape) for part, (key, array) in zip(parts, arrays.items(), strict=True)}
