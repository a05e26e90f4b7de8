"""N2: polynomials of order M through ten noisy samples of sin 2πx.

The ten samples of the book are not part of this program. What a coefficient is there is one draw: other draws of the
noise say where it may lie.

Source: lecture 001, "Polynomial curve fitting"; Bishop 2006, section 1.1 and table 1.1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.reproduce.table import How, Measured, Published, Row, Table, figure, of_draws, over_seeds
from snellen.tasks.regress.polynomial import HIGHEST, Polynomial, errors_of_orders
from snellen.tasks.regress.ridge import parts, weights

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
    """(N, 1) x, evenly from 0 to 1, and (N, 1) t = sin 2πx + noise, float64."""
    x = torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator(seed, "reproduce", "curve-fit"))
    return x, torch.sin(2 * math.pi * x) + NOISE * noise


def fitted(x: Tensor, t: Tensor, order: int) -> Polynomial:
    """The learner's closed form, for an order that is given."""
    model = Polynomial(1, 1, order)
    model.middle.fill_(0.5)
    model.radius.fill_(0.5)
    model.w.copy_(weights(parts(model.powers(x, order)), t, 0.0))
    return model


def error(order: int, count: int, seed: int) -> float:
    """E = ½ Σ (y − t)²."""
    x, t = samples(count, seed)
    return float((fitted(x, t, order).predict(x) - t).square().sum() / 2)


def chosen(seed: int) -> int:
    """The order that leaving samples out chooses."""
    x, t = samples(SAMPLES, seed)
    model = fitted(x, t, HIGHEST)
    errors = errors_of_orders(model, x, t)
    return errors.index(min(errors))


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    for row, (order, count) in THROUGH.items():
        yield (
            row,
            Measured(
                value=max(error(order, count, seed) for seed in range(how.seeds)),
                over=f"the largest of {how.seeds:,} draws",
            ),
        )
    for order, printed in PRINTED.items():
        draws = [fitted(*samples(SAMPLES, seed), order).coefficients()[0, 0].tolist() for seed in range(how.seeds)]
        for power in range(len(printed)):
            yield coefficient(order, power), of_draws([draw[power] for draw in draws])
    orders = [chosen(seed) for seed in range(how.seeds)]
    found = over_seeds(orders, "draws")
    yield CHOSEN, Measured(value=statistics.median(orders), over=found.over)


def coefficient(order: int, power: int) -> str:
    return f"M = {order}, w{power}"


TABLE = Table(
    name="curve-fit",
    title="N2: polynomials through ten samples of sin 2πx",
    setup="Ten samples at even steps from 0 to 1 with noise; their values are not printed in the lecture.",
    unit="coefficients, and E = ½ Σ (y − t)²",
    rows=(
        *(Row(name=row, published=Published(text="0", low=0, high=1e-12, source="[lecture] 001")) for row in THROUGH),
        *(
            Row(name=coefficient(order, power), published=figure(text, BOOK))
            for order, printed in PRINTED.items()
            for power, text in enumerate(printed)
        ),
        Row(name=CHOSEN, published=figure("3", "[paper] Bishop 2006, section 1.1: the best of four")),
    ),
    seeds=1000,
    few=100,
    seconds=lambda how: 0.02 * how.seeds,
    measure=measure,
    deviations=(f"other draws of the noise than the book's, of deviation {NOISE}: it prints the coefficients of one",),
)
