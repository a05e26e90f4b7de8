"""PCA: k-means on the scores of the first principal components.

Principal components are no clusters: they are the directions of the largest variance. What is clustered are the scores
of a sample on them, so that directions with little variance do not count.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.core.views import View
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.cluster.features import preprocessing_of
from snellen.tasks.cluster.lloyd import fit_kmeans
from snellen.tasks.cluster.model_views import variance_views
from snellen.tasks.cluster.models import Centres, ClusterModel
from snellen.tasks.cluster.task import TASK
from snellen.tasks.cluster.training_samples import CHOICES, check_counts, unsupported_reason

COMPONENTS = 10  # by default, or as many as a sample has values


@settings
class PCASettings:
    """Number of components, of clusters and of restarts."""

    components: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Principal components whose scores are clustered; auto: 10, or as many as a sample has values."""
    clusters: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Number of clusters; auto: of 2 to 10 the one with the largest silhouette on training samples."""
    restarts: Annotated[int, Limit(min=1, max=1000)] = 10
    """Number of k-means++ initialisations, of which the result with the lowest inertia is kept."""


def build(c: PCASettings, spec: Spec) -> ClusterModel:
    return ClusterModel(spec, c.components or COMPONENTS, Centres, len(CHOICES))


def check_requirements(c: PCASettings, spec: Spec) -> None:
    check_counts(c.clusters, c.components, spec)


def fit(c: PCASettings, data: Dataset[Labelled], model: ClusterModel, run: Run) -> None:
    fit_kmeans(c.clusters, c.restarts, data, model, run)
    note_explained(model, run)


def note_explained(model: ClusterModel, run: Run) -> None:
    """Store the number of components, and the fraction of the variance that they explain."""
    assert model.components is not None
    run.notes["components"] = model.components
    run.notes["explained variance"] = sum(model.features.explained(model.components))


def model_views(model: ClusterModel, x: Tensor) -> list[View]:
    return variance_views(model)


LEARNER = Learner[PCASettings, Dataset[Labelled], ClusterModel](
    name="pca",
    summary="PCA: k-means on the scores of the first principal components.",
    source="Pearson 1901; Ding and He 2004; lecture 002",
    task=TASK,
    accepts=FLATTENED,
    settings=PCASettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=unsupported_reason,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    model_views=model_views,
    flattens=True,
)
