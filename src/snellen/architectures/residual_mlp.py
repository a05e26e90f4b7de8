"""The residual MLP: linear layers with a bypass, as many as one likes.

Source: lecture 004, from the MLP to the ResNet; He, Zhang, Ren and Sun 2016.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from torch import nn

from snellen.architectures.architecture import Architecture, Start
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.nn.mlp import ResidualMLP
from snellen.training.settings import TrainingSettings


@settings
class ResidualMLPSettings:
    """Depth and width, and how it learns."""

    depth: Annotated[int, Limit(least=1)] = 8
    """Hidden layers of equal width; from the second on, each is added to what it was given."""
    width: Annotated[int, Limit(least=1)] = 64
    """Units of each hidden layer."""
    residual: bool = True
    """x + f(x); without it this is a plain deep MLP."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "linear"] = "relu"
    """The activation between layers."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(epochs=15, lr=0.001)
    augment: Augment = Augment()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 5000:
        return {"epochs": Suggestion(value=150 if count < 1000 else 60, why=f"{count:,} samples: more passes")}
    return {}


def body(c: ResidualMLPSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return ResidualMLP(prod(shape), c.width, c.depth, outputs, c.activation, c.residual)


RESIDUAL_MLP = Architecture[ResidualMLPSettings](
    name="residual-mlp",
    summary="A deep MLP whose layers are bypassed: each adds to what it was given.",
    source="lecture 004; He et al. 2016",
    settings=ResidualMLPSettings,
    body=body,
    accepts=frozenset({"vector", "image"}),
    most=64,
    suggest=suggest,
)
