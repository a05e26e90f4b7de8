"""Multi-layer perceptron with an output at every step of a sequence, from a window of steps around it.

Source: Sejnowski and Rosenberg 1987, "Parallel networks that learn to pronounce English text" (NETtalk).
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.architectures.dense.architecture import DenseArchitecture, WholeSamples
from snellen.architectures.dense.recurrent import suggest
from snellen.core.settings import Limit, settings
from snellen.nn.dense.step_window import StepWindow
from snellen.training.settings import TrainingSettings


@settings
class StepMLPSettings(WholeSamples):
    """Window, layers, dropout and training."""

    context: Annotated[int, Limit(min=0, max=10_000)] = 16
    """Steps before the present one that the MLP reads with it, and as many after it unless causal; 0: none."""
    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (64,)
    """Hidden layers: number of units of each, separated by commas."""
    causal: bool = False
    """Causal: read no step after the present one, so that an output does not depend on later steps."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "linear"] = "relu"
    """Activation function between layers."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Dropout: fraction of the hidden units zeroed in each training step; 0: off."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=32, lr=0.01, schedule="one-cycle", clip_grad=1.0
    )


STEP_MLP = DenseArchitecture[StepMLPSettings](
    name="mlp",
    summary="Multi-layer perceptron (MLP) of a window of steps around each step; no memory beyond it.",
    source="Sejnowski and Rosenberg 1987",
    settings=StepMLPSettings,
    body=lambda c, features, outputs: StepWindow(
        features, c.context, c.hidden, outputs, c.causal, c.activation, c.dropout
    ),
    accepts=frozenset({"sequence"}),
    suggest=suggest,
)
