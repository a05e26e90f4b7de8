"""k-nearest-neighbours regression.

Source: Cover and Hart 1967; lecture 004.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Numbers, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.dtw import DTWNeighbours
from snellen.nn.neighbours import Neighbours
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_prediction_time

TRIAL_QUERIES = 256  # samples whose neighbours are searched to estimate the time of the evaluation


@settings
class KNNRegressorSettings:
    """Settings of k-nearest-neighbours regression."""

    k: Annotated[int, Limit(min=1)] = 5
    """Number of nearest neighbours whose mean is predicted."""


class KNNRegressor(nn.Module):
    """k-nearest-neighbours regressor: the mean target of the k nearest samples, in the user's units."""

    def __init__(self, neighbours: Neighbours | DTWNeighbours, k: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.k = k

    def predict(self, x: Tensor) -> Tensor:
        return self.neighbours.nearest_targets(x, self.k).mean(1)


def build(c: KNNRegressorSettings, spec: Spec) -> KNNRegressor:
    assert isinstance(spec.target, Numbers)
    numbers = torch.empty(0, len(spec.target.names), dtype=torch.float64)
    return KNNRegressor(Neighbours(spec.input, input_shape(spec, preprocessing_of(c, spec)), numbers), c.k)


def preprocessing_of(c: KNNRegressorSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: KNNRegressorSettings, data: Dataset[Labelled], model: KNNRegressor, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.fit(subset(train).x, data.value_range, shared_range=True)
    x, y, _ = all_samples(train)
    model.neighbours.store_samples(x, y)
    require_prediction_time(run, model.predict, x[:TRIAL_QUERIES], data.spec.sizes["val"])


LEARNER = Learner[KNNRegressorSettings, Dataset[Labelled], KNNRegressor](
    name="knn",
    summary="k-nearest-neighbours regression: mean target of the k nearest training samples.",
    source="Cover and Hart 1967; lecture 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=KNNRegressorSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
