"""Recurrent network with an output at every step of a sequence, in one direction or in both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.nn.recurrent import Layer


class StepRecurrent(nn.Module):
    """Recurrent network whose outputs at a step are a linear layer of its states at this step.

    Args:
        recurrent_layer: features and units to one layer, such as `torch.nn.GRU` with `batch_first`.
        features: D, of the input at each step.
        hidden: units of the state, of each direction.
        layers: recurrent layers, each of which reads the states of the one before.
        outputs: K.
        causal: only the direction from the first step to the last, so that outputs do not depend on later steps; else
            a second network reads the steps in reverse, and its states are appended to those of the first.
        dropout: fraction of the states that is set to zero in training.
    Source: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    def __init__(
        self,
        recurrent_layer: Layer,
        features: int,
        hidden: int,
        layers: int,
        outputs: int,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = hidden if causal else 2 * hidden  # of the states of a layer
        inputs = [features, *[width] * (layers - 1)]
        self.forwards = nn.ModuleList(recurrent_layer(n, hidden) for n in inputs)
        self.backwards = nn.ModuleList(() if causal else (recurrent_layer(n, hidden) for n in inputs))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), NaN after the end of each sequence, to (B, K, T). The steps after the end change no other step."""
        inside = ~x.isnan().any(2)
        states = torch.where(inside[..., None], x, torch.zeros_like(x))
        step = torch.arange(x.shape[1], device=x.device)
        reverse = torch.where(inside, inside.sum(1, keepdim=True) - 1 - step, step)  # (B, T): the end comes first
        for k, layer in enumerate(self.forwards):
            directions = [layer(states)[0]]
            if len(self.backwards):
                states = _take_steps(states, reverse)
                directions.append(_take_steps(self.backwards[k](states)[0], reverse))
            states = torch.cat(directions, 2)
        y: Tensor = self.head(self.dropout(states)).transpose(1, 2)
        return y


def _take_steps(x: Tensor, steps: Tensor) -> Tensor:
    """(B, T, D) at steps (B, T), in their order."""
    return x.gather(1, steps[..., None].expand(-1, -1, x.shape[2]))
