"""N3: an image as a surface I = f(x, y), fitted by networks of one, two and three hidden layers.

The lecture prints five losses and none of the conditions. The choices below were made before the first measurement and
were not changed after it: the recipe is that of the learner `mlp` for regression, with ten times its epochs.

Source: lecture 004, "Interpolating an image"; the weights follow from the sizes of the layers.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Sequence

from torch import Tensor

from snellen.reproduce.image_surface import standardised
from snellen.reproduce.mlp_ensemble import MLPEnsemble, Recipe, fit, initial_ensemble, predict
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    claim_above,
    format_value,
    mean_over_seeds,
    printed_value,
)

LECTURE = "[lecture] 004"
PRINTED = {  # hidden layers -> weights, loss
    (125,): ("501", "2.40e-01"),
    (20, 20): ("501", "8.31e-02"),
    (14, 14, 14): ("477", "7.55e-02"),
    (15, 15, 15): ("541", "5.93e-02"),
    (19, 19, 19): ("837", "4.38e-02"),
}
ACTIVATION = "tanh"
SIDE, RECIPE = 64, Recipe(epochs=1000, batch_size=64, lr=0.003)
QUICK_SIDE, QUICK_RECIPE = 32, Recipe(epochs=60, batch_size=64, lr=0.003)

RATIO = "loss of 125 ÷ that of 20-20"
ORDER = "pairs of neighbouring rows whose median loss falls"
PAIRS = tuple(itertools.pairwise(PRINTED))


def label(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


def pair_label(before: Sequence[int], after: Sequence[int]) -> str:
    return f"loss of {label(before)} less that of {label(after)}"


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    deviation = f"{QUICK_SIDE}×{QUICK_SIDE} pixels, {QUICK_RECIPE.epochs} epochs"
    deviations = (deviation,) if options.quick else ()

    def over_seeds(values: Sequence[float]) -> Measurement:
        mean = mean_over_seeds(values)
        over = f"{len(values):,} seeds, median {format_value(statistics.median(values))}" if mean.over else ""
        return dataclasses.replace(mean, over=over, scaled=options.quick, deviations=deviations)

    losses: dict[tuple[int, ...], list[float]] = {}
    for hidden in PRINTED:
        yield f"{label(hidden)}, weights", Measurement(value=untrained(hidden, range(1)).num_weights())
        losses[hidden] = final_losses(train_networks(hidden, options), options)
        yield f"{label(hidden)}, loss", over_seeds(losses[hidden])
    for before, after in PAIRS:
        yield (
            pair_label(before, after),
            over_seeds([a - b for a, b in zip(losses[before], losses[after], strict=True)]),
        )
    medians = [statistics.median(values) for values in losses.values()]
    falls = over_seeds([count_falls(values) for values in zip(*losses.values(), strict=True)])
    over = f"medians of {options.seeds:,} seeds" if falls.over else ""
    yield ORDER, dataclasses.replace(falls, value=count_falls(medians), low=None, high=None, over=over)
    yield RATIO, over_seeds([a / b for a, b in zip(losses[125,], losses[20, 20], strict=True)])


def count_falls(values: Sequence[float]) -> int:
    """Number of values that are below their predecessor."""
    return sum(b < a for a, b in itertools.pairwise(values))


def image(options: MeasureOptions) -> tuple[Tensor, Tensor]:
    """(N, 2) positions and (N, 1) standardised grey values, float32."""
    x, y = standardised(QUICK_SIDE if options.quick else SIDE)
    return x.float().to(options.device), y.float().to(options.device)


def untrained(hidden: tuple[int, ...], seeds: Sequence[int]) -> MLPEnsemble:
    return initial_ensemble((2, *hidden, 1), ACTIVATION, seeds)


def train_networks(hidden: tuple[int, ...], options: MeasureOptions) -> MLPEnsemble:
    """Trained networks, one for each seed."""
    recipe = QUICK_RECIPE if options.quick else RECIPE
    seeds = range(options.seeds)
    ensemble = untrained(hidden, seeds).to(options.device)
    progress = options.progress

    def done(epoch: int) -> None:
        if progress is not None:
            progress.update(label(hidden), epoch, recipe.epochs, {})

    fit(ensemble, *image(options), seeds, recipe, done)
    return ensemble


def final_losses(ensemble: MLPEnsemble, options: MeasureOptions) -> list[float]:
    """Mean squared error of each network over the image."""
    x, y = image(options)
    losses: list[float] = (predict(ensemble, x) - y).square().mean((1, 2)).tolist()
    return losses


def seconds(options: MeasureOptions) -> float:
    """Estimated seconds; most of the time of a step on few weights does not depend on the number of seeds."""
    side, recipe = (QUICK_SIDE, QUICK_RECIPE) if options.quick else (SIDE, RECIPE)
    return len(PRINTED) * recipe.epochs * (side / SIDE) ** 2 * (0.014 + 0.0015 * options.seeds)


TABLE = PublishedTable(
    name="surface",
    title="N3: an image as a surface, by networks of one, two and three layers",
    setup="Position (x, y) → hidden layers → grey value; image, scaling, grid, activation, optimizer, epochs and "
    "whether the loss is a sum or a mean are not stated.",
    unit="weights; loss: mean squared error of grey values with variance 1",
    rows=(
        *(
            row
            for hidden, (weights, loss) in PRINTED.items()
            for row in (
                TableRow(name=f"{label(hidden)}, weights", published=printed_value(weights, LECTURE)),
                TableRow(name=f"{label(hidden)}, loss", published=printed_value(loss, LECTURE)),
            )
        ),
        *(
            TableRow(name=pair_label(before, after), published=claim_above(0, f"{LECTURE}: falling"))
            for before, after in PAIRS
        ),
        TableRow(name=ORDER, published=printed_value("4", f"{LECTURE}: falling")),
        TableRow(name=RATIO, published=printed_value("2.9", f"{LECTURE}, computed")),
    ),
    seeds=10,
    quick_seeds=5,
    seconds=seconds,
    measure=measure,
    deviations=(
        f"our choice of the image: synthetic, {SIDE}×{SIDE} pixels, a landscape with smooth shading and sharp edges",
        "our choice of the scaling: positions in −1 … 1, grey values with mean 0 and variance 1: loss 1 is that of the "
        "best constant",
        f"our choice of the training: {ACTIVATION}, PyTorch's initial weights, all pixels, "
        f"Adam, {RECIPE.epochs:,} epochs, batch size "
        f"{RECIPE.batch_size}, one-cycle learning rate up to {RECIPE.lr:g}",
    ),
)
