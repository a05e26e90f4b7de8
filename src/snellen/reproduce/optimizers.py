"""N10: length of the first step of each optimizer, in units of the learning rate.

Source: lecture 002, update rules; Kingma and Ba 2015 for the bias correction that the slide on Adam omits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from snellen.reproduce.table import Measurement, MeasureOptions, PublishedTable, TableRow, printed_value
from snellen.training.optimizers import optimizer

RATE, GRADIENT = 0.01, 1.0
SLIDE = "Adam as on the slide, without bias correction"
RULES = {"SGD": "sgd", "momentum": "momentum", "Adagrad": "adagrad", "Adam": "adam"}


def first_step(name: str) -> float:
    """First step of our optimizer on one weight with gradient 1, in units of the learning rate."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    before = model.weight.item()
    model.weight.grad = torch.full_like(model.weight, GRADIENT)
    optimizer(name, model, RATE, momentum=0.9, weight_decay=0.0).step()
    return (before - model.weight.item()) / RATE


def slide(beta1: float = 0.9, beta2: float = 0.999) -> float:
    """First step by the slide on Adam: m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g², w −= lr m / √v (m = v = 0)."""
    m = (1 - beta1) * GRADIENT
    v = (1 - beta2) * GRADIENT**2
    return m / math.sqrt(v)


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    yield SLIDE, Measurement(value=slide())
    for row, name in RULES.items():
        yield row, Measurement(value=first_step(name))


TABLE = PublishedTable(
    name="optimizers",
    title="N10: length of the first step of the optimizers",
    setup="Gradient 1, all running averages 0; β₁ = 0.9 and β₂ = 0.999 for Adam, momentum 0.9.",
    unit="multiples of the learning rate",
    rows=(
        TableRow(name=SLIDE, published=printed_value("3.162", "[lecture] 002, computed")),
        TableRow(
            name="Adam",
            published=printed_value("1.0", "[lecture] 002 with the correction of Kingma and Ba 2015, computed"),
        ),
        *(
            TableRow(name=row, published=printed_value("1.000", "[lecture] 002, by its update rule"))
            for row in RULES
            if row != "Adam"
        ),
    ),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 0.0,
    measure=measure,
    deterministic=True,
)
