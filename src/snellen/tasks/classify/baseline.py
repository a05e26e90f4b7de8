"""The baseline that knows nothing but how often each class occurs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.tasks.classify.task import TASK


@settings
class BaselineSettings:
    """There is nothing to set."""


class Prior(nn.Module):
    """The same answer for every input: the logarithm of the classes' shares, or the log-odds of each label."""

    probabilistic = True
    logits: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(classes))

    def scores(self, x: Tensor) -> Tensor:
        return self.logits.expand(x.shape[0], -1)


def preprocessing_of(c: BaselineSettings, spec: Spec) -> Preprocessing:
    """Pictures at one size, though nothing in them counts: whoever asks for several gets them as one batch."""
    return fixed_size(spec, most=128)


def build(c: BaselineSettings, spec: Spec) -> Prior:
    assert isinstance(spec.target, Classes | Labels)
    return Prior(len(spec.target.names))


def fit(c: BaselineSettings, data: Dataset[Labelled], model: Prior, run: Run) -> None:
    """The shares with one sample added to each class, so that none is impossible."""
    target = data.spec.target
    assert isinstance(target, Classes | Labels)
    counts = torch.tensor(target.counts, dtype=torch.float64) + 1
    if isinstance(target, Labels):
        share = counts / (data.spec.sizes["train"] + 2)
        model.logits.copy_(torch.log(share / (1 - share)))
    else:
        model.logits.copy_(torch.log(counts / counts.sum()))
    model.to(run.device)


LEARNER = Learner[BaselineSettings, Dataset[Labelled], Prior](
    name="baseline",
    summary="Always the most frequent class: what every other model must beat.",
    source="the classes' shares, with Laplace's rule of succession",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=BaselineSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
