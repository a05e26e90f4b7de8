"""Gates of LSTM and GRU layers at every step of a sequence, computed step by step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class GateActivations(NamedTuple):
    """Activations of one recurrent layer.

    gates: name of each gate to its activations (B, T, H) in 0 … 1. states: (B, T, H) states h.
    """

    gates: dict[str, Tensor]
    states: Tensor


def gate_activations(layer: nn.LSTM | nn.GRU, x: Tensor, index: int = 0) -> GateActivations:
    """Gates and states of one of the layers of an LSTM or GRU, forwards in time, from h = 0 (and c = 0).

    LSTM: i, f, o = σ(W x_t + U h_{t−1} + b), g = tanh(W_g x_t + U_g h_{t−1} + b_g), c_t = f c_{t−1} + i g,
    h_t = o tanh(c_t). GRU: r, z = σ(W x_t + U h_{t−1} + b), n = tanh(W_n x_t + b_n + r (U_n h_{t−1} + b'_n)),
    h_t = (1 − z) n + z h_{t−1}.

    Args:
        layer: of torch, without projection.
        x: (B, T, D) inputs of layer `index`: those of the network for the first, else the states of the one before.
    Source: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000; Cho et al. 2014, in the form of torch.
    """
    w, u = getattr(layer, f"weight_ih_l{index}"), getattr(layer, f"weight_hh_l{index}")
    b_w, b_u = (getattr(layer, f"bias_{kind}_l{index}", None) for kind in ("ih", "hh"))
    inputs = nn.functional.linear(x, w, b_w)  # (B, T, gates * H)
    step = _lstm_step if isinstance(layer, nn.LSTM) else _gru_step
    h = c = x.new_zeros(len(x), layer.hidden_size)
    gates: dict[str, list[Tensor]] = {}
    states = []
    for at in inputs.unbind(1):
        opened, h, c = step(at, nn.functional.linear(h, u, b_u), h, c)
        states.append(h)
        for name, value in opened.items():
            gates.setdefault(name, []).append(value)
    return GateActivations({name: torch.stack(steps, 1) for name, steps in gates.items()}, torch.stack(states, 1))


def _lstm_step(x: Tensor, before: Tensor, h: Tensor, c: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Gates, h and c after a step; x and before are W x_t + b and U h_{t−1} + b', the rows of i, f, g, o."""
    i, f, g, o = (x + before).chunk(4, 1)
    i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
    c = f * c + i * g.tanh()
    return {"input": i, "forget": f, "output": o}, o * c.tanh(), c


def _gru_step(x: Tensor, before: Tensor, h: Tensor, c: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Gates and h after a step; x and before are W x_t + b and U h_{t−1} + b', the rows of r, z, n."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, 1), before.chunk(3, 1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return {"reset": r, "update": z}, (1 - z) * (x_n + r * h_n).tanh() + z * h, c
