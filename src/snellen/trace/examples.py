"""Built-in examples of `snellen trace`: networks of the lectures, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snellen.core.errors import UsageError, suggest_name
from snellen.trace import remarks
from snellen.trace.building import mlp
from snellen.trace.layers import BatchNormLayer, ConvolutionLayer, LinearLayer, MaxPoolLayer, MeanPoolLayer
from snellen.trace.network import TracedNetwork
from snellen.trace.remarks import Remark

POOLED_GRID = ((1, 4, 3, 6), (2, 1, 0, 9), (2, 2, 7, 7), (5, 3, 3, 6))  # lecture 003


@dataclass(frozen=True, kw_only=True)
class TraceExample:
    """A built-in example; its line in the list is in `names.py`.

    Args:
        title: heading of the page.
        build: the network, drawn with a seed (ignored where the weights are given).
        steps: updates unless others are asked for; seeds: trainings of the section on seeds, 0 for none.
        remarks: what to compare with the lecture.
    """

    name: str
    title: str
    build: Callable[[int], TracedNetwork]
    steps: int = 1
    seeds: int = 0
    remarks: Callable[[TracedNetwork], list[Remark]] = lambda network: []


def by_hand(seed: int = 0) -> TracedNetwork:
    """Lecture 003, backpropagation by hand: two inputs, two hidden units, one output, linear, without biases."""
    return mlp(
        [[2, 3]], [[1]], (2,), "linear", lr=0.05, bias=False, weights=(0.11, 0.21, 0.12, 0.08, 0.14, 0.15),
        name="lecture003",
    )  # fmt: skip


def sigmoid_network(seed: int = 0) -> TracedNetwork:
    """Lecture 001, h = σ(A x + a), y = σ(B h + b). The lecture prints no numbers; these are made up."""
    return mlp(
        [[0.5, -1]], [[1, 0]], (2,), "sigmoid", "sigmoid", lr=0.5, name="lecture001",
        weights=(0.4, -0.6, 0.3, 0.8, 0.7, -0.5, -0.2, 0.9), biases=(0.1, -0.2, 0.05, 0.3),
    )  # fmt: skip


def mario(seed: int = 0) -> TracedNetwork:
    """Lecture 002, the next position from three: two hidden layers of sigmoids, linear output; drawn weights."""
    return mlp(
        [[22.5, 24.7, 25.3]], [[25.9]], (4, 4), "sigmoid", "linear", lr=0.01, seed=seed, name="mario"
    )  # fmt: skip


def xor(seed: int = 0) -> TracedNetwork:
    """XOR by two hidden units: all four samples in every step, binary cross-entropy."""
    return mlp(
        [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]], (2,), "sigmoid", loss="bce", lr=1.0, seed=seed,
        name="xor",
    )  # fmt: skip


def softmax(seed: int = 0) -> TracedNetwork:
    """Three classes by softmax and cross-entropy, whose δ is p − t."""
    return mlp(
        [[1, 2]], [[0, 1, 0]], (), loss="cross-entropy", lr=0.5, weights=(0.5, -0.25, 0.1, 0.2, -0.3, 0.4),
        biases=(0, 0, 0), name="softmax",
    )  # fmt: skip


def convolution(seed: int = 0) -> TracedNetwork:
    """The 4 x 4 grid of lecture 003, through an identity kernel of 3 x 3, and its 2 x 2 max pooling."""
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, 1, 1] = 1
    return TracedNetwork(
        layers=(ConvolutionLayer(weight=kernel, padding=1), MaxPoolLayer()),
        inputs=_grid(POOLED_GRID),
        targets=_grid(((3, 8), (4, 6))),
        lr=0.001,
        name="convolution",
    )


def mean_pool(seed: int = 0) -> TracedNetwork:
    """The 4 x 4 grid of lecture 003 and its 2 x 2 mean pooling."""
    return TracedNetwork(
        layers=(MeanPoolLayer(),), inputs=_grid(POOLED_GRID), targets=_grid(((1, 3.5), (2, 4.75))), name="mean-pool"
    )


def batch_norm(seed: int = 0) -> TracedNetwork:
    """Batch normalisation of four samples with two features, then a linear unit. The numbers are made up."""
    return TracedNetwork(
        layers=(
            BatchNormLayer(scale=np.ones(2), shift=np.zeros(2)),
            LinearLayer(weight=np.array([[0.5, -0.25]]), bias=np.zeros(1)),
        ),
        inputs=np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0], [6.0, 40.0]]),
        targets=np.array([[0.0], [1.0], [1.0], [0.0]]),
        lr=0.1,
        name="batch-norm",
    )


def _grid(rows: tuple[tuple[float, ...], ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(rows, dtype=np.float64)[None, None]


EXAMPLES: dict[str, TraceExample] = {
    example.name: example
    for example in (
        TraceExample(
            name="lecture003",
            title="Backpropagation by hand (lecture 003)",
            build=by_hand,
            remarks=remarks.by_hand,
        ),
        TraceExample(
            name="lecture001",
            title="A network of sigmoids (lecture 001)",
            build=sigmoid_network,
            remarks=remarks.sigmoid_network,
        ),
        TraceExample(
            name="mario",
            title="The next position of Mario (lecture 002)",
            build=mario,
            remarks=remarks.mario,
        ),
        TraceExample(
            name="xor",
            title="XOR by two hidden units (lecture 003)",
            build=xor,
            steps=1000,
            seeds=100,
            remarks=remarks.xor,
        ),
        TraceExample(
            name="softmax",
            title="Softmax and cross-entropy",
            build=softmax,
            remarks=remarks.softmax,
        ),
        TraceExample(
            name="convolution",
            title="Convolution and max pooling (lecture 003)",
            build=convolution,
            remarks=remarks.convolution,
        ),
        TraceExample(
            name="mean-pool",
            title="Mean pooling (lecture 003)",
            build=mean_pool,
            remarks=remarks.mean_pool,
        ),
        TraceExample(
            name="batch-norm",
            title="Batch normalisation (lecture 002)",
            build=batch_norm,
            remarks=remarks.batch_norm,
        ),
    )
}


def example(name: str, seed: int = 0) -> TracedNetwork:
    """The network of a built-in example; raises UsageError for an unknown name.

    Args:
        seed: of drawn weights (`mario`, `xor`).
    """
    if name not in EXAMPLES:
        raise UsageError(f"{name!r} is not an example of snellen trace", suggest_name(name, list(EXAMPLES)))
    return EXAMPLES[name].build(seed)
