"""k nearest neighbours: what the most similar training samples are.

Source: Cover and Hart 1967; lecture 004, "Knn: 96.8".
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, read_shape
from snellen.nn.neighbours import Neighbours
from snellen.tasks.classify.task import TASK, one_class
from snellen.training.supervised import all_samples, some


@settings
class KNNSettings:
    """How many are asked."""

    k: Annotated[int, Limit(least=1)] = 3
    """Neighbours that vote."""


class Voting(nn.Module):
    """The class that most of the k nearest have, of equally many the first.

    A class with v votes has the probability (v + 1/K) / (k + 1): one more vote is shared by all K classes, so that
    none is impossible.
    """

    probabilistic = True

    def __init__(self, neighbours: Neighbours, k: int, classes: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.k = k
        self.classes = classes

    def votes(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, K) votes."""
        y = self.neighbours.of(x, self.k)  # (B, k)
        return (y[:, :, None] == torch.arange(self.classes, device=y.device)).sum(1)

    def scores(self, x: Tensor) -> Tensor:
        votes = self.votes(x).double()
        return ((votes + 1 / self.classes) / (votes.sum(1, keepdim=True) + 1)).log()


def build(c: KNNSettings, spec: Spec) -> Voting:
    assert isinstance(spec.target, Classes)
    neighbours = Neighbours(spec.input, read_shape(spec, preprocessing_of(c, spec)), torch.empty(0, dtype=torch.int64))
    return Voting(neighbours, c.k, len(spec.target.names))


def preprocessing_of(c: KNNSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: KNNSettings, data: Dataset[Labelled], model: Voting, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.learn(some(train).x, data.value_range, alike=True)
    x, y, _ = all_samples(train)
    model.neighbours.remember(x, y)


LEARNER = Learner[KNNSettings, Dataset[Labelled], Voting](
    name="knn",
    summary="The vote of the k nearest training samples; nothing is learned, everything is kept.",
    source="Cover and Hart 1967; lecture 004",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=KNNSettings,
    unsupported_reason=one_class,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
