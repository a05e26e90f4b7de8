"""Constant baseline of dense regression: the median of the training values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PLACED, Input, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.dense_regress.objective import sample_truth
from snellen.tasks.dense_regress.task import TASK, target_of


@settings
class BaselineDenseRegressorSettings:
    """Settings of the baseline (none)."""


class ConstantPrediction(nn.Module):
    """Constant prediction: the same values at every pixel or other place."""

    usual: Tensor

    def __init__(self, count: int, spec_input: Input) -> None:
        super().__init__()
        self.input = spec_input
        self.register_buffer("usual", torch.zeros(count))

    def predict(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, T, H, W); other samples to (B, T, *places)."""
        places = self.input.places(x.shape[1:])
        return self.usual.view(1, -1, *(1,) * len(places)).expand(x.shape[0], -1, *places)


def build(c: BaselineDenseRegressorSettings, spec: Spec) -> ConstantPrediction:
    return ConstantPrediction(len(target_of(spec).names), spec.input)


def fit(c: BaselineDenseRegressorSettings, data: Dataset[Labelled], model: ConstantPrediction, run: Run) -> None:
    """Set the constant: the median of each number; the mean normal; zero flow; every pixel an edge."""
    kind, truth = target_of(data.spec).kind, sample_truth(data)
    if kind == "normals":
        model.usual.copy_(nn.functional.normalize(truth.double().mean(1), dim=0))
    elif kind == "edges":
        model.usual.fill_(1.0)
    elif kind != "flow" and truth.shape[1]:
        model.usual.copy_(truth.double().quantile(0.5, dim=1))
    model.to(run.device)


LEARNER = Learner[BaselineDenseRegressorSettings, Dataset[Labelled], ConstantPrediction](
    name="baseline",
    summary="Constant baseline: the same value at every place (median, mean normal, zero flow, all edges).",
    source="the constant with the smallest absolute error",
    task=TASK,
    accepts=PLACED,
    settings=BaselineDenseRegressorSettings,
    build=build,
    fit=fit,
)
