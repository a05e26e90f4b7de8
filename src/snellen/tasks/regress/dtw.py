"""Nearest-neighbour regression of sequences by dynamic time warping (DTW).

Source: Sakoe and Chiba 1978.
"""

from __future__ import annotations

from typing import Annotated

import torch

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Numbers, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.dtw import DTWNeighbours
from snellen.tasks.regress.knn import KNNRegressor
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_prediction_time

TRIAL_QUERIES = 64  # sequences whose neighbours are searched to estimate the time of the evaluation


@settings
class DTWRegressorSettings:
    """Settings of nearest-neighbour regression by DTW."""

    k: Annotated[int, Limit(min=1)] = 5
    """Number of nearest neighbours whose mean is predicted."""
    band: Annotated[float, Limit(min=0, max=1)] = 0.1
    """Sakoe-Chiba band: steps by which two sequences may be shifted against each other, as a fraction of the longer
    one, 0 … 1; 0 compares step by step."""
    z_normalize: bool = False
    """Z-normalise each sequence: mean 0 and standard deviation 1 of each of its features, so that offset and scale do
    not count; else features are standardised by the training set."""


def build(c: DTWRegressorSettings, spec: Spec) -> KNNRegressor:
    assert isinstance(spec.target, Numbers)
    numbers = torch.empty(0, len(spec.target.names), dtype=torch.float64)
    return KNNRegressor(DTWNeighbours(spec.input, numbers, c.band, c.z_normalize), c.k)


def fit(c: DTWRegressorSettings, data: Dataset[Labelled], model: KNNRegressor, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.fit(subset(train).x)
    x, y, _ = all_samples(train)
    model.neighbours.store_samples(x, y)
    require_prediction_time(run, model.predict, x[:TRIAL_QUERIES], data.spec.sizes["val"])


LEARNER = Learner[DTWRegressorSettings, Dataset[Labelled], KNNRegressor](
    name="dtw",
    summary="Nearest neighbours by dynamic time warping: the mean target of sequences that may be stretched in time.",
    source="Sakoe and Chiba 1978",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=DTWRegressorSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
