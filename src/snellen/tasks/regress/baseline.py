"""Constant baseline: the value with the best headline metric on the training targets, their median or mean."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.learner import ANY_INPUT, Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Numbers, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.tasks.regress.task import TASK, headline


@settings
class BaselineRegressorSettings:
    """Settings of the baseline (none)."""


class ConstantNumbers(nn.Module):
    """Constant prediction: the same values for every input."""

    mean: Tensor  # the values; the name is that of stored weights

    def __init__(self, target_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(target_count, dtype=torch.float64))

    def predict(self, x: Tensor) -> Tensor:
        return self.mean.expand(x.shape[0], -1)


def preprocessing_of(c: BaselineRegressorSettings, spec: Spec) -> Preprocessing:
    """One image size, so that images form batches; the pixels are not used."""
    return fixed_size(spec, max_side=128)


def build(c: BaselineRegressorSettings, spec: Spec) -> ConstantNumbers:
    assert isinstance(spec.target, Numbers)
    return ConstantNumbers(len(spec.target.names))


def fit(c: BaselineRegressorSettings, data: Dataset[Labelled], model: ConstantNumbers, run: Run) -> None:
    """Set the median of one target, which minimises the mean absolute error, or the means of several, for R²."""
    truth = data.truth[data.splits["train"]].double()
    several = headline(data.spec) == "R2"
    model.mean.copy_(truth.mean(0) if several else torch.from_numpy(np.median(truth.numpy(), axis=0)))
    model.to(run.device)


LEARNER = Learner[BaselineRegressorSettings, Dataset[Labelled], ConstantNumbers](
    name="baseline",
    summary="Constant baseline: always predicts the median of the training targets; of several targets, their means.",
    source="the constants with the smallest absolute error and the smallest squared error",
    task=TASK,
    accepts=ANY_INPUT,
    settings=BaselineRegressorSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
