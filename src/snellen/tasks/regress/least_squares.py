"""Least squares: the best linear function, in closed form.

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
from snellen.tasks.regress.task import TASK


@settings
class LeastSquaresSettings:
    """A closed form has nothing to set."""


class Linear(nn.Module):
    """y = w·[x | 1]. w: (T, D + 1), the last the offset; in the user's units, float64."""

    w: Tensor

    def __init__(self, inputs: int, targets: int) -> None:
        super().__init__()
        self.register_buffer("w", torch.zeros(targets, inputs + 1, dtype=torch.float64))

    def predict(self, x: Tensor) -> Tensor:
        return x.flatten(1).double() @ self.w[:, :-1].T + self.w[:, -1]


def solve(x: Tensor, t: Tensor) -> Tensor:
    """The w that minimises ½ Σ (t − w·[x | 1])², the shortest of them where several do.

    Args:
        x: (N, D) float64. t: (N, T) float64.
    Returns:
        (T, D + 1).
    """
    mean, scale = x.mean(0), x.std(0, correction=0)
    varies = (x.amax(0) > x.amin(0)) & (scale > 0)  # rounding gives a constant column a deviation too
    scale = torch.where(varies, scale, torch.ones_like(scale))
    standard = (x - mean) / scale  # columns of like size: the solution is found to more digits
    w = torch.linalg.lstsq(standard, t - t.mean(0), driver="gelsd").solution.T / scale  # (T, D)
    return torch.cat([w, (t.mean(0) - w @ mean)[:, None]], dim=1)


def training(data: Dataset[Labelled]) -> tuple[Tensor, Tensor]:
    """The columns of the training split, (N, D), and its targets, (N, T), float64."""
    train = data.samples("train")
    x = torch.cat([batch.x.flatten(1).double() for batch in train.in_order(4096)])
    return x, train.y.double()


def build(c: LeastSquaresSettings, spec: Spec) -> Linear:
    assert isinstance(spec.target, Numbers)
    return Linear(spec.input.shape[0] or 1, len(spec.target.names))


def fit(c: LeastSquaresSettings, data: Dataset[Labelled], model: Linear, run: Run) -> None:
    model.w.copy_(solve(*training(data)))
    model.to(run.device)


LEARNER = Learner[LeastSquaresSettings, Dataset[Labelled], Linear](
    name="least-squares",
    summary="The linear function with the smallest squared error, in closed form.",
    source="lecture 003; Legendre 1805",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=LeastSquaresSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
