"""Residual MLP: linear layers with shortcut connections, of any depth.

Source: lecture 004, from the MLP to the ResNet; He, Zhang, Ren and Sun 2016.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from torch import nn

from snellen.architectures.architecture import Architecture, InitSettings
from snellen.core.learner import FLATTENED
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.nn.mlp import ResidualMLP
from snellen.training.settings import TrainingSettings


@settings
class ResidualMLPSettings:
    """Depth, width, shortcuts, activation, initial weights, training and augmentation."""

    depth: Annotated[int, Limit(min=1)] = 8
    """Depth: number of hidden layers of equal width; each from the second on has a shortcut connection."""
    width: Annotated[int, Limit(min=1)] = 64
    """Width: units of each hidden layer."""
    residual: bool = True
    """Residual connections, x + f(x); without them, a plain deep MLP."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "linear"] = "relu"
    """Activation function of the hidden layers."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(epochs=15, lr=0.001)
    augment: Augment = Augment()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 5000:
        return {"epochs": Suggestion(value=150 if count < 1000 else 60, reason=f"{count:,} samples: more epochs")}
    return {}


def body(c: ResidualMLPSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return ResidualMLP(prod(shape), c.width, c.depth, outputs, c.activation, c.residual)


RESIDUAL_MLP = Architecture[ResidualMLPSettings](
    name="residual-mlp",
    summary="Residual MLP: a deep MLP with shortcut connections, x + f(x).",
    source="lecture 004; He et al. 2016",
    settings=ResidualMLPSettings,
    body=body,
    accepts=FLATTENED,
    flattens=True,
    max_size=64,
    suggest=suggest,
)
