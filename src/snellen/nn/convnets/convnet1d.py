"""1D ConvNet: convolutions over the steps of a sequence, batch normalisation, the mean over steps.

Source: Wang, Yan and Oates 2017, "Time series classification from scratch with deep neural networks".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvNet1d(nn.Module):
    """Convolution blocks over time (convolution, batch normalisation, ReLU), the mean over steps, a linear layer.

    Steps after the end of a sequence are zero for every convolution, as the padding at its ends is, and count neither
    in the statistics of batch normalisation nor in the mean: the number of padded steps changes no result.

    Args:
        features: D, of the input at each step.
        channels: C_1 ... C_L of the blocks.
        kernels: steps of the kernel of each block; a kernel reaches (k − 1) // 2 steps back and k // 2 ahead.
        outputs: K.
        dropout: fraction of the means that is set to zero in training.
    """

    def __init__(
        self, features: int, channels: Sequence[int], kernels: Sequence[int], outputs: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        inputs = (features, *channels)
        self.kernels = tuple(kernels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, o, k, bias=False) for i, o, k in zip(inputs, channels, kernels, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) for o in channels)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), NaN after the end of each sequence, to (B, K). Each sequence has at least one step."""
        inside = ~x.isnan().any(2)  # (B, T)
        y = torch.where(inside[..., None], x, 0).transpose(1, 2)
        for convolution, norm, kernel in zip(self.convolutions, self.norms, self.kernels, strict=True):
            y = convolution(nn.functional.pad(y, ((kernel - 1) // 2, kernel // 2)))
            y = torch.where(inside[:, None], torch.relu(self._normalize(norm, y, inside)), 0)
        mean = y.sum(2) / inside.sum(1)[:, None]
        scores: Tensor = self.head(self.dropout(mean))
        return scores

    def _normalize(self, norm: nn.Module, y: Tensor, inside: Tensor) -> Tensor:
        """Batch normalisation of (B, C, T), with the statistics of the steps within the sequences."""
        if not self.training or bool(inside.all()):
            out: Tensor = norm(y)
            return out
        steps = y.transpose(1, 2)
        return torch.zeros_like(steps).masked_scatter(inside[..., None], norm(steps[inside])).transpose(1, 2)
