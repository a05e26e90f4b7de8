"""N10: how far the first step of each optimizer goes, in learning rates.

Source: lecture 002, update rules; Kingma and Ba 2015 for the correction that the slide of Adam leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from snellen.reproduce.table import How, Measured, Row, Table, figure
from snellen.training.optimizers import optimizer

RATE, GRADIENT = 0.01, 1.0
SLIDE = "Adam as on the slide, without bias correction"
RULES = {"SGD": "sgd", "momentum": "momentum", "Adagrad": "adagrad", "Adam": "adam"}


def first_step(name: str) -> float:
    """How far our optimizer moves a weight down a gradient of 1, in learning rates."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    before = model.weight.item()
    model.weight.grad = torch.full_like(model.weight, GRADIENT)
    optimizer(name, model, RATE, momentum=0.9, weight_decay=0.0).step()
    return (before - model.weight.item()) / RATE


def slide(beta1: float = 0.9, beta2: float = 0.999) -> float:
    """The same by the slide's lines: m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g², w −= lr m / √v, from m = v = 0."""
    m = (1 - beta1) * GRADIENT
    v = (1 - beta2) * GRADIENT**2
    return m / math.sqrt(v)


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    yield SLIDE, Measured(value=slide())
    for row, name in RULES.items():
        yield row, Measured(value=first_step(name))


TABLE = Table(
    name="optimizers",
    title="N10: the first step of the optimizers",
    setup="A gradient of 1, all averages at 0; β₁ = 0.9 and β₂ = 0.999 for Adam, momentum 0.9.",
    unit="learning rates",
    rows=(
        Row(name=SLIDE, published=figure("3.162", "[lecture] 002, computed")),
        Row(name="Adam", published=figure("1.0", "[lecture] 002 with the correction of Kingma and Ba 2015, computed")),
        *(
            Row(name=row, published=figure("1.000", "[lecture] 002, by its update rule"))
            for row in RULES
            if row != "Adam"
        ),
    ),
    seeds=1,
    few=1,
    seconds=lambda how: 0.0,
    measure=measure,
    fixed=True,
)
