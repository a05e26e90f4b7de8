"""N9: standard deviation of activations after ten ReLU layers, by weight initialisation.

Source: lecture 002, "Weight initialisation"; He et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from snellen.core.random import seeded
from snellen.nn.mlp import initialise
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    prediction_interval,
    printed_value,
)

LAYERS, UNITS, INPUTS = 10, 256, 256

ROWS = {"randn · √(2/n)": "he", "randn ÷ √(2/n), as on the slide": "slide", "randn ÷ √n": "lecun"}
PRINTED = dict(zip(ROWS, ("0.74", "9e20", "0.029"), strict=True))


def deviation(init: str, seed: int) -> float:
    """Standard deviation of the outputs of the last layer, for standard normal inputs."""
    with seeded(seed, "reproduce", "initialisation"):
        x = torch.randn(INPUTS, UNITS, dtype=torch.float64)  # (B, n)
        for _ in range(LAYERS):
            layer = nn.Linear(UNITS, UNITS, dtype=torch.float64)
            initialise(layer, "he" if init == "slide" else init)
            if init == "slide":  # √(2/n) · n/2 = 1/√(2/n)
                layer.weight.data *= UNITS / 2
            x = layer(x).relu().detach()
        return float(x.std())


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    for row, init in ROWS.items():
        yield row, prediction_interval([deviation(init, seed) for seed in range(options.seeds)], "draws")


TABLE = PublishedTable(
    name="initialisation",
    title="N9: initialisation of ten ReLU layers",
    setup="10 layers of 256 units with ReLU, inputs with standard deviation 1; one draw of the weights.",
    unit="standard deviation of the outputs",
    rows=tuple(
        TableRow(name=name, published=printed_value(text, "[lecture] 002, computed")) for name, text in PRINTED.items()
    ),
    seeds=200,
    quick_seeds=20,
    seconds=lambda options: 0.02 * len(ROWS) * options.seeds,
    measure=measure,
    deviations=(f"{INPUTS} inputs and many draws; the number of inputs behind the printed value is unknown",),
)
