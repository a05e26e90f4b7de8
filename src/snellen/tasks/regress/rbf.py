"""Ridge regression on Gaussian radial basis functions (RBF network).

Source: lecture 001, y = Σ w_j φ_j(x); Bishop 2006, section 3.1; Broomhead and Lowe 1988.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.rbf import GaussianBases, kmeans_centres
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.ridge import best_penalty, ridge_weights, standardized_svd
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import subset


@settings
class RBFRegressorSettings:
    """Settings of ridge regression on radial basis functions: centres, width, L2 penalty."""

    bases: Annotated[int, Limit(min=1)] = 30
    """Number of basis functions; their centres are the k-means centroids of the training inputs."""
    bandwidth: Annotated[float, Limit(above=0)] | None = None
    """Bandwidth: standard deviation of each basis function, in units of standardised inputs; auto: twice the mean
    distance from a centre to the nearest other."""
    alpha: Annotated[float, Limit(min=0)] | None = None
    """Ridge penalty λ of λ/2 ‖w‖², for standardised basis functions; auto: chosen by leave-one-out cross-validation."""


class RBFRegressor(nn.Module):
    """Linear regression on radial basis functions, y = w·[φ(x) | 1].

    w: (T, M + 1), the last the intercept; in the user's units, float64.
    """

    w: Tensor

    def __init__(self, standardize: Standardize, bases: GaussianBases, target_count: int) -> None:
        super().__init__()
        self.standardize = standardize
        self.bases = bases
        self.register_buffer("w", torch.zeros(target_count, len(bases.centres) + 1, dtype=torch.float64))

    def phi(self, x: Tensor) -> Tensor:
        """Basis functions: (B, ...) raw inputs to (B, M) float64."""
        values: Tensor = self.bases(self.standardize(x))
        return values.double()

    def predict(self, x: Tensor) -> Tensor:
        return self.phi(x) @ self.w[:, :-1].T + self.w[:, -1]


def build(c: RBFRegressorSettings, spec: Spec) -> RBFRegressor:
    preprocessing = preprocessing_of(c, spec)
    count = min(c.bases, spec.sizes.get("train", c.bases))
    return RBFRegressor(
        Standardize(spec.input, preprocessing.channels),
        GaussianBases(count, flattened_size(spec, preprocessing)),
        target_count(spec),
    )


def preprocessing_of(c: RBFRegressorSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: RBFRegressorSettings, data: Dataset[Labelled], model: RBFRegressor, run: Run) -> None:
    train = data.samples("train")
    sample = subset(train).x
    model.standardize.fit(sample, data.value_range)
    flat = model.standardize(sample).flatten(1)
    model.bases.set_centres(kmeans_centres(flat, len(model.bases.centres), key(run.seed, "k-means")), c.bandwidth)
    phi = standardized_svd(torch.cat([model.phi(batch.x) for batch in train.in_order(4096)]))
    t = train.y.double()
    penalty = best_penalty(phi, t) if c.alpha is None else c.alpha
    run.notes["penalty"] = penalty
    model.w.copy_(ridge_weights(phi, t, penalty))
    model.to(run.device)


LEARNER = Learner[RBFRegressorSettings, Dataset[Labelled], RBFRegressor](
    name="bases",
    summary="Ridge regression on Gaussian radial basis functions around k-means centres, in closed form.",
    source="lecture 001; Bishop 2006, 3.1; Broomhead and Lowe 1988",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=RBFRegressorSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
