"""k nearest neighbours: the mean of what the most similar training samples are.

Source: Cover and Hart 1967; lecture 004.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Numbers, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, read_shape
from snellen.nn.neighbours import Neighbours
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import all_samples, some


@settings
class KNNSettings:
    """How many are asked."""

    k: Annotated[int, Limit(least=1)] = 5
    """Neighbours whose mean is the answer."""


class Averaging(nn.Module):
    """The mean of the numbers of the k nearest, in the user's units."""

    def __init__(self, neighbours: Neighbours, k: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.k = k

    def predict(self, x: Tensor) -> Tensor:
        return self.neighbours.of(x, self.k).mean(1)


def build(c: KNNSettings, spec: Spec) -> Averaging:
    assert isinstance(spec.target, Numbers)
    numbers = torch.empty(0, len(spec.target.names), dtype=torch.float64)
    return Averaging(Neighbours(spec.input, read_shape(spec, preprocessing_of(c, spec)), numbers), c.k)


def preprocessing_of(c: KNNSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: KNNSettings, data: Dataset[Labelled], model: Averaging, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.learn(some(train).x, data.value_range, alike=True)
    x, y, _ = all_samples(train)
    model.neighbours.remember(x, y)


LEARNER = Learner[KNNSettings, Dataset[Labelled], Averaging](
    name="knn",
    summary="The mean of the k nearest training samples; nothing is learned, everything is kept.",
    source="Cover and Hart 1967; lecture 004",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=KNNSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
