"""Gaussian mixture model (GMM): a cluster for each Gaussian, fitted by expectation maximisation (EM)."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.learner import FLATTENED, Learner
from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.core.views import View
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.cluster.features import preprocessing_of
from snellen.tasks.cluster.model_views import likelihood_views, variance_views
from snellen.tasks.cluster.models import ClusterModel, Mixture
from snellen.tasks.cluster.pca import COMPONENTS, note_explained
from snellen.tasks.cluster.task import TASK
from snellen.tasks.cluster.training_samples import CHOICES, check_counts, finish, prepare, unsupported_reason

REGULARISATION = 1e-3  # added to every variance, relative to the mean variance of a score
MAX_ITERATIONS = 200


@settings
class GMMSettings:
    """Number of clusters, of components and of restarts; covariances."""

    clusters: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Number of clusters; auto: of 2 to 10 the one with the largest silhouette on training samples."""
    covariance: Literal["full", "diagonal"] = "full"
    """Covariance of each Gaussian: full, or diagonal, with independent scores."""
    components: Annotated[int, Limit(min=1, max=1000)] | None = None
    """Principal components whose scores are clustered; auto: 10, or as many as a sample has values."""
    restarts: Annotated[int, Limit(min=1, max=1000)] = 3
    """Number of initialisations by k-means, of which the result with the highest likelihood is kept."""


def build(c: GMMSettings, spec: Spec) -> ClusterModel:
    return ClusterModel(spec, c.components or COMPONENTS, Mixture, len(CHOICES))


def check_requirements(c: GMMSettings, spec: Spec) -> None:
    check_counts(c.clusters, c.components, spec)


def fit(c: GMMSettings, data: Dataset[Labelled], model: ClusterModel, run: Run) -> None:
    """EM by scikit-learn."""
    samples = prepare(c.clusters, data, model, run)

    def fit_mixture(module: Mixture, y: Tensor, count: int, seed: int) -> Tensor:
        return em(c, module, y, count, seed)

    model.measuring.curve = fit_mixture(model.clusters, samples.y, samples.clusters, key(run.seed, "gmm"))
    if len(model.measuring.curve):
        run.notes["log-likelihood"] = float(model.measuring.curve[-1])
    finish(samples, model, run, fit_mixture)
    note_explained(model, run)


def em(c: GMMSettings, module: Mixture, y: Tensor, count: int, seed: int) -> Tensor:
    """Fit a mixture to (N, D) float64; returns the mean log-likelihood of a sample at each iteration.

    Raises:
        UsageError: where a covariance is singular nevertheless.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    typical = float(y.var(0, correction=0).mean()) or 1.0
    mixture = GaussianMixture(
        count,
        covariance_type="full" if c.covariance == "full" else "diag",
        tol=1e-4,
        reg_covar=REGULARISATION * typical,
        max_iter=MAX_ITERATIONS,
        n_init=c.restarts,
        random_state=seed & 0x7FFFFFFF,
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # threads would sum in a random order
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            mixture.fit(y.numpy())
        except ValueError as error:
            raise UsageError(
                f"The mixture of {count:,} Gaussians cannot be fitted to {len(y):,} samples: a covariance is singular",
                "Give fewer --clusters, fewer --components, or --covariance diagonal.",
            ) from error
    factors = torch.from_numpy(mixture.precisions_cholesky_)
    module.log_weights = torch.from_numpy(mixture.weights_).clamp(min=1e-300).log()
    module.centres = torch.from_numpy(mixture.means_)
    module.factors = factors if factors.ndim == 3 else torch.diag_embed(factors)
    return torch.tensor(list(getattr(mixture, "lower_bounds_", ())), dtype=torch.float64)  # scikit-learn 1.7


def model_views(model: ClusterModel, x: Tensor) -> list[View]:
    return [*likelihood_views(model), *variance_views(model)]


LEARNER = Learner[GMMSettings, Dataset[Labelled], ClusterModel](
    name="gmm",
    summary="Gaussian mixture by EM on the scores of the first principal components, with posteriors.",
    source="Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2",
    task=TASK,
    accepts=FLATTENED,
    settings=GMMSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=unsupported_reason,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    model_views=model_views,
    flattens=True,
    stoppable=False,
)
