"""N2: polynomial curve fitting, order M, to ten noisy samples of sin 2πx.

The ten samples of the book are not part of this package. A printed coefficient belongs to one draw of the noise; other
draws give the interval in which it may lie.

Source: lecture 001, "Polynomial curve fitting"; Bishop 2006, section 1.1 and table 1.1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    PublishedValue,
    TableRow,
    mean_over_seeds,
    prediction_interval,
    printed_value,
)
from snellen.tasks.regress.polynomial import MAX_DEGREE, Polynomial, mse_by_degree
from snellen.tasks.regress.ridge import ridge_weights, standardized_svd

SAMPLES, NOISE = 10, 0.3
PRINTED = {  # M -> w0, w1, ...
    0: ("0.19",),
    1: ("0.82", "-1.27"),
    3: ("0.31", "7.99", "-25.43", "17.37"),
    9: ("0.35", "232.37", "-5321.83"),
}
BOOK = "[paper] Bishop 2006, table 1.1"
THROUGH = {f"M = {order} through {order + 1} points, E": (order, order + 1) for order in (1, 2, 9)}
CHOSEN = "M with the least error on samples left out one by one, median"


def samples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(N, 1) x, evenly spaced from 0 to 1, and (N, 1) t = sin 2πx + noise, float64."""
    x = torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator(seed, "reproduce", "curve-fit"))
    return x, torch.sin(2 * math.pi * x) + NOISE * noise


def fitted(x: Tensor, t: Tensor, order: int) -> Polynomial:
    """Least-squares polynomial of a given order, by the closed form of the learner."""
    model = Polynomial(1, 1, order)
    model.middle.fill_(0.5)
    model.radius.fill_(0.5)
    model.w.copy_(ridge_weights(standardized_svd(model.powers(x, order)), t, 0.0))
    return model


def error(order: int, count: int, seed: int) -> float:
    """Sum-of-squares error E = ½ Σ (y − t)² of a fit."""
    x, t = samples(count, seed)
    return float((fitted(x, t, order).predict(x) - t).square().sum() / 2)


def chosen(seed: int) -> int:
    """The order that leave-one-out cross-validation selects."""
    x, t = samples(SAMPLES, seed)
    model = fitted(x, t, MAX_DEGREE)
    errors = mse_by_degree(model, x, t)
    return errors.index(min(errors))


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    for row, (order, count) in THROUGH.items():
        yield (
            row,
            Measurement(
                value=max(error(order, count, seed) for seed in range(options.seeds)),
                over=f"the largest of {options.seeds:,} draws",
            ),
        )
    for order, printed in PRINTED.items():
        draws = [fitted(*samples(SAMPLES, seed), order).coefficients()[0, 0].tolist() for seed in range(options.seeds)]
        for power in range(len(printed)):
            yield coefficient(order, power), prediction_interval([draw[power] for draw in draws])
    orders = [chosen(seed) for seed in range(options.seeds)]
    mean = mean_over_seeds(orders, "draws")
    yield CHOSEN, Measurement(value=statistics.median(orders), over=mean.over, each=mean.each)


def coefficient(order: int, power: int) -> str:
    return f"M = {order}, w{power}"


TABLE = PublishedTable(
    name="curve-fit",
    title="N2: polynomials fitted to ten samples of sin 2πx",
    setup="Ten evenly spaced samples from 0 to 1 with noise; their values are not printed in the lecture.",
    unit="coefficients, and E = ½ Σ (y − t)²",
    rows=(
        *(
            TableRow(name=row, published=PublishedValue(text="0", low=0, high=1e-12, source="[lecture] 001"))
            for row in THROUGH
        ),
        *(
            TableRow(name=coefficient(order, power), published=printed_value(text, BOOK))
            for order, printed in PRINTED.items()
            for power, text in enumerate(printed)
        ),
        TableRow(name=CHOSEN, published=printed_value("3", "[paper] Bishop 2006, section 1.1: the best of four")),
    ),
    seeds=1000,
    quick_seeds=100,
    seconds=lambda options: 0.02 * options.seeds,
    measure=measure,
    deviations=(
        f"other draws of the noise (standard deviation {NOISE}): the book prints the coefficients of one draw",
    ),
)
