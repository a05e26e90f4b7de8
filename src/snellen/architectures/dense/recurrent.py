"""Recurrent networks with an output at every step of a sequence: vanilla recurrent network, LSTM, GRU.

Source: Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014; Schuster and Paliwal 1997 (both directions);
lecture 003 (recurrent networks).
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from snellen.architectures.dense.architecture import DenseArchitecture, WholeSamples
from snellen.architectures.recurrent_views import gate_views
from snellen.core.settings import EffectiveIf, Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.recurrent import Layer, gru_layer, lstm_layer, rnn_layer
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


@settings
class StepRNNSettings(StepGRUSettings):
    """Form of the update, size of the state, layers, directions, dropout and training."""

    form: Literal["tanh", "lecture"] = "tanh"
    """Update of the state: tanh, h = tanh(W h + U x + b); lecture, c = W tanh(c) + U x + b."""


@settings
class StepLSTMSettings(StepGRUSettings):
    """Biases, size of the state, layers, directions, dropout and training."""

    bias: bool = True
    """Biases of the gates."""
    forget_bias: Annotated[float, EffectiveIf("bias", (True,))] = 1.0
    """Bias b of the forget gates at the start: at first, the fraction sigmoid(b) of the memory is kept at each step."""


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if not count:
        return {}
    epochs = min(100, max(5, round(TARGET_SEQUENCES / count)))
    return {"epochs": Suggestion(value=epochs, reason=f"{count:,} sequences")}


def network(c: StepGRUSettings, layer: Layer, features: int, outputs: int) -> StepRecurrent:
    return StepRecurrent(layer, features, c.hidden_size, c.layers, outputs, c.causal, c.dropout)


def _lstm_layer(c: StepLSTMSettings) -> Layer:
    return functools.partial(lstm_layer, bias=c.bias, forget_bias=c.forget_bias)


STEP_RNN = DenseArchitecture[StepRNNSettings](
    name="rnn",
    summary="Vanilla recurrent network, without gates; reads a sequence in both directions, or in one.",
    source="Elman 1990; Schuster and Paliwal 1997; lecture 003",
    settings=StepRNNSettings,
    body=lambda c, features, outputs: network(c, functools.partial(rnn_layer, form=c.form), features, outputs),
    accepts=frozenset({"sequence"}),
    suggest=suggest,
    model_views=gate_views,
    default_ladders=frozenset(),
)
STEP_LSTM = DenseArchitecture[StepLSTMSettings](
    name="lstm",
    summary="LSTM: a recurrent network with a gated memory; reads a sequence in both directions, or in one.",
    source="Hochreiter and Schmidhuber 1997; Schuster and Paliwal 1997; lecture 003",
    settings=StepLSTMSettings,
    body=lambda c, features, outputs: network(c, _lstm_layer(c), features, outputs),
    accepts=frozenset({"sequence"}),
    suggest=suggest,
    model_views=gate_views,
    default_ladders=frozenset(),
)
STEP_GRU = DenseArchitecture[StepGRUSettings](
    name="gru",
    summary="GRU: a recurrent network with gates; reads a sequence in both directions, or in one.",
    source="Cho et al. 2014; Schuster and Paliwal 1997; lecture 003",
    settings=StepGRUSettings,
    body=lambda c, features, outputs: network(c, gru_layer, features, outputs),
    accepts=frozenset({"sequence"}),
    suggest=suggest,
    model_views=gate_views,
)
