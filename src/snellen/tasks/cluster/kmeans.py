"""k-means: clusters around centres, with the smallest sum of squared distances to them that Lloyd's algorithm finds."""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.cluster.features import preprocessing_of
from snellen.tasks.cluster.lloyd import fit_kmeans
from snellen.tasks.cluster.models import Centres, ClusterModel
from snellen.tasks.cluster.task import TASK
from snellen.tasks.cluster.training_samples import CHOICES, check_counts, unsupported_reason


@settings
class KMeansSettings:
    """Number of clusters and of restarts."""

    clusters: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Number of clusters; auto: of 2 to 10 the one with the largest silhouette on training samples."""
    restarts: Annotated[int, Limit(min=1, max=1000)] = 10
    """Number of k-means++ initialisations, of which the result with the lowest inertia is kept."""


def build(c: KMeansSettings, spec: Spec) -> ClusterModel:
    return ClusterModel(spec, None, Centres, len(CHOICES))


def check_requirements(c: KMeansSettings, spec: Spec) -> None:
    check_counts(c.clusters, None, spec)


def fit(c: KMeansSettings, data: Dataset[Labelled], model: ClusterModel, run: Run) -> None:
    fit_kmeans(c.clusters, c.restarts, data, model, run)


LEARNER = Learner[KMeansSettings, Dataset[Labelled], ClusterModel](
    name="kmeans",
    summary="k-means: Lloyd's algorithm from k-means++ initialisations, a cluster around each centre.",
    source="Lloyd 1982; Arthur and Vassilvitskii 2007; lecture 002",
    task=TASK,
    accepts=FLATTENED,
    settings=KMeansSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=unsupported_reason,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    flattens=True,
)
