"""The baseline that knows nothing but the mean."""

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
class BaselineSettings:
    """There is nothing to set."""


class Mean(nn.Module):
    """The same answer for every input."""

    mean: Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(targets, dtype=torch.float64))

    def predict(self, x: Tensor) -> Tensor:
        return self.mean.expand(x.shape[0], -1)


def preprocessing_of(c: BaselineSettings, spec: Spec) -> Preprocessing:
    """Pictures at one size, though nothing in them counts: whoever asks for several gets them as one batch."""
    return fixed_size(spec, most=128)


def build(c: BaselineSettings, spec: Spec) -> Mean:
    assert isinstance(spec.target, Numbers)
    return Mean(len(spec.target.names))


def fit(c: BaselineSettings, data: Dataset[Labelled], model: Mean, run: Run) -> None:
    model.mean.copy_(data.truth[data.splits["train"]].double().mean(0))
    model.to(run.device)


LEARNER = Learner[BaselineSettings, Dataset[Labelled], Mean](
    name="baseline",
    summary="Always the mean of the training targets: what every other model must beat.",
    source="the best constant under squared error",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=BaselineSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
