"""Mean baseline: the mean of the training targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Numbers, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.tasks.regress.task import TASK


@settings
class BaselineRegressorSettings:
    """Settings of the baseline (none)."""


class MeanPrediction(nn.Module):
    """Mean prediction: the same values for every input."""

    mean: Tensor

    def __init__(self, target_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(target_count, dtype=torch.float64))

    def predict(self, x: Tensor) -> Tensor:
        return self.mean.expand(x.shape[0], -1)


def preprocessing_of(c: BaselineRegressorSettings, spec: Spec) -> Preprocessing:
    """One image size, so that images form batches; the pixels are not used."""
    return fixed_size(spec, max_side=128)


def build(c: BaselineRegressorSettings, spec: Spec) -> MeanPrediction:
    assert isinstance(spec.target, Numbers)
    return MeanPrediction(len(spec.target.names))


def fit(c: BaselineRegressorSettings, data: Dataset[Labelled], model: MeanPrediction, run: Run) -> None:
    model.mean.copy_(data.truth[data.splits["train"]].double().mean(0))
    model.to(run.device)


LEARNER = Learner[BaselineRegressorSettings, Dataset[Labelled], MeanPrediction](
    name="baseline",
    summary="Mean baseline: always predicts the mean of the training targets.",
    source="the constant with the smallest squared error",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=BaselineRegressorSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
