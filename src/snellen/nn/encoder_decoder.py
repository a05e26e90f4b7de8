"""Recurrent encoder and decoder: a sequence is read to a state, from which the next steps are generated one by one.

Source: Sutskever, Vinyals and Le 2014; Cho et al. 2014; scheduled sampling: Bengio, Vinyals, Jaitly and Shazeer 2015;
residual decoder: Martinez, Black and Romero 2017; reconstruction beside the forecast: Srivastava, Mansimov and
Salakhutdinov 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Cell = Literal["gru", "lstm", "rnn"]
_CELLS: dict[Cell, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class Decoder(nn.Module):
    """Recurrent decoder: the output of a step is that of the step before, plus a linear layer of the state.

    Args:
        features: D, of the outputs. known: K, further inputs at each step.
        cell, hidden, layers: of the recurrent layers, those of the encoder whose state begins it.
        dropout: fraction of the state that is set to zero before the linear layer in training.
    """

    def __init__(self, features: int, known: int, cell: Cell, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.recurrent = _CELLS[cell](features + known, hidden, layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, features)

    def forward(
        self, state: Any, first: Tensor, known: Tensor, truth: Tensor | None = None, forced: Tensor | None = None
    ) -> Tensor:
        """Generate steps.

        Args:
            state: of the recurrent layers, (layers, B, hidden), of the LSTM two of them.
            first: (B, D), the step before the first output.
            known: (B, H, K), inputs at each of the H steps.
            truth: (B, H, D), the true steps. forced: (B, H) bool, the steps whose truth is read by the step after
                them, in place of the output (teacher forcing).
        Returns:
            (B, H, D).
        """
        before, outputs = first, []
        for h in range(known.shape[1]):
            states, state = self.recurrent(torch.cat([before, known[:, h]], 1)[:, None], state)
            before = before + self.head(self.dropout(states[:, 0]))
            outputs.append(before)
            if truth is not None and forced is not None:
                before = torch.where(forced[:, h, None], truth[:, h], before)
        return torch.stack(outputs, 1)


class EncoderDecoder(nn.Module):
    """Sequence to sequence: an encoder reads T steps, a decoder generates the next H.

    Args:
        features: D', of the inputs. The first D are those that are generated, the last K are known in advance: of the
            last H steps they are the values at the H steps that are generated.
        outputs: D. steps: H. known: K.
        cell, hidden, layers, dropout: see `Decoder`.
        reconstructs: whether a second decoder generates the input, from its last step to its first.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        steps: int,
        known: int,
        cell: Cell,
        hidden: int,
        layers: int,
        dropout: float,
        reconstructs: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.steps, self.known = outputs, steps, known
        self.encoder = _CELLS[cell](features, hidden, layers, batch_first=True)
        self.decoder = Decoder(outputs, known, cell, hidden, layers, dropout)
        self.reconstruction = Decoder(outputs, 0, cell, hidden, layers, dropout) if reconstructs else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D') to (B, H · D)."""
        return self.generate(self.encode(x), x).flatten(1)

    def encode(self, x: Tensor) -> Any:
        """The state after the last of (B, T, D') steps."""
        return self.encoder(x)[1]

    def generate(self, state: Any, x: Tensor, truth: Tensor | None = None, forced: Tensor | None = None) -> Tensor:
        """(B, H, D) changes of the next steps since the last one, from the state of the encoder; see `Decoder.forward`.

        truth: such changes too.
        """
        known = x[:, -self.steps :, x.shape[2] - self.known :]
        if known.shape[1] < self.steps:  # a window shorter than the horizon, where nothing is known in advance
            known = x.new_zeros(len(x), self.steps, 0)
        first = x.new_zeros(len(x), self.outputs)  # outputs are changes since the last step
        y: Tensor = self.decoder(state, first, known, truth, forced)
        return y

    def reconstruct(self, state: Any, x: Tensor) -> Tensor:
        """(B, T, D) reconstruction of the features that are generated, from the state of the encoder alone."""
        assert self.reconstruction is not None
        first, nothing = x.new_zeros(len(x), self.outputs), x.new_zeros(len(x), x.shape[1], 0)
        y: Tensor = self.reconstruction(state, first, nothing)
        return y.flip(1)
