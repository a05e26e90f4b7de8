"""Recurrent networks: a state that is updated at every step of a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LONG_BATCH = 1000  # steps from which sequences of other lengths are trained on apart, not padded to the longest
MAX_PADDING = 2  # steps in a batch over those of its sequences, at most, from LONG_BATCH on
RNNForm = Literal["tanh", "lecture"]
Layer = Callable[[int, int], nn.Module]  # features D and units H to a module (B, T, D) -> (states (B, T, H), last)


class RecurrentNetwork(nn.Module):
    """Recurrent layers, and a linear layer of the state after the last step.

    Args:
        recurrent: (B, T, D) to the states (B, T, H) of the last layer, and its last state.
        hidden: H.
        outputs: K.
        dropout: fraction of the last state that is set to zero in training.
        bptt: steps after which training cuts the gradients, see `truncated_state`; None: full backpropagation.
    """

    def __init__(
        self, recurrent: nn.Module, hidden: int, outputs: int, dropout: float = 0.0, bptt: int | None = None
    ) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.bptt = bptt
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), NaN after the end of each sequence, to (B, K). The steps after the end do not change the result.

        The state of a sequence without steps is zero.
        """
        if self.training and x.device.type == "cpu" and self.bptt is None and not math.isnan(float(x.detach().sum())):
            states, last = self.recurrent(x)  # their last state takes 5 % less time than `gather`
            is_torch = isinstance(self.recurrent, nn.RNNBase)
            state = (last[0] if isinstance(last, tuple) else last)[-1] if is_torch else states[:, -1]
            full: Tensor = self.head(self.dropout(state))
            return full
        inside = ~x.isnan().any(2)
        x, lengths = torch.where(inside[..., None], x, torch.zeros_like(x)), inside.sum(1)
        if self.training and x.shape[1] >= LONG_BATCH:
            parts = similar_lengths(lengths)
            of_parts = [self._last_state(x[part, : int(lengths[part].max())], lengths[part]) for part in parts]
            state = torch.cat(of_parts)[torch.cat(parts).argsort()]
        else:
            state = self._last_state(x, lengths)
        y: Tensor = self.head(self.dropout(state))
        return y

    def _last_state(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) without NaN and (B,) lengths to the states (B, H) after the last steps."""
        if self.training and self.bptt is not None and self.bptt < x.shape[1]:
            return truncated_state(self.recurrent, x, lengths, self.bptt)
        states: Tensor = self.recurrent(x)[0]
        return _state_at(states, lengths)


def _state_at(states: Tensor, lengths: Tensor) -> Tensor:
    """(B, H) state of each sequence after its last step, of (B, T, H); zero without steps."""
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    state: Tensor = states.gather(1, last)[:, 0] * (lengths > 0)[:, None]
    return state


def truncated_state(recurrent: nn.Module, x: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """States after the last steps, with truncated backpropagation through time: gradients are cut every `steps` steps.

    The state is carried on across the cuts, so its values are those without them. Parts in which no sequence ends have
    no gradient: they are computed without storing what a backward pass needs.

    Args:
        recurrent: (B, T, D), and the state before it or None, to (states (B, T, H), state).
        x: (B, T, D) without NaN.
        lengths: (B,).
    Returns:
        (B, H); zero for a sequence without steps.
    Source: Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent networks".
    """
    ends = {(length - 1) // steps for length in lengths.tolist() if length}
    carried: Any = None
    result: Tensor | None = None
    for k, part in enumerate(torch.split(x, steps, 1)):
        with torch.set_grad_enabled(k in ends and torch.is_grad_enabled()):
            states, carried = recurrent(part, carried)
        carried = tuple(s.detach() for s in carried) if isinstance(carried, tuple) else carried.detach()
        if result is None:
            result = states.new_zeros(len(x), states.shape[2])
        if k in ends:
            ends_here = (lengths > k * steps) & (lengths <= (k + 1) * steps)
            state = _state_at(states, (lengths - k * steps).clamp(0, part.shape[1]))
            result = torch.where(ends_here[:, None], state, result)
    assert result is not None
    return result


def similar_lengths(lengths: Tensor) -> list[Tensor]:
    """Rows of a batch in parts of similar lengths, the longest first.

    Padded to its longest sequence, a part has at most MAX_PADDING times the steps of its sequences.

    Args:
        lengths: (B,).
    """
    order = lengths.argsort(descending=True, stable=True)
    parts, first, total, longest = [], 0, 0, 0
    for k, length in enumerate(lengths[order].tolist()):
        total, longest = total + length, max(longest, length)
        if k > first and longest * (k - first + 1) > MAX_PADDING * total:
            parts.append(order[first:k])
            first, total, longest = k, length, length
    return [*parts, order[first:]]


class GRU(RecurrentNetwork):
    """Gated recurrent unit (GRU): the outputs are a linear layer of the state after the last step.

    Args:
        features: D, of the input at each step.
        hidden: units of the state.
        layers: recurrent layers, each of which reads the states of the one before.
        outputs: K.
        dropout: fraction of the last state that is set to zero in training.
        bptt: steps after which training cuts the gradients; None: full backpropagation through time.
    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; in the form of
        `torch.nn.GRU`, where the reset gate is applied after the multiplication by the weights.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        layers: int,
        outputs: int,
        dropout: float = 0.0,
        bptt: int | None = None,
    ) -> None:
        super().__init__(nn.GRU(features, hidden, layers, batch_first=True), hidden, outputs, dropout, bptt)


class LSTM(RecurrentNetwork):
    """Long short-term memory (LSTM): the outputs are a linear layer of the state h after the last step.

    Args:
        features, hidden, layers, outputs, dropout, bptt: as in `GRU`.
        bias, forget_bias: as in `lstm_layer`.
    Source: Hochreiter and Schmidhuber 1997; with the forget gate of Gers, Schmidhuber and Cummins 2000.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        layers: int,
        outputs: int,
        dropout: float = 0.0,
        bias: bool = True,
        forget_bias: float = 1.0,
        bptt: int | None = None,
    ) -> None:
        super().__init__(lstm_layer(features, hidden, layers, bias, forget_bias), hidden, outputs, dropout, bptt)


class RNN(RecurrentNetwork):
    """Vanilla recurrent network: the outputs are a linear layer of the state after the last step.

    Args:
        features, hidden, layers, outputs, dropout, bptt: as in `GRU`.
        form: "tanh": h_t = tanh(W h_{t−1} + U x_t + b); "lecture": c_t = W tanh(c_{t−1}) + U x_t + b.
    Source: Elman 1990, "Finding structure in time"; lecture 003.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        layers: int,
        outputs: int,
        dropout: float = 0.0,
        form: RNNForm = "tanh",
        bptt: int | None = None,
    ) -> None:
        super().__init__(rnn_layer(features, hidden, layers, form), hidden, outputs, dropout, bptt)


class PreActivationRNN(nn.Module):
    """Recurrent layers whose state is not squashed: c_t = W tanh(c_{t−1}) + U x_t + b, from c = 0.

    tanh(c_t) is the state of `torch.nn.RNN` with the same weights, which computes it fast; c_t follows from it. A layer
    reads the states c of the one before.
    Source: lecture 003.
    """

    def __init__(self, features: int, hidden: int, layers: int = 1) -> None:
        super().__init__()
        inputs = [features, *[hidden] * (layers - 1)]
        self.layers = nn.ModuleList(nn.RNN(n, hidden, batch_first=True) for n in inputs)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs to states.

        Args:
            x: (B, T, D).
            state: (layers, B, H) tanh(c) of all layers before x; None: zero.
        Returns:
            (B, T, H) states c of the last layer, and tanh(c) of all layers after the last step, (layers, B, H).
        """
        ends = []
        for k, layer in enumerate(self.layers):
            u, w, b_u, b_w = layer.parameters()  # torch adds two biases
            squashed = layer(x, None if state is None else state[k : k + 1])[0]
            before = functional.pad(squashed[:, :-1], (0, 0, 1, 0))  # tanh(c_{t−1}), zero at the first step
            if state is not None:
                before = torch.cat([state[k][:, None], squashed[:, :-1]], 1)
            ends.append(squashed[:, -1])
            x = functional.linear(x, u, b_u) + functional.linear(before, w, b_w)
        return x, torch.stack(ends)


def gru_layer(features: int, hidden: int) -> nn.GRU:
    """One GRU layer of torch."""
    return nn.GRU(features, hidden, batch_first=True)


def rnn_layer(features: int, hidden: int, layers: int = 1, form: RNNForm = "tanh") -> nn.Module:
    """Layers of a vanilla recurrent network, see `RNN`."""
    if form == "lecture":
        return PreActivationRNN(features, hidden, layers)
    return nn.RNN(features, hidden, layers, batch_first=True)


def lstm_layer(features: int, hidden: int, layers: int = 1, bias: bool = True, forget_bias: float = 1.0) -> nn.LSTM:
    """LSTM layers of torch.

    Args:
        bias: whether the gates have biases; lecture 003 has none.
        forget_bias: b, the bias of the forget gates at the start: at first, σ(b) of the memory is kept at each step.
    Source: Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015.
    """
    lstm = nn.LSTM(features, hidden, layers, bias=bias, batch_first=True)
    if bias:
        with torch.no_grad():
            for k in range(layers):
                forget = slice(hidden, 2 * hidden)  # of the gates i, f, g, o
                getattr(lstm, f"bias_ih_l{k}")[forget] = forget_bias
                getattr(lstm, f"bias_hh_l{k}")[forget] = 0.0  # torch adds two biases
    return lstm


def lstm_states(x: Tensor, w: Tensor, u: Tensor, b: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """States of an LSTM by its six equations, step by step, from h = c = 0.

    i = σ(W_i x_t + U_i h_{t−1} + b_i), f = σ(W_f x_t + U_f h_{t−1} + b_f), o = σ(W_o x_t + U_o h_{t−1} + b_o),
    g = tanh(W_g x_t + U_g h_{t−1} + b_g), c_t = f c_{t−1} + i g, h_t = o tanh(c_t)

    Args:
        x: (B, T, D).
        w, u: (4H, D) and (4H, H), the rows of i, f, g, o in this order, as in `torch.nn.LSTM`.
        b: (4H,), or None for no biases, as in lecture 003.
    Returns:
        (B, T, H) states h, and the memories c.
    """
    w_i, w_f, w_g, w_o = w.chunk(4)
    u_i, u_f, u_g, u_o = u.chunk(4)
    b_i, b_f, b_g, b_o = (w.new_zeros(len(w)) if b is None else b).chunk(4)
    h = c = x.new_zeros(len(x), u.shape[1])
    states, memories = [], []
    for x_t in x.unbind(1):
        i = torch.sigmoid(x_t @ w_i.T + h @ u_i.T + b_i)
        f = torch.sigmoid(x_t @ w_f.T + h @ u_f.T + b_f)
        o = torch.sigmoid(x_t @ w_o.T + h @ u_o.T + b_o)
        g = torch.tanh(x_t @ w_g.T + h @ u_g.T + b_g)
        c = f * c + i * g
        h = o * torch.tanh(c)
        states.append(h)
        memories.append(c)
    return torch.stack(states, 1), torch.stack(memories, 1)
