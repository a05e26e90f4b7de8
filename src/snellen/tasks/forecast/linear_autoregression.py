"""Linear autoregression of each feature on its own past, by least squares."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.task import TASK


@settings
class LinearAutoregressionSettings:
    """Steps of the past, and regularisation."""

    order: Annotated[int, Limit(min=2)] | None = None
    """Order: last steps of the window that are used; auto: all."""
    rcond: Annotated[float, Limit(min=0, below=1)] = 1e-6
    """Singular values below this fraction of the largest count as zero."""


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


def unsupported_reason(spec: Spec) -> str | None:
    return "needs windows of at least 2 steps: --window 2" if spec.input.shape[0] == 1 else None


def build(c: LinearAutoregressionSettings, spec: Spec) -> LinearAutoregression:
    window = spec.input.shape[0] or 1
    return LinearAutoregression(len(future(spec).names), min(c.order or window, window), future(spec).steps)


def fit(c: LinearAutoregressionSettings, data: Dataset[Labelled], model: LinearAutoregression, run: Run) -> None:
    least_squares(model, data, c.rcond)
    model.to(run.device)


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


LEARNER = Learner[LinearAutoregressionSettings, Dataset[Labelled], LinearAutoregression](
    name="linear-autoregression",
    summary="Linear autoregression: each feature from its own past, by least squares for each step ahead.",
    source="Yule 1927; direct for each step with the last value subtracted: Zeng, Chen, Zhang and Xu 2023",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=LinearAutoregressionSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    stoppable=False,
)
