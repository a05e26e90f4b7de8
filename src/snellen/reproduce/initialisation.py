"""N9: how large signals are behind ten ReLU layers, by the deviation that the weights begin with.

Source: lecture 002, "Weight initialisation"; He et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from snellen.core.random import drawing
from snellen.nn.mlp import initialise
from snellen.reproduce.table import How, Measured, Row, Table, figure, of_draws

LAYERS, UNITS, INPUTS = 10, 256, 256

ROWS = {"randn · √(2/n)": "he", "randn ÷ √(2/n), as on the slide": "slide", "randn ÷ √n": "lecun"}
PRINTED = dict(zip(ROWS, ("0.74", "9e20", "0.029"), strict=True))


def deviation(how: str, seed: int) -> float:
    """The deviation of the last layer's outputs, for inputs drawn with deviation 1."""
    with drawing(seed, "reproduce", "initialisation"):
        x = torch.randn(INPUTS, UNITS, dtype=torch.float64)  # (B, n)
        for _ in range(LAYERS):
            layer = nn.Linear(UNITS, UNITS, dtype=torch.float64)
            initialise(layer, "he" if how == "slide" else how)
            if how == "slide":  # √(2/n) · n/2 = 1/√(2/n)
                layer.weight.data *= UNITS / 2
            x = layer(x).relu().detach()
        return float(x.std())


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    for row, init in ROWS.items():
        yield row, of_draws([deviation(init, seed) for seed in range(how.seeds)], "draws")


TABLE = Table(
    name="initialisation",
    title="N9: initialisation of ten ReLU layers",
    setup="10 layers of 256 units with ReLU, inputs of deviation 1; deviation of the outputs, of one draw.",
    unit="deviation of the outputs",
    rows=tuple(Row(name=name, published=figure(text, "[lecture] 002, computed")) for name, text in PRINTED.items()),
    seeds=200,
    few=20,
    seconds=lambda how: 0.02 * len(ROWS) * how.seeds,
    measure=measure,
    deviations=(f"{INPUTS} inputs and many draws; how many inputs the printed figure was computed from is not known",),
)
