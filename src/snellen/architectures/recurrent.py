"""Recurrent networks on sequences: vanilla recurrent network, LSTM, GRU.

Source: Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014; Tallec and Ollivier 2018 (bias of the
forget gates for long sequences); lecture 003 (recurrent networks).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.architectures.recurrent_views import recurrent_views
from snellen.core.settings import EffectiveIf, Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.recurrent import GRU, LSTM, RNN
from snellen.training.settings import TrainingSettings

LONG = 50  # steps beyond which a forget gate of bias 1 loses all at the start: σ(1)^50 < 1e-6


@settings
class GRUSettings:
    """Size of the state, layers, dropout and training."""

    hidden_size: Annotated[int, Limit(min=1)] = 64
    """Units of the state."""
    layers: Annotated[int, Limit(min=1)] = 1
    """Recurrent layers, each of which reads the states of the one before."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Fraction of the last state that is set to zero in training."""
    bptt: Annotated[int, Limit(min=1)] | None = None
    """Truncated backpropagation through time: steps after which training cuts the gradients, while the state is carried
    on, so that memory does not grow with the steps; auto: no cuts."""
    group_by_length: bool = False
    """Length buckets: batches of sequences of similar lengths, so that there is less padding; less accurate where
    classes differ in length. No effect on sequences of one length."""
    training: TrainingSettings = TrainingSettings(epochs=20, lr=0.003, clip_grad=1.0)


@settings
class RNNSettings(GRUSettings):
    """Form of the update, size of the state, layers, dropout and training."""

    form: Literal["tanh", "lecture"] = "tanh"
    """Update of the state: tanh, h = tanh(W h + U x + b); lecture, c = W tanh(c) + U x + b."""


@settings
class LSTMSettings(GRUSettings):
    """Biases, size of the state, layers, dropout and training."""

    bias: bool = True
    """Biases of the gates."""
    forget_bias: Annotated[float, EffectiveIf("bias", (True,))] = 1.0
    """Bias b of the forget gates at the start: at first, the fraction sigmoid(b) of the memory is kept at each step."""


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 5000:
        return {"epochs": Suggestion(value=100 if count < 1000 else 40, reason=f"{count:,} samples: more epochs")}
    return {}


def suggest_lstm(spec: Spec) -> dict[str, Suggestion]:
    steps = spec.input.shape[0] or 0
    if steps <= LONG:
        return suggest(spec)
    reason = f"{steps:,} steps: at first, the memory is kept for about as many"
    return {**suggest(spec), "forget_bias": Suggestion(value=round(math.log(steps - 1), 1), reason=reason)}


def body(c: GRUSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return GRU(shape[1], c.hidden_size, c.layers, outputs, c.dropout, c.bptt)


def rnn_body(c: RNNSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return RNN(shape[1], c.hidden_size, c.layers, outputs, c.dropout, c.form, c.bptt)


def lstm_body(c: LSTMSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return LSTM(shape[1], c.hidden_size, c.layers, outputs, c.dropout, c.bias, c.forget_bias, c.bptt)


RNN_NETWORK = Architecture[RNNSettings](
    name="rnn",
    summary="Vanilla recurrent network: a state without gates, updated at every step of a sequence.",
    source="Elman 1990; lecture 003",
    settings=RNNSettings,
    body=rnn_body,
    accepts=frozenset({"sequence"}),
    suggest=suggest,
    model_views=recurrent_views,
    in_default_ladder=False,
)
LSTM_NETWORK = Architecture[LSTMSettings](
    name="lstm",
    summary="LSTM: a recurrent network with a memory that gates write, keep and read.",
    source="Hochreiter and Schmidhuber 1997; lecture 003",
    settings=LSTMSettings,
    body=lstm_body,
    accepts=frozenset({"sequence"}),
    suggest=suggest_lstm,
    model_views=recurrent_views,
    in_default_ladder=False,
)
GRU_NETWORK = Architecture[GRUSettings](
    name="gru",
    summary="GRU: a recurrent network with gates, which reads a sequence step by step.",
    source="Cho et al. 2014; lecture 003",
    settings=GRUSettings,
    body=body,
    accepts=frozenset({"sequence"}),
    suggest=suggest,
    model_views=recurrent_views,
)
