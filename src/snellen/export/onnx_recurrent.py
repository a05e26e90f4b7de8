"""Recurrent layers as operators of ONNX, which read any number of steps: torch.export would unroll them over one.

A copy of the model is traced with an operator of its own in place of each layer; the translation to ONNX replaces it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

_GATES: dict[type[nn.RNNBase], tuple[int, ...]] = {  # the gates of torch in the order of ONNX
    nn.GRU: (1, 0, 2),  # r, z, n in torch; z, r, h in ONNX
    nn.LSTM: (0, 3, 1, 2),  # i, f, g, o in torch; i, o, f, c in ONNX
    nn.RNN: (0,),
}
_NAMES: dict[type[nn.RNNBase], str] = {nn.GRU: "gru", nn.LSTM: "lstm", nn.RNN: "rnn"}


@functools.cache
def _operators() -> dict[str, Any]:
    """Operators (B, T, D), W, R, B in the layout of ONNX to the states (B, T, H); they are traced, never computed."""
    operators = {}
    for name in _NAMES.values():
        torch.library.define(f"snellen::{name}", "(Tensor x, Tensor w, Tensor r, Tensor b, int hidden) -> Tensor")
        torch.library.register_fake(f"snellen::{name}")(_shape)
        operators[name] = getattr(torch.ops.snellen, name).default
    return operators


def _shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, hidden: int) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], hidden)


class OnnxRecurrent(nn.Module):
    """Recurrent layers of torch as operators of ONNX. It can be traced, not called.

    Args:
        layers: one direction, batch first.
    """

    def __init__(self, layers: nn.RNNBase) -> None:
        super().__init__()
        if layers.bidirectional or not layers.batch_first or layers.dropout or layers.proj_size:
            raise TypeError("only layers of one direction, batch first, without dropout and projection")
        self.layers = layers

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, Tensor]:
        """(B, T, D) to the states (B, T, H) of the last layer, and the last of them, (1, B, H); from the state 0."""
        gates = _GATES[type(self.layers)]
        operator = _operators()[_NAMES[type(self.layers)]]
        for k in range(self.layers.num_layers):
            w, r = (_reordered(getattr(self.layers, f"weight_{kind}_l{k}"), gates) for kind in ("ih", "hh"))
            if self.layers.bias:
                biases = [_reordered(getattr(self.layers, f"bias_{kind}_l{k}"), gates) for kind in ("ih", "hh")]
                b = torch.cat(biases)
            else:
                b = w.new_zeros(2 * len(w))
            x = operator(x, w[None], r[None], b[None], self.layers.hidden_size)
        return x, x[:, -1][None]


def _reordered(weights: Tensor, gates: tuple[int, ...]) -> Tensor:
    """Weights or biases (G · H, ...) with their G gates in another order."""
    parts = weights.chunk(len(gates))
    return torch.cat([parts[k] for k in gates])


def with_onnx_recurrent_layers(module: nn.Module) -> nn.Module:
    """A copy of a module with operators of ONNX in place of the recurrent layers of torch."""
    copied = copy.deepcopy(module)
    _replace(copied)
    return copied


def _replace(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.RNNBase):
            setattr(module, name, OnnxRecurrent(child))
        else:
            _replace(child)


def translations(program: ExportedProgram) -> dict[Any, Callable[..., Any]] | None:
    """Translations of the operators to ONNX, for `torch.onnx.export`; None for a program without them."""
    if not any(str(node.target).startswith("snellen.") for node in program.graph.nodes):
        return None
    from onnxscript import opset18 as op

    def gru(x: Any, w: Any, r: Any, b: Any, hidden: int) -> Any:
        steps = op.Transpose(x, perm=[1, 0, 2])
        return _batch_first(op, op.GRU(steps, w, r, b, hidden_size=hidden, linear_before_reset=1)[0])

    def lstm(x: Any, w: Any, r: Any, b: Any, hidden: int) -> Any:
        return _batch_first(op, op.LSTM(op.Transpose(x, perm=[1, 0, 2]), w, r, b, hidden_size=hidden)[0])

    def rnn(x: Any, w: Any, r: Any, b: Any, hidden: int) -> Any:
        return _batch_first(op, op.RNN(op.Transpose(x, perm=[1, 0, 2]), w, r, b, hidden_size=hidden)[0])

    operators = _operators()
    return {operators["gru"]: gru, operators["lstm"]: lstm, operators["rnn"]: rnn}


def _batch_first(op: Any, states: Any) -> Any:
    """(T, 1, B, H) of ONNX to (B, T, H)."""
    return op.Transpose(op.Squeeze(states, op.Constant(value_ints=[1])), perm=[1, 0, 2])
