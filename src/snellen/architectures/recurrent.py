"""Recurrent networks on sequences: GRU.

Source: Cho et al. 2014; lecture 003 (recurrent networks).
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.recurrent import GRU
from snellen.training.settings import TrainingSettings


@settings
class GRUSettings:
    """Size of the state, layers, dropout and training."""

    hidden_size: Annotated[int, Limit(min=1)] = 64
    """Units of the state."""
    layers: Annotated[int, Limit(min=1)] = 1
    """Recurrent layers, each of which reads the states of the one before."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Fraction of the last state that is set to zero in training."""
    training: TrainingSettings = TrainingSettings(epochs=20, lr=0.003, clip_grad=1.0)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 5000:
        return {"epochs": Suggestion(value=100 if count < 1000 else 40, reason=f"{count:,} samples: more epochs")}
    return {}


def body(c: GRUSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return GRU(shape[1], c.hidden_size, c.layers, outputs, c.dropout)


GRU_NETWORK = Architecture[GRUSettings](
    name="gru",
    summary="GRU: a recurrent network with gates, which reads a sequence step by step.",
    source="Cho et al. 2014; lecture 003",
    settings=GRUSettings,
    body=body,
    accepts=frozenset({"sequence"}),
    suggest=suggest,
)
