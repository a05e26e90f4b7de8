"""Multivariate Gaussian with a full covariance, shrunk towards independent values (Ledoit and Wolf 2004).

The values are standardised first, so that shrinkage does not depend on units: Σ = D ((1 − s) R + s I) D, with the
deviations D and the correlations R. s = 1 is the baseline.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.core.views import View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import input_shape
from snellen.nn.gaussian import NOISE_VARIANCE, FullGaussian
from snellen.tasks.generate.moments import ledoit_wolf, moments, noisy, prior_weight, regularized_variance, scatter
from snellen.tasks.generate.principal_views import principal_views
from snellen.tasks.generate.task import MAX_VALUES, TASK, preprocessing_of, value_count

MIN_SHRINKAGE = 1e-6  # if chosen by the data: the covariance of few or of linearly dependent values is singular


@settings
class GaussianSettings:
    """Settings of the Gaussian."""

    shrinkage: Annotated[float, Limit(min=0, max=1)] | None = None
    """Shrinkage of the correlations towards 0, from 0 (none) to 1 (independent values); auto: by Ledoit and Wolf."""


def unsupported_reason(spec: Spec) -> str | None:
    """The covariance of many values is too large."""
    count = value_count(spec)
    return None if count <= MAX_VALUES else f"reads at most {MAX_VALUES:,} values per sample, these have {count:,}"


def build(c: GaussianSettings, spec: Spec) -> FullGaussian:
    return FullGaussian(input_shape(spec, preprocessing_of(c, spec)), getattr(torch, spec.input.dtype))


def fit(c: GaussianSettings, data: Dataset[Labelled], model: FullGaussian, run: Run) -> None:
    """Two passes over the training split: mean and variances, then correlations; one Cholesky factorisation."""
    train, size, spec_input = data.samples("train"), value_count(data.spec), data.spec.input
    of = moments(train, size)
    deviation = regularized_variance(of, spec_input, model.shape).sqrt()
    products = scatter(train, size, of.mean, deviation)
    if not model.dtype.is_floating_point:
        products = noisy(products, NOISE_VARIANCE / deviation.square())
    shrinkage = max(ledoit_wolf(products, of.samples), MIN_SHRINKAGE) if c.shrinkage is None else c.shrinkage
    run.notes["shrinkage"] = shrinkage
    correlations = products.covariance * (of.samples / (of.samples + prior_weight(spec_input)))
    model.mean.copy_(of.mean)
    model.whitening.copy_(whitening(correlations, shrinkage, deviation, of.samples))
    model.to(run.device)


def whitening(correlations: Tensor, shrinkage: float, deviation: Tensor, count: int) -> Tensor:
    """W = L⁻¹ with Σ = L Lᵀ, (D, D) lower triangular.

    Args:
        correlations: (D, D) off the diagonal, which is 1. count: number of samples, for the message.
    Raises:
        UsageError: the shrunk covariance is singular.
    """
    shrunk = (1 - shrinkage) * correlations
    shrunk.fill_diagonal_(1.0)
    factor, failed = torch.linalg.cholesky_ex(shrunk)
    if int(failed):
        raise UsageError(
            f"The covariance of {len(deviation):,} values from {count:,} samples is singular with shrinkage "
            f"{shrinkage:g}",
            "Give a larger --shrinkage, or omit it.",
        )
    identity = torch.eye(len(deviation), dtype=torch.float64)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return inverse / deviation


def model_views(model: FullGaussian, x: Tensor) -> list[View]:
    """The mean and the principal directions."""
    return principal_views(model.mean.cpu(), model.covariance().cpu(), model.shape, model.dtype)


LEARNER = Learner[GaussianSettings, Dataset[Labelled], FullGaussian](
    name="gaussian",
    summary="Multivariate Gaussian: mean and full covariance, shrunk towards independent values.",
    source="Ledoit and Wolf 2004; Bishop 2006, section 2.3",
    task=TASK,
    accepts=FLATTENED,
    settings=GaussianSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    model_views=model_views,
    flattens=True,
    stoppable=False,
)
