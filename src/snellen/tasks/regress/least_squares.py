"""Linear regression by least squares, in closed form.

Source: lecture 003, J(w) = ½ Σ (t − xᵀw)²; Legendre 1805.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Numbers, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.piecewise_linear import LinearLayers, linear_layer
from snellen.tasks.regress.task import TASK


@settings
class LeastSquaresSettings:
    """Settings of least squares (none)."""


class LinearRegression(nn.Module):
    """Linear regression, y = w·[x | 1]. w: (T, D + 1), the last the intercept; in the user's units, float64."""

    w: Tensor

    def __init__(self, inputs: int, target_count: int) -> None:
        super().__init__()
        self.register_buffer("w", torch.zeros(target_count, inputs + 1, dtype=torch.float64))

    def predict(self, x: Tensor) -> Tensor:
        return x.flatten(1).double() @ self.w[:, :-1].T + self.w[:, -1]

    def linear_layers(self) -> LinearLayers:
        return linear_layer(self.w[:, :-1], self.w[:, -1])


def solve(x: Tensor, t: Tensor) -> Tensor:
    """Least-squares solution: the w that minimises ½ Σ (t − w·[x | 1])², of minimum norm where it is not unique.

    Args:
        x: (N, D) float64. t: (N, T) float64.
    Returns:
        (T, D + 1).
    """
    mean, scale = x.mean(0), x.std(0, correction=0)
    is_variable = (x.amax(0) > x.amin(0)) & (scale > 0)  # rounding can give a constant column a positive deviation
    scale = torch.where(is_variable, scale, torch.ones_like(scale))
    standard = (x - mean) / scale  # columns of similar size improve the numerical accuracy
    w = torch.linalg.lstsq(standard, t - t.mean(0), driver="gelsd").solution.T / scale  # (T, D)
    return torch.cat([w, (t.mean(0) - w @ mean)[:, None]], dim=1)


def training_data(data: Dataset[Labelled]) -> tuple[Tensor, Tensor]:
    """Inputs (N, D) and targets (N, T) of the training split, float64."""
    train = data.samples("train")
    x = torch.cat([batch.x.flatten(1).double() for batch in train.in_order(4096)])
    return x, train.y.double()


def build(c: LeastSquaresSettings, spec: Spec) -> LinearRegression:
    assert isinstance(spec.target, Numbers)
    return LinearRegression(spec.input.shape[0] or 1, len(spec.target.names))


def fit(c: LeastSquaresSettings, data: Dataset[Labelled], model: LinearRegression, run: Run) -> None:
    model.w.copy_(solve(*training_data(data)))
    model.to(run.device)


LEARNER = Learner[LeastSquaresSettings, Dataset[Labelled], LinearRegression](
    name="least-squares",
    summary="Linear regression by least squares, in closed form.",
    source="lecture 003; Legendre 1805",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=LeastSquaresSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
