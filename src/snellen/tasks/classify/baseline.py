"""Majority-class baseline: class frequencies of the training split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import ANY_INPUT, Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.tasks.classify.task import TASK


@settings
class BaselineClassifierSettings:
    """Settings of the baseline (none)."""


class ClassPrior(nn.Module):
    """Class prior: the same scores for every input, the log frequency of each class or the log-odds of each label."""

    probabilistic = True
    logits: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(classes))

    def scores(self, x: Tensor) -> Tensor:
        return self.logits.expand(x.shape[0], -1)


def preprocessing_of(c: BaselineClassifierSettings, spec: Spec) -> Preprocessing:
    """One image size, so that images form batches; the pixels are not used."""
    return fixed_size(spec, max_side=128)


def build(c: BaselineClassifierSettings, spec: Spec) -> ClassPrior:
    assert isinstance(spec.target, Classes | Labels)
    return ClassPrior(len(spec.target.names))


def fit(c: BaselineClassifierSettings, data: Dataset[Labelled], model: ClassPrior, run: Run) -> None:
    """Set the class frequencies, with one sample added to each class (Laplace smoothing)."""
    target = data.spec.target
    assert isinstance(target, Classes | Labels)
    counts = torch.tensor(target.counts, dtype=torch.float64) + 1
    if isinstance(target, Labels):
        probability = counts / (data.spec.sizes["train"] + 2)
        model.logits.copy_(torch.log(probability / (1 - probability)))
    else:
        model.logits.copy_(torch.log(counts / counts.sum()))
    model.to(run.device)


LEARNER = Learner[BaselineClassifierSettings, Dataset[Labelled], ClassPrior](
    name="baseline",
    summary="Majority-class baseline: always predicts the most frequent class.",
    source="class frequencies with Laplace smoothing",
    task=TASK,
    accepts=ANY_INPUT,
    settings=BaselineClassifierSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
