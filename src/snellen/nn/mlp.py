"""The multi-layer perceptron, with automatic differentiation and with its backward pass written out.

Source: lecture 001, "Backpropagation"; lecture 003, a_L = h_L(... h_1(x)); Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.nn.layers import activation


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        sizes: units from the input to the output, (D, H1, ..., K).
        act: name of the activation after each hidden layer.
        dropout: the share of hidden units set to zero in training; inverted, so that evaluation needs no scaling.
    """

    def __init__(self, sizes: Sequence[int], act: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.act = act
        self.dropout = dropout
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.activation = activation(act)
        for layer in self.layers[:-1]:
            if act in ("relu", "leaky-relu"):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, K)."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            if self.dropout:
                x = nn.functional.dropout(x, self.dropout, self.training)
        y: Tensor = self.layers[-1](x)
        return y

    @property
    def explicit(self) -> bool:
        """Whether `cross_entropy` below serves this network: ReLU, no dropout."""
        return self.act == "relu" and not self.dropout


class _CrossEntropyOfMLP(torch.autograd.Function):
    """Forward and backward of ReLU layers under softmax cross-entropy in one pass, by the four lines of backprop.

    The fused gradient of softmax and cross-entropy is p − t; below it δ_{l−1} = (δ_l W_l) ⊙ [a_{l−1} > 0],
    ∂E/∂W_l = δ_lᵀ a_{l−1}, ∂E/∂b_l = Σ δ_l. One node in the graph instead of four a layer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[0::2], parameters[1::2]
        inputs = [x]  # what each layer was given
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weight.t()).relu_())
        log_p = torch.addmm(biases[-1], inputs[-1], weights[-1].t()).log_softmax(1)
        loss = nn.functional.nll_loss(log_p, y)
        delta = log_p.exp_()
        delta[torch.arange(len(y)), y] -= 1
        delta /= len(y)
        gradients: list[Tensor] = []
        for layer in reversed(range(len(weights))):
            gradients += [delta.sum(0), delta.t() @ inputs[layer]]
            if layer:
                delta = (delta @ weights[layer]).mul_(inputs[layer] > 0)
        ctx.gradients = gradients[::-1]
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(gradient * outer[0] for gradient in ctx.gradients))


def cross_entropy(mlp: MLP, x: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy of an MLP with its backward pass written out (`mlp.explicit`).

    Args:
        x: (B, D) float. y: (B,) int64.
    Returns:
        A scalar; its gradients equal those of automatic differentiation.
    Source: lecture 001, δ_i = y_i(1−y_i) Σ δ_j w_ji, here with ReLU's derivative.
    """
    parameters = [p for layer in mlp.layers for p in (layer.weight, layer.bias)]
    loss: Tensor = _CrossEntropyOfMLP.apply(x.flatten(1), y, *parameters)
    return loss
