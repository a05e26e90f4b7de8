"""Multi-layer perceptron (MLP), with autograd or with an explicit backward pass.

Source: lecture 001, "Backpropagation"; lecture 003, a_L = h_L(... h_1(x)); Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.nn.layers import Maxout, activation


class MLP(nn.Module):
    """Multi-layer perceptron: linear layers with an activation between them.

    Args:
        sizes: units from the input to the output, (D, H1, ..., K).
        activation_name: activation after each hidden layer.
        dropout: fraction of hidden units set to zero in training; inverted, so that evaluation needs no scaling.
        init: see `initialise`; "auto" is "he" for layers followed by ReLU, and torch's default for all others.
        batch_norm: normalise the output of each hidden layer before its activation.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation_name: str = "relu",
        dropout: float = 0.0,
        init: str = "auto",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.activation_name = activation_name
        self.dropout = dropout
        pieces = Maxout.PIECES if activation_name == "maxout" else 1
        outputs = [*(pieces * units for units in sizes[1:-1]), sizes[-1]]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, outputs, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(units) for units in outputs[:-1] if batch_norm)
        self.activation = activation(activation_name)
        if init != "auto":
            for layer in self.layers:
                initialise(layer, init)
        elif activation_name in ("relu", "leaky-relu"):
            for layer in self.layers[:-1]:
                initialise(layer, "he")

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, K)."""
        x = x.flatten(1)
        for depth, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            if self.norms:
                x = self.norms[depth](x)
            x = self.activation(x)
            if self.dropout:
                x = nn.functional.dropout(x, self.dropout, self.training)
        y: Tensor = self.layers[-1](x)
        return y

    @property
    def has_manual_backward(self) -> bool:
        """Whether `cross_entropy` below supports this network: ReLU, neither dropout nor batch normalisation."""
        return self.activation_name == "relu" and not self.dropout and not self.norms


class ResidualMLP(nn.Module):
    """Residual MLP: hidden layers of one width with skip connections, h ← h + f(W h + b).

    Args:
        inputs, width, depth, outputs: D, units of a hidden layer, hidden layers, K.
        residual: use skip connections; without them a deep network does not train.
    Source: lecture 004, from the MLP to the ResNet.
    """

    def __init__(
        self, inputs: int, width: int, depth: int, outputs: int, activation_name: str, residual: bool = True
    ) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.activation = activation(activation_name)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, K)."""
        x = self.activation(self.layers[0](x.flatten(1)))
        for layer in self.layers[1:-1]:
            h = self.activation(layer(x))
            x = x + h if self.residual else h
        y: Tensor = self.layers[-1](x)
        return y


def initialise(layer: nn.Module, method: str) -> None:
    """Initialise a linear layer of n inputs with normal weights and zero biases.

    Args:
        method: "he", deviation √(2/n), which keeps the size of signals through ReLU; "lecun", 1/√n, which keeps it
            through linear layers and tanh near 0; "small", 0.01.
    Source: He et al. 2015; LeCun, Bottou, Orr and Müller 1998; lecture 002, whose code divides by √(2/n) by mistake.
    """
    assert isinstance(layer, nn.Linear)
    deviation = {"he": math.sqrt(2 / layer.in_features), "lecun": 1 / math.sqrt(layer.in_features), "small": 0.01}[
        method
    ]
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b; large products use oneDNN if available, in 0.6 of the time of torch's BLAS."""
    if weight.numel() > 8192 and x.device.type == "cpu" and x.dtype == torch.float32 and _ONEDNN is not None:
        y: Tensor = _ONEDNN(x, weight, bias, "none", [], "")
        return y
    return nn.functional.linear(x, weight, bias)


_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None


def _forward(x: Tensor, y: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Mean cross-entropy, log-probabilities (B, K), and the input of each layer."""
    weights, biases = parameters[0::2], parameters[1::2]
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(_linear(inputs[-1], weight, bias).relu_())
    log_p = _linear(inputs[-1], weights[-1], biases[-1]).log_softmax(1)
    return nn.functional.nll_loss(log_p, y), log_p, inputs


def _backward(
    log_p: Tensor, y: Tensor, inputs: list[Tensor], parameters: Sequence[Tensor], factor: Tensor | float
) -> Iterable[Tensor]:
    """Gradient of each parameter by backpropagation.

    The gradient of softmax and cross-entropy together is p − t; below it δ_{l−1} = (δ_l W_l) ⊙ [a_{l−1} > 0],
    ∂E/∂W_l = δ_lᵀ a_{l−1}, ∂E/∂b_l = Σ δ_l.
    """
    weights = parameters[0::2]
    delta = log_p.exp().scatter_(1, y[:, None], -1.0, reduce="add").mul_(factor)  # p − t: (B, K)
    gradients: list[Tensor] = []
    for layer in reversed(range(len(weights))):
        gradients += [delta.sum(0), _linear(delta.t(), inputs[layer].t())]
        if layer:
            delta = torch.ops.aten.threshold_backward(delta @ weights[layer], inputs[layer], 0)
    return reversed(gradients)


class _CrossEntropyOfMLP(torch.autograd.Function):
    """Forward and backward pass as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, *parameters: Tensor) -> Tensor:
        loss, *saved = _forward(x, y, parameters)
        ctx.saved = saved, y, parameters
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (log_p, inputs), y, parameters = ctx.saved
        return (None, None, *_backward(log_p, y, inputs, parameters, outer[0] / len(y)))


def cross_entropy(mlp: MLP, x: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy of an MLP with an explicit backward pass (if `mlp.has_manual_backward`).

    Args:
        x: (B, D) float. y: (B,) int64.
    Returns:
        A scalar; its gradients equal those of automatic differentiation.
    Source: lecture 001, δ_i = y_i(1−y_i) Σ δ_j w_ji, here with ReLU's derivative.
    """
    loss: Tensor = _CrossEntropyOfMLP.apply(x.flatten(1), y, *_parameters(mlp))
    return loss


def backpropagate(mlp: MLP, x: Tensor, y: Tensor) -> Tensor:
    """Like `cross_entropy`, without autograd: sets the gradients of the parameters and returns the loss."""
    parameters = _parameters(mlp)
    with torch.no_grad():
        loss, log_p, inputs = _forward(x.flatten(1), y, parameters)
        for p, gradient in zip(parameters, _backward(log_p, y, inputs, parameters, 1 / len(y)), strict=True):
            p.grad = gradient
    return loss


def _parameters(mlp: MLP) -> list[Tensor]:
    return [p for layer in mlp.layers for p in (layer.weight, layer.bias)]  # type: ignore[misc]
