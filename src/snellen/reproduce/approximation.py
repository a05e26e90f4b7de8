"""B22: universal approximation of a function of one variable, by width, depth and activation.

The theorem states that one hidden layer of enough units comes as near to a continuous function on an interval as one
likes; it states neither how many units that takes nor that training finds their weights. Measured are networks after
training, and a network of ReLU units whose weights are those of interpolation, with the bound of its error. Both
function and training were chosen before the first measurement.

Source: lecture 004, "Universal approximation theorem"; Cybenko 1989, Hornik 1991 (squashing activations such as the
sigmoid); Leshno, Lin, Pinkus and Schocken 1993 (every activation that is not a polynomial, so ReLU too).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterator

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
WIDTHS, DEPTHS = (2, 4, 8, 16, 32), (1, 2, 3)
DEPTH_WIDTH = 8  # units of each layer in the comparison of depths
SAMPLES, RECIPE = 256, Recipe(epochs=1000, batch_size=32, lr=0.005)
QUICK_EPOCHS = 100
PIECES = (4, 8, 16, 32, 64)
CURVATURE = 9 * math.pi**2  # largest |f''|


def function(x: Tensor) -> Tensor:
    """f(x) = sin 3πx, three periods on −1 … 1."""
    return torch.sin(3 * math.pi * x)


def points(count: int) -> Tensor:
    """(N, 1) evenly spaced x from −1 to 1, float64."""
    return torch.linspace(-1, 1, count, dtype=torch.float64)[:, None]


def largest_error(outputs: Tensor, x: Tensor) -> Tensor:
    """Largest |F(x) − f(x)| of outputs (..., N, 1) at x (N, 1): (...)."""
    return (outputs.double() - function(x)).abs().amax((-2, -1))


def interpolating_network(target: Callable[[Tensor], Tensor], pieces: int) -> MLP:
    """One hidden layer of ReLU units that interpolates a function at evenly spaced points of −1 … 1, without training.

    F(x) = f(x₀) + Σ_k (s_k − s_{k−1}) ReLU(x − x_k) with s_k the slope between x_k and x_{k+1} and s_{−1} = 0. Between
    its points |F − f| ≤ h²/8 · max |f''|.

    Args:
        pieces: n, the number of hidden units; n + 1 points at distance h = 2/n.
    Source: de Boor 1978, "A Practical Guide to Splines", chapter III, for the bound.
    """
    knots = points(pieces + 1)
    values = target(knots)
    slopes = values.diff(dim=0) / knots.diff(dim=0)  # (n, 1)
    network = MLP((1, pieces, 1), "relu").double()
    hidden, output = network.layers
    with torch.no_grad():
        hidden.weight.fill_(1.0)  # type: ignore[operator]
        hidden.bias.copy_(-knots[:-1, 0])  # type: ignore[operator]
        output.weight.copy_(slopes.diff(dim=0, prepend=torch.zeros(1, 1).double()).t())  # type: ignore[operator]
        output.bias.copy_(values[0])  # type: ignore[operator]
    return network


def interpolation_ratio(pieces: int) -> float:
    """Largest error of the interpolating network, divided by its bound h²/8 · max |f''|."""
    x = points(10_001)
    with torch.no_grad():
        error = largest_error(interpolating_network(function, pieces)(x), x)
    return float(error) / ((2 / pieces) ** 2 / 8 * CURVATURE)


def trained_errors(activation_name: str, depth: int, width: int, options: MeasureOptions) -> list[float]:
    """Largest error of a network after training, for each seed."""
    recipe = dataclasses.replace(RECIPE, epochs=QUICK_EPOCHS) if options.quick else RECIPE
    x = points(SAMPLES)
    inputs, targets = (values.float().to(options.device) for values in (x, function(x)))
    seeds = range(options.seeds)
    ensemble = initial_ensemble((1, *[width] * depth, 1), activation_name, seeds).to(options.device)
    progress, name = options.progress, f"{NAMES[activation_name]} {'-'.join([str(width)] * depth)}"

    def done(epoch: int) -> None:
        if progress is not None:
            progress.update(name, epoch, recipe.epochs, {})

    fit(ensemble, inputs, targets, seeds, recipe, done)
    x = points(1001)
    errors: list[float] = largest_error(predict(ensemble, x.float().to(options.device)).cpu(), x).tolist()
    return errors


def width_row(activation_name: str, depth: int, before: int, after: int) -> str:
    layers = "1 layer" if depth == 1 else f"{depth} layers"
    return f"{NAMES[activation_name]}, {layers}: largest error of {before} units less that of {after}"


def depth_row(activation_name: str, before: int, after: int) -> str:
    first = "1 layer" if before == 1 else f"{before} layers"
    return f"{NAMES[activation_name]}, {DEPTH_WIDTH} units: largest error of {first} less that of {after}"


def interpolation_row(pieces: int) -> str:
    return f"ReLU, {pieces} units by interpolation: largest error ÷ bound h²/8 · max |f''|"


def comparisons() -> Iterator[tuple[str, tuple[str, int, int], tuple[str, int, int]]]:
    """Name of a row, and activation, depth and width of the two networks whose errors are compared."""
    for act in THEOREMS:
        for a, b in itertools.pairwise(WIDTHS):
            yield width_row(act, 1, a, b), (act, 1, a), (act, 1, b)
    for act in THEOREMS:
        for depth in DEPTHS:
            ends = WIDTHS[0], WIDTHS[-1]
            yield width_row(act, depth, *ends), (act, depth, ends[0]), (act, depth, ends[1])
    for act in THEOREMS:
        for a, b in itertools.pairwise(DEPTHS):
            yield depth_row(act, a, b), (act, a, DEPTH_WIDTH), (act, b, DEPTH_WIDTH)


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    for pieces in PIECES:
        yield interpolation_row(pieces), Measurement(value=interpolation_ratio(pieces))
    errors: dict[tuple[str, int, int], list[float]] = {}
    for row, *networks in comparisons():
        for network in networks:
            if network not in errors:
                errors[network] = trained_errors(*network, options)
        first, second = (errors[network] for network in networks)
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
    networks = {network for _, *pair in comparisons() for network in pair}
    epochs = QUICK_EPOCHS if options.quick else RECIPE.epochs
    return len(networks) * epochs * (0.002 + 0.0002 * options.seeds)


def _source(row: str, activation_name: str) -> str:
    is_depth = f", {DEPTH_WIDTH} units" in row
    return f"{LECTURE}: capacity grows with depth" if is_depth else THEOREMS[activation_name]


TABLE = PublishedTable(
    name="approximation",
    title="B22: universal approximation of a function of one variable",
    setup="A theorem: with enough units, one hidden layer comes as near to a continuous function as one likes. It "
    "promises neither a number of units nor that training reaches them.",
    unit="largest error on −1 … 1 of f(x) = sin 3πx",
    rows=(
        *(
            TableRow(
                name=interpolation_row(pieces),
                published=claim_below(1, "[paper] de Boor 1978, chapter III", "at most 1"),
            )
            for pieces in PIECES
        ),
        *(TableRow(name=row, published=claim_above(0, _source(row, first[0]))) for row, first, _ in comparisons()),
    ),
    seeds=10,
    quick_seeds=5,
    seconds=seconds,
    measure=measure,
    deviations=(
        f"our choice of the training: {SAMPLES} evenly spaced samples, PyTorch's initial weights, "
        f"Adam, {RECIPE.epochs:,} epochs, batch size "
        f"{RECIPE.batch_size}, one-cycle learning rate up to {RECIPE.lr:g}",
    ),
)
