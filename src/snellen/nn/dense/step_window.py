"""Multi-layer perceptron with an output at every step of a sequence, from a window of steps around it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.nn.layers import activation


class StepWindow(nn.Module):
    """Multi-layer perceptron (MLP) of the window of steps around each step, the same one at every step.

    The window of step t holds the steps t - context ... t + context, or, if causal, t - context ... t. Steps before the
    first and after the last of a sequence are zero, which is the mean of standardised features. The first layer is a
    linear map of all numbers of the window, computed as a convolution over the steps.

    Args:
        features: D, of the input at each step.
        context: steps of the window before the present one, and after it unless causal; 0: the present step only.
        hidden: units of each hidden layer.
        outputs: K.
        causal: only steps up to the present one, so that outputs do not depend on later steps.
        activation_name: activation after each hidden layer, see `layers.activation`.
        dropout: fraction of hidden units that is set to zero in training.
    Source: Sejnowski and Rosenberg 1987, "Parallel networks that learn to pronounce English text" (NETtalk).
    """

    def __init__(
        self,
        features: int,
        context: int,
        hidden: Sequence[int],
        outputs: int,
        causal: bool = False,
        activation_name: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.context, self.causal = context, causal
        self.pad: nn.Module = nn.ConstantPad1d((context, 0 if causal else context), 0.0)
        sizes = [features, *hidden, outputs]
        windows = [1 + context if causal else 1 + 2 * context, *[1] * len(hidden)]  # steps that a layer reads
        layers = [nn.Conv1d(a, b, window) for (a, b), window in zip(itertools.pairwise(sizes), windows, strict=True)]
        if activation_name in ("relu", "leaky-relu"):
            for layer in layers[:-1]:
                assert layer.bias is not None
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.activation = activation(activation_name)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), NaN after the end of each sequence, to (B, K, T). The steps after the end change no other step."""
        inside = ~x.isnan().any(2, keepdim=True)
        y = self.pad(torch.where(inside, x, torch.zeros_like(x)).transpose(1, 2))
        for layer in self.layers[:-1]:
            y = self.dropout(self.activation(layer(y)))
        output: Tensor = self.layers[-1](y)
        return output
