"""Nearest-neighbour classification of sequences by dynamic time warping (DTW).

Source: Sakoe and Chiba 1978; Bagnall et al. 2017, "The great time series classification bake off".
"""

from __future__ import annotations

from typing import Annotated

import torch

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.dtw import DTWNeighbours
from snellen.tasks.classify.knn import KNNClassifier
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_prediction_time

TRIAL_QUERIES = 64  # sequences whose neighbours are searched to estimate the time of the evaluation


@settings
class DTWClassifierSettings:
    """Settings of nearest-neighbour classification by DTW."""

    k: Annotated[int, Limit(min=1)] = 1
    """Number of nearest neighbours that vote."""
    band: Annotated[float, Limit(min=0, max=1)] = 0.1
    """Sakoe-Chiba band: steps by which two sequences may be shifted against each other, as a fraction of the longer
    one, 0 … 1; 0 compares step by step."""
    z_normalize: bool = False
    """Z-normalise each sequence: mean 0 and standard deviation 1 of each of its features, so that offset and scale do
    not count; else features are standardised by the training set."""


def build(c: DTWClassifierSettings, spec: Spec) -> KNNClassifier:
    assert isinstance(spec.target, Classes)
    neighbours = DTWNeighbours(spec.input, torch.empty(0, dtype=torch.int64), c.band, c.z_normalize)
    return KNNClassifier(neighbours, c.k, len(spec.target.names))


def fit(c: DTWClassifierSettings, data: Dataset[Labelled], model: KNNClassifier, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.neighbours.standardize.fit(subset(train).x)
    x, y, _ = all_samples(train)
    model.neighbours.store_samples(x, y)
    require_prediction_time(run, model.votes, x[:TRIAL_QUERIES], data.spec.sizes["val"])


LEARNER = Learner[DTWClassifierSettings, Dataset[Labelled], KNNClassifier](
    name="dtw",
    summary="Nearest neighbours by dynamic time warping: sequences may be stretched in time.",
    source="Sakoe and Chiba 1978; Bagnall et al. 2017",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=DTWClassifierSettings,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
    stoppable=False,
)
