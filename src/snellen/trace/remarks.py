"""What a trace of a built-in example is compared with: printed values of the slides, and slips in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snellen.trace.layers import BatchNormLayer
from snellen.trace.network import TracedNetwork, run_pass


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Sentences, and a table of text below them."""

    title: str
    lines: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def _pass(network: TracedNetwork):  # type: ignore[no-untyped-def]
    return run_pass(network.layers, network.inputs, network.targets, network.loss)


def by_hand(network: TracedNetwork) -> list[Remark]:
    """New weights beside those that the slide prints, rounded to two decimals."""
    old = _flat(network)
    traced = _pass(network)
    gradient = np.concatenate([traced.gradients["0.weight"].ravel(), traced.gradients["1.weight"].ravel()])
    new = old - network.lr * gradient
    slide = np.array([0.12, 0.23, 0.13, 0.10, 0.17, 0.17])
    rows = [
        (
            f"w{k + 1}",
            f"{new[k]:.7g}",
            f"{slide[k]:.2f}",
            "is its rounding" if round(new[k], 2) == slide[k] else "differs",
        )
        for k in range(6)
    ]
    updated = network.with_parameters({"0.weight": new[:4].reshape(2, 2), "1.weight": new[4:].reshape(1, 2)})
    rounded = network.with_parameters({"0.weight": slide[:4].reshape(2, 2), "1.weight": slide[4:].reshape(1, 2)})
    delta = float(traced.gradients["1.z"][0, 0])
    wrong = old[0] - network.lr * delta * new[4] * float(network.inputs[0, 0])
    return [
        Remark(
            title="Exact values beside the slide",
            lines=[
                "The slide prints the new weights with two decimals, in the layout [w1 w3; w2 w4]: "
                "0.12 0.13; 0.23 0.10, and 0.17 0.17. Each is the exact value, rounded; nothing is transposed.",
                f"The next prediction is {_pass(updated).a[-1][0, 0]:.5f} from the exact weights, and "
                f"{_pass(rounded).a[-1][0, 0]:.4f} from the rounded ones.",
                f"The update of w1 to w4 uses the old w5 and w6. With the new w5, w1 would become {wrong:.5f}, "
                "which is wrong: ∂E/∂w1 is the gradient at the old weights.",
                "The chain rule of the slide begins with ½ (y − t)² in place of its derivative by "
                "y; its next line is right.",
            ],
            columns=("weight", "exact", "slide", "the slide's value"),
            rows=rows,
        )
    ]


def _flat(network: TracedNetwork) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.concatenate([value.ravel() for value in network.parameters.values()])


def sigmoid_network(network: TracedNetwork) -> list[Remark]:
    """The lecture's formulas of δ with the numbers of the pass."""
    traced = _pass(network)
    y, t, h = traced.a[1][0], network.targets[0], traced.a[0][0]
    weight = network.parameters["1.weight"]
    delta = (y - t) * y * (1 - y)
    sums = delta @ weight
    rows = [
        *(
            (f"y{j + 1}", f"(y − t) y (1 − y) = {y[j] - t[j]:.5f} · {y[j] * (1 - y[j]):.5f}", f"{delta[j]:.7f}")
            for j in range(len(y))
        ),
        *(
            (
                f"h{i + 1}",
                f"y (1 − y) Σ δ w = {h[i] * (1 - h[i]):.5f} · {sums[i]:.5f}",
                f"{h[i] * (1 - h[i]) * sums[i]:.7f}",
            )
            for i in range(len(h))
        ),
    ]
    return [
        Remark(
            title="The formulas of the lecture",
            lines=[
                "Outputs: δ_j = (y_j − t_j) y_j (1 − y_j). Hidden units: δ_i = y_i (1 − y_i) Σ_j δ_j w_ji. "
                "Weights: ∂E/∂w_ji = δ_j y_i.",
                "The lecture prints no numbers: inputs, targets and weights are made up. Its “update gradients” means "
                "weights, and its “3 layers” counts the input.",
            ],
            columns=("unit", "δ by the lecture", "δ"),
            rows=rows,
        )
    ]


def mario(network: TracedNetwork) -> list[Remark]:
    """The forward pass in the order of the lecture's code."""
    a = _pass(network).a
    vectors = [", ".join(f"{v:.5f}" for v in layer[0]) for layer in a]
    return [
        Remark(
            title="The lecture's code",
            lines=[
                "Three positions 22.5, 24.7, 25.3 give the next one: out = W3 f(W2 f(W1 x + b1) + b2) + b3.",
                "The lecture gives neither weights nor sizes nor the answer: the weights are drawn from a seed and are "
                "made up, so are four units in each hidden layer, and the target 25.9 (25.3 plus the last difference).",
                "Inputs near 25 saturate the sigmoids: their derivatives, and the gradients of W1, are small.",
            ],
            columns=("line", "value"),
            rows=[
                ("h1 = f(W1 x + b1)", vectors[0]),
                ("h2 = f(W2 h1 + b2)", vectors[1]),
                ("out = W3 h2 + b3", vectors[2]),
            ],
        )
    ]


def xor(network: TracedNetwork) -> list[Remark]:
    return [
        Remark(
            title="Why two hidden units",
            lines=[
                "No line separates (0, 1) and (1, 0) from (0, 0) and (1, 1): a perceptron never succeeds. Two hidden "
                "units draw two lines.",
                "The loss has regions where descent stops or becomes very slow, so some seeds fail.",
            ],
        )
    ]


def softmax(network: TracedNetwork) -> list[Remark]:
    return [
        Remark(
            title="Two slips of the lectures",
            lines=[
                "The largest pre-activation is subtracted before exp, over the classes of one sample; the code of "
                "lecture 003 does neither, overflows at 1000, and sums over a whole batch.",
                "The pre-activations enter softmax as they are. With a sigmoid before it (lecture 004) no probability "
                "of ten classes could exceed e / (e + 9) = 0.232.",
            ],
        )
    ]


def convolution(network: TracedNetwork) -> list[Remark]:
    return [
        Remark(
            title="The path of the gradient",
            lines=[
                "The kernel is the identity, so its output is the grid of lecture 003. Max pooling gives 4, 9; 5, 7.",
                "The targets are one less than each maximum, so that δ = 1 at every output.",
                "Only the largest value of each window gets a gradient. The lower right window has two values of 7: "
                "the first in row order gets all of it, as in PyTorch on a CPU. There E has a kink.",
                "At a kink no finite difference exists.",
            ],
        )
    ]


def mean_pool(network: TracedNetwork) -> list[Remark]:
    return [
        Remark(
            title="The path of the gradient",
            lines=[
                "Mean pooling gives 2, 4.5; 3, 5.75. Each of the four values of a window gets a quarter of its δ.",
                "The targets are one less than each mean, so that δ = 1 at every output.",
            ],
        )
    ]


def batch_norm(network: TracedNetwork) -> list[Remark]:
    """ε inside the root, beside the slide's form."""
    layer = network.layers[0]
    assert isinstance(layer, BatchNormLayer)
    mean, variance = layer.statistics(network.inputs)
    x_hat = layer.normalised(network.inputs)
    slide = (network.inputs - mean) / (np.sqrt(variance) + layer.eps)
    rows = [
        (f"{k + 1}", f"{mean[0, k]:.7g}", f"{variance[0, k]:.7g}", f"{x_hat[0, k]:.9f}", f"{slide[0, k]:.9f}")
        for k in range(x_hat.shape[1])
    ]
    return [
        Remark(
            title="ε inside the root",
            lines=[
                "x̂ = (x − mean) / √(var + ε), with the variance of the batch divided by its size. Lecture 002 writes "
                "(x − avg) / (stddev + ε): for a constant feature the divisors are √ε = 0.00316 and ε = 0.00001.",
                "The layer fixes mean and variance of each feature, not its distribution (“force Gaussian” on the "
                "slide). "
                "In evaluation, running statistics take the place of those of the batch.",
            ],
            columns=("feature", "mean", "var", "x̂ of sample 1", "slide's form"),
            rows=rows,
        )
    ]
