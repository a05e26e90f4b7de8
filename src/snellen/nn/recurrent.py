"""Recurrent networks: a state that is updated at every step of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GRU(nn.Module):
    """Gated recurrent unit (GRU): the outputs are a linear layer of the state after the last step.

    Args:
        features: D, of the input at each step.
        hidden: units of the state.
        layers: recurrent layers, each of which reads the states of the one before.
        outputs: K.
        dropout: fraction of the last state that is set to zero in training.
    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; in the form of
        `torch.nn.GRU`, where the reset gate is applied after the multiplication by the weights.
    """

    def __init__(self, features: int, hidden: int, layers: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.recurrent = nn.GRU(features, hidden, layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), NaN after the end of each sequence, to (B, K). The steps after the end do not change the result.

        The state of a sequence without steps is zero.
        """
        inside = ~x.isnan().any(2)
        states, _ = self.recurrent(torch.where(inside[..., None], x, torch.zeros_like(x)))
        lengths = inside.sum(1)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        state = states.gather(1, last)[:, 0] * (lengths > 0)[:, None]
        y: Tensor = self.head(self.dropout(state))
        return y
