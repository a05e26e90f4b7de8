"""Baseline: each sample belongs to the nearest of a few training samples that are drawn at random.

It is k-means without any iteration. One cluster would have no silhouette, and clusters drawn at random for each sample
would have none above zero whatever the data: neither shows what the centres of k-means add.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from snellen.core.learner import FLATTENED, Learner
from snellen.core.random import generator, key
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.cluster.features import preprocessing_of
from snellen.tasks.cluster.models import Centres, ClusterModel
from snellen.tasks.cluster.task import TASK
from snellen.tasks.cluster.training_samples import CHOICES, check_counts, finish, prepare, unsupported_reason


@settings
class RandomCentresSettings:
    """Number of clusters."""

    clusters: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Number of clusters; auto: of 2 to 10 the one with the largest silhouette of k-means on training samples."""


def build(c: RandomCentresSettings, spec: Spec) -> ClusterModel:
    return ClusterModel(spec, None, Centres, len(CHOICES))


def check_requirements(c: RandomCentresSettings, spec: Spec) -> None:
    check_counts(c.clusters, None, spec)


def fit(c: RandomCentresSettings, data: Dataset[Labelled], model: ClusterModel, run: Run) -> None:
    samples = prepare(c.clusters, data, model, run)
    draw_centres(model.clusters, samples.y, samples.clusters, key(run.seed, "centres"))
    finish(samples, model, run, draw_centres)


def draw_centres(module: Centres, y: Tensor, count: int, seed: int) -> None:
    """Distinct samples as centres."""
    order = torch.randperm(len(y), generator=generator(seed, "centres"))
    _, group = torch.unique(y[order], dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(y)).scatter_reduce(0, group, torch.arange(len(y)), "amin")
    module.centres = y[order[first.sort().values[:count]]].clone()


LEARNER = Learner[RandomCentresSettings, Dataset[Labelled], ClusterModel](
    name="baseline",
    summary="Each sample belongs to the nearest of a few training samples drawn at random.",
    source="k-means (Forgy 1965) without an iteration",
    task=TASK,
    accepts=FLATTENED,
    settings=RandomCentresSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=unsupported_reason,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    flattens=True,
    stoppable=False,
)
