"""B22: universal approximation of functions of one variable, by width, depth and activation.

The theorem states that one hidden layer of enough units comes as near to a continuous function on an interval as one
likes; it states neither how many units that takes nor that training finds their weights. Measured are networks after
training, and a network of ReLU units whose weights are those of interpolation, with the bound of its error.

The first measurement was of three periods of a sine, which training does not fit with one layer. One period was added
after it, with the same training; both are rows of the table.

Source: lecture 004, "Universal approximation theorem"; Cybenko 1989, Hornik 1991 (squashing activations such as the
sigmoid); Leshno, Lin, Pinkus and Schocken 1993 (every activation that is not a polynomial, so ReLU too).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.nn.mlp import MLP
from snellen.reproduce.mlp_ensemble import Recipe, fit, initial_ensemble, predict
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    claim_above,
    claim_below,
    format_value,
    mean_over_seeds,
)

LECTURE = "[lecture] 004"
THEOREMS = {"sigmoid": f"{LECTURE}; Cybenko 1989", "relu": "[paper] Leshno et al. 1993"}
NAMES = {"sigmoid": "sigmoid", "relu": "ReLU"}
FUNCTIONS = {"sin πx": 1, "sin 3πx": 3}  # periods on −1 … 1
WIDTHS, DEPTHS = (2, 8, 32), (1, 2, 3)
SAMPLES, RECIPE = 256, Recipe(epochs=1000, batch_size=32, lr=0.005)
QUICK_EPOCHS = 100
PIECES = (4, 8, 16, 32, 64)


class Trial(NamedTuple):
    """A function, and the activation, hidden layers and units per layer of a network that is trained on it."""

    function: str
    activation: str
    depth: int
    width: int

    def __str__(self) -> str:
        return f"{self.function}, {NAMES[self.activation]} {'-'.join([str(self.width)] * self.depth)}"


def sine(x: Tensor, periods: int) -> Tensor:
    """sin πkx, k periods on −1 … 1; its largest second derivative is (πk)²."""
    return torch.sin(math.pi * periods * x)


def points(count: int) -> Tensor:
    """(N, 1) evenly spaced x from −1 to 1, float64."""
    return torch.linspace(-1, 1, count, dtype=torch.float64)[:, None]


def largest_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Largest |F(x) − f(x)| of outputs (..., N, 1) and targets (N, 1): (...)."""
    return (outputs.double() - targets).abs().amax((-2, -1))


def interpolating_network(function: Callable[[Tensor], Tensor], pieces: int) -> MLP:
    """One hidden layer of ReLU units that interpolates a function at evenly spaced points of −1 … 1, without training.

    F(x) = f(x₀) + Σ_k (s_k − s_{k−1}) ReLU(x − x_k) with s_k the slope between x_k and x_{k+1} and s_{−1} = 0. Between
    its points |F − f| ≤ h²/8 · max |f''|.

    Args:
        function: (N, 1) x to (N, 1), float64.
        pieces: n, the number of hidden units; n + 1 points at distance h = 2/n.
    Source: de Boor 1978, "A Practical Guide to Splines", chapter III, for the bound.
    """
    knots = points(pieces + 1)
    values = function(knots)
    slopes = values.diff(dim=0) / knots.diff(dim=0)  # (n, 1)
    network = MLP((1, pieces, 1), "relu").double()
    hidden, output = network.layers
    with torch.no_grad():
        hidden.weight.fill_(1.0)  # type: ignore[operator]
        hidden.bias.copy_(-knots[:-1, 0])  # type: ignore[operator]
        output.weight.copy_(slopes.diff(dim=0, prepend=torch.zeros(1, 1).double()).t())  # type: ignore[operator]
        output.bias.copy_(values[0])  # type: ignore[operator]
    return network


def interpolation_ratio(pieces: int, periods: int) -> float:
    """Largest error of the network that interpolates a sine, divided by its bound h²/8 · max |f''|."""
    x = points(10_001)
    network = interpolating_network(lambda x: sine(x, periods), pieces)
    with torch.no_grad():
        error = largest_error(network(x), sine(x, periods))
    return float(error) / ((2 / pieces) ** 2 / 8 * (math.pi * periods) ** 2)


def trained_errors(trial: Trial, options: MeasureOptions) -> list[float]:
    """Largest error of a network after training, for each seed."""
    recipe = dataclasses.replace(RECIPE, epochs=QUICK_EPOCHS) if options.quick else RECIPE
    periods, seeds = FUNCTIONS[trial.function], range(options.seeds)
    x = points(SAMPLES)
    inputs, targets = (values.float().to(options.device) for values in (x, sine(x, periods)))
    ensemble = initial_ensemble((1, *[trial.width] * trial.depth, 1), trial.activation, seeds).to(options.device)
    progress = options.progress

    def done(epoch: int) -> None:
        if progress is not None:
            progress.update(str(trial), epoch, recipe.epochs, {})

    fit(ensemble, inputs, targets, seeds, recipe, done)
    x = points(1001)
    outputs = predict(ensemble, x.float().to(options.device)).cpu()
    errors: list[float] = largest_error(outputs, sine(x, periods)).tolist()
    return errors


def layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def interpolation_row(pieces: int) -> str:
    return f"sin 3πx, ReLU, {pieces} units by interpolation: error ÷ bound"


def comparisons() -> Iterator[tuple[str, str, Trial, Trial]]:
    """Name and source of a row, and the two networks whose errors are compared."""
    for function, act in itertools.product(FUNCTIONS, THEOREMS):
        for depth in DEPTHS:
            for a, b in itertools.pairwise(WIDTHS):
                name = f"{function}, {NAMES[act]}, {layers(depth)}: error of {a} units less that of {b}"
                yield name, THEOREMS[act], Trial(function, act, depth, a), Trial(function, act, depth, b)
        for a, b in itertools.pairwise(DEPTHS):
            name = f"{function}, {NAMES[act]}, {WIDTHS[1]} units: error of {layers(a)} less that of {b}"
            source = f"{LECTURE}: capacity grows with depth"
            yield name, source, Trial(function, act, a, WIDTHS[1]), Trial(function, act, b, WIDTHS[1])


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    for pieces in PIECES:
        yield interpolation_row(pieces), Measurement(value=interpolation_ratio(pieces, FUNCTIONS["sin 3πx"]))
    errors: dict[Trial, list[float]] = {}
    for row, _, *trials in comparisons():
        for trial in trials:
            if trial not in errors:
                errors[trial] = trained_errors(trial, options)
        first, second = (errors[trial] for trial in trials)
        mean = mean_over_seeds([a - b for a, b in zip(first, second, strict=True)])
        medians = " and ".join(format_value(statistics.median(values)) for values in (first, second))
        yield (
            row,
            dataclasses.replace(
                mean,
                over=f"{options.seeds:,} seeds, medians {medians}" if mean.over else "",
                scaled=options.quick,
                deviations=(f"{QUICK_EPOCHS} epochs",) if options.quick else (),
            ),
        )


def seconds(options: MeasureOptions) -> float:
    trials = {trial for _, _, *pair in comparisons() for trial in pair}
    epochs = QUICK_EPOCHS if options.quick else RECIPE.epochs
    return len(trials) * epochs * (0.0025 + 0.00005 * options.seeds)


TABLE = PublishedTable(
    name="approximation",
    title="B22: universal approximation of functions of one variable",
    setup="A theorem: one hidden layer with enough units comes as near to a continuous function as one likes. It "
    "states neither how many units nor that training finds their weights.",
    unit="largest error on −1 … 1",
    rows=(
        *(
            TableRow(
                name=interpolation_row(pieces),
                published=claim_below(1, "[paper] de Boor 1978, chapter III: h²/8 · max |f''|", "at most 1"),
            )
            for pieces in PIECES
        ),
        *(TableRow(name=row, published=claim_above(0, source)) for row, source, *_ in comparisons()),
    ),
    seeds=10,
    quick_seeds=5,
    seconds=seconds,
    measure=measure,
    deviations=(
        f"our choice of the training: {SAMPLES} evenly spaced samples, PyTorch's initial weights, "
        f"Adam, {RECIPE.epochs:,} epochs, batch size {RECIPE.batch_size}, one-cycle learning rate up to {RECIPE.lr:g}",
        "our choice of the functions: three periods of a sine, and one, added after the first measurement",
    ),
)
