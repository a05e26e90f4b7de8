"""Linear layer of the summary features of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.cpu_threads import limit_threads
from snellen.nn.sequence_features import feature_count, summary_features

BATCH = 4096  # sequences whose features are computed at once


class SummaryLinear(nn.Module):
    """Linear layer of the summary features of a sequence, see `summary_features`.

    w: (K, 10 D + 2), the last the intercept, of standardised features; mean, std: of the features of the training set,
    (10 D + 1,). All float64.
    """

    w: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        count = feature_count(features)
        self.register_buffer("w", torch.zeros(outputs, count + 1, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("std", torch.ones(count, dtype=torch.float64))

    def features(self, x: Tensor) -> Tensor:
        """(B, T, D) raw sequences to (B, 10 D + 1) standardised features."""
        return (summary_features(x) - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) raw sequences, NaN after the end of each, to (B, K)."""
        return self.features(x) @ self.w[:, :-1].T + self.w[:, -1]

    def fit_statistics(self, x: Tensor) -> Tensor:
        """Set mean and deviation of the features from all training sequences. Returns their standardised features."""
        with limit_threads(1):  # otherwise the order of summation depends on the number of threads
            raw = torch.cat([summary_features(part) for part in torch.split(x, BATCH)])
            std = raw.std(0, correction=0)
            varies = (raw.amax(0) > raw.amin(0)) & (std > 0)  # independent of the unit
            self.mean.copy_(raw.mean(0))
            self.std.copy_(torch.where(varies, std, 1))
            return torch.where(varies, (raw - self.mean) / self.std, 0)
