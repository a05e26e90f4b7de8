"""GRU with an output at every step of a sequence.

Source: Cho et al. 2014; Schuster and Paliwal 1997; lecture 003 (recurrent networks).
"""

from __future__ import annotations

from typing import Annotated

from snellen.architectures.dense.architecture import DenseArchitecture, WholeSamples
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.dense.step_gru import StepGRU
from snellen.training.settings import TrainingSettings

TARGET_SEQUENCES = 12_000  # sequences per training run


@settings
class StepGRUSettings(WholeSamples):
    """Size of the state, layers, directions, dropout and training."""

    hidden_size: Annotated[int, Limit(min=1)] = 32
    """Units of the state, in each direction."""
    layers: Annotated[int, Limit(min=1)] = 1
    """Recurrent layers, each of which reads the states of the one before."""
    causal: bool = False
    """Causal: read from the first step to the last only, so that an output does not depend on later steps."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Fraction of the states that is set to zero in training."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=32, lr=0.01, schedule="one-cycle", clip_grad=1.0
    )


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if not count:
        return {}
    epochs = min(100, max(5, round(TARGET_SEQUENCES / count)))
    return {"epochs": Suggestion(value=epochs, reason=f"{count:,} sequences")}


STEP_GRU = DenseArchitecture[StepGRUSettings](
    name="gru",
    summary="GRU: a recurrent network with gates; reads a sequence in both directions, or in one.",
    source="Cho et al. 2014; Schuster and Paliwal 1997; lecture 003",
    settings=StepGRUSettings,
    body=lambda c, features, outputs: StepGRU(features, c.hidden_size, c.layers, outputs, c.causal, c.dropout),
    accepts=frozenset({"sequence"}),
    suggest=suggest,
)
