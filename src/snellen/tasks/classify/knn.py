"""k-nearest-neighbours classification.

Source: Cover and Hart 1967; lecture 004, "Knn: 96.8".
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.dtw import DTWNeighbours
from snellen.nn.neighbours import Neighbours
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_prediction_time

TRIAL_QUERIES = 256  # samples whose neighbours are searched to estimate the time of the evaluation


@settings
class KNNClassifierSettings:
    """Settings of k-nearest-neighbours classification."""

    k: Annotated[int, Limit(min=1)] = 3
    """Number of nearest neighbours that vote."""


class KNNClassifier(nn.Module):
    """k-nearest-neighbours classifier: the most frequent class among the k nearest samples, on ties the first.

    A class with v votes has the probability (v + 1/K) / (k + 1): one additional vote is divided among all K classes,
    so that none has probability zero.
    """

    probabilistic = True

    def __init__(self, neighbours: Neighbours | DTWNeighbours, k: int, classes: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.k = k
        self.classes = classes

    def votes(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, K) votes."""
        y = self.neighbours.nearest_targets(x, self.k)  # (B, k)
        return (y[:, :, None] == torch.arange(self.classes, device=y.device)).sum(1)

    def scores(self, x: Tensor) -> Tensor:
        votes = self.votes(x).double()
        return ((votes + 1 / self.classes) / (votes.sum(1, keepdim=True) + 1)).log()


def build(c: KNNClassifierSettings, spec: Spec) -> KNNClassifier:
    assert isinstance(spec.target, Classes)
    neighbours = Neighbours(spec.input, input_shape(spec, preprocessing_of(c, spec)), torch.empty(0, dtype=torch.int64))
    return KNNClassifier(neighbours, c.k, len(spec.target.names))


def preprocessing_of(c: KNNClassifierSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: KNNClassifierSettings, data: Dataset[Labelled], model: KNNClassifier, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.fit(subset(train).x, data.value_range, shared_range=True)
    x, y, _ = all_samples(train)
    model.neighbours.store_samples(x, y)
    require_prediction_time(run, model.votes, x[:TRIAL_QUERIES], data.spec.sizes["val"])


LEARNER = Learner[KNNClassifierSettings, Dataset[Labelled], KNNClassifier](
    name="knn",
    summary="k-nearest-neighbours classification: majority vote of the k nearest training samples.",
    source="Cover and Hart 1967; lecture 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=KNNClassifierSettings,
    unsupported_reason=labels_unsupported,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
