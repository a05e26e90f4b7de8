"""Linear autoregression: the model and its least-squares fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.data.dataset import Dataset, Labelled


class LinearAutoregression(nn.Module):
    """Direct autoregression x(t + h) = x(t) + Σ w_hk (x(t − k) − x(t)), with weights of each feature and step ahead.

    w: (D, K, H) float64, of the K steps before the last.
    """

    w: Tensor

    def __init__(self, features: int, order: int, steps: int) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("w", torch.zeros(features, order - 1, steps, dtype=torch.float64))

    def forecast(self, x: Tensor) -> Tensor:
        x = x[:, -self.order :, : self.w.shape[0]].double()
        changes = torch.einsum("bkd,dkh->bhd", x[:, :-1] - x[:, -1:], self.w)
        return x[:, -1:] + changes


def least_squares(model: LinearAutoregression, data: Dataset[Labelled], rcond: float = 1e-6) -> None:
    """Fit to the training split: least squares of minimum norm for each feature, by the QR decomposition of the samples
    read so far."""
    features, past, steps = model.w.shape
    triangle = torch.zeros(features, 0, past + steps, dtype=torch.float64)
    for batch in data.samples("train").in_order(max(1024, 4 * (past + steps))):
        x, y = batch.x[:, -model.order :, :features].double(), batch.y.double()
        rows = torch.cat([x[:, :-1] - x[:, -1:], y - x[:, -1:]], 1).permute(2, 0, 1)  # (D, B, K + H)
        triangle = torch.linalg.qr(torch.cat([triangle, rows], 1), mode="r").R
    for feature in range(features):
        inputs, outputs = triangle[feature, :, :past], triangle[feature, :, past:]
        solution = torch.linalg.lstsq(inputs, outputs, rcond=rcond, driver="gelsd").solution
        model.w[feature] = solution
