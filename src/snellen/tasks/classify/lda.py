"""Linear discriminant: a Gaussian for each class, all of one covariance, and Bayes' rule.

Source: lecture 001, p(c|x) = σ(wᵀx + w0) with w = Σ⁻¹(μ1 − μ2); Fisher 1936; Bishop 2006, section 4.2.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.tasks.classify.task import TASK, one_class
from snellen.training.supervised import some

LEAST_PRIOR = 1e-9  # of a class without a training sample
LEAST_SHRINKAGE = 1e-6  # a constant column has no variance, which no inverse stands


@settings
class LDASettings:
    """A closed form: only the covariance may need help."""

    shrinkage: Annotated[float, Limit(least=0, most=1)] | None = None
    """How much of Σ is replaced by its mean variance, (1 − s) Σ + s (tr Σ / D) I; auto: as Ledoit and Wolf."""


class Discriminant(nn.Module):
    """K linear functions whose softmax is the posterior; w: (K, D), w0: (K,), of standardised inputs, float64."""

    probabilistic = True
    w: Tensor
    w0: Tensor

    def __init__(self, standardize: Standardize, inputs: int, classes: int) -> None:
        super().__init__()
        self.standardize = standardize
        self.register_buffer("w", torch.zeros(classes, inputs, dtype=torch.float64))
        self.register_buffer("w0", torch.zeros(classes, dtype=torch.float64))

    def scores(self, x: Tensor) -> Tensor:
        standard: Tensor = self.standardize(x)
        return standard.flatten(1).double() @ self.w.T + self.w0


def discriminant(means: Tensor, covariance: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """The linear functions whose softmax is the posterior p(c|x) of Gaussian classes.

    w_k = Σ⁻¹μ_k and w0_k = −½ μ_kᵀΣ⁻¹μ_k + log p(c_k); of two classes, σ((w_1 − w_2)ᵀx + w0_1 − w0_2).

    Args:
        means: (K, D). covariance: (D, D). prior: (K,) p(c).
    Returns:
        (K, D) and (K,).
    """
    w = torch.cholesky_solve(means.T, torch.linalg.cholesky(covariance)).T  # (K, D)
    return w, -0.5 * (means * w).sum(1) + prior.log()


def ledoit_wolf(covariance: Tensor, fourth: float, count: int) -> float:
    """The shrinkage whose covariance is expected to be nearest to the true one.

    Args:
        covariance: (D, D) of `count` samples. fourth: the mean of ‖x − μ‖⁴ over them.
    Source: Ledoit and Wolf 2004, section 3.3.
    """
    size = len(covariance)
    square = float(covariance.square().sum())
    target = square / size - float(covariance.diagonal().mean()) ** 2  # how far Σ is from (tr Σ / D) I
    error = (fourth - square) / (size * count)  # how far it is likely to be from the truth
    return min(error, target) / target if target > 0 else 1.0


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """(1 − s) Σ + s (tr Σ / D) I."""
    variance = float(covariance.diagonal().mean()) or 1.0
    return (1 - shrinkage) * covariance + shrinkage * variance * torch.eye(len(covariance)).to(covariance)


def gaussians(standardize: Standardize, samples: Samples, classes: int) -> tuple[Tensor, Tensor, float, Tensor]:
    """Means (K, D), shared covariance (D, D), mean of ‖x − μ‖⁴ and counts (K,), in two passes over the samples."""
    counts = torch.bincount(samples.y, minlength=classes).double()
    means = covariance = torch.zeros(0)
    for batch in samples.in_order(4096):
        x = standardize(batch.x).flatten(1).double()
        if not means.numel():
            means = x.new_zeros(classes, x.shape[1])
            covariance = x.new_zeros(x.shape[1], x.shape[1])
        means.index_add_(0, batch.y, x)
    means /= counts.clamp(min=1)[:, None]
    fourth = 0.0
    for batch in samples.in_order(4096):
        x = standardize(batch.x).flatten(1).double() - means[batch.y]  # (B, D)
        covariance.addmm_(x.T, x)
        fourth += float(x.square().sum(1).square().sum())
    return means, covariance / len(samples), fourth / len(samples), counts


def build(c: LDASettings, spec: Spec) -> Discriminant:
    assert isinstance(spec.target, Classes)
    preprocessing = preprocessing_of(c, spec)
    return Discriminant(
        Standardize(spec.input, preprocessing.channels), flat_size(spec, preprocessing), len(spec.target.names)
    )


def preprocessing_of(c: LDASettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: LDASettings, data: Dataset[Labelled], model: Discriminant, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.standardize.learn(some(train).x, data.value_range)
    means, covariance, fourth, counts = gaussians(model.standardize, train, len(model.w0))
    shrinkage = c.shrinkage
    if shrinkage is None:
        shrinkage = max(ledoit_wolf(covariance, fourth, len(train)), LEAST_SHRINKAGE)
    run.notes["shrinkage"] = shrinkage
    try:
        w, w0 = discriminant(means, shrunk(covariance, shrinkage), (counts / len(train)).clamp(min=LEAST_PRIOR))
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise UsageError(
            f"The covariance of {len(model.w[0]):,} columns has no inverse with --shrinkage {shrinkage:g}",
            "Give a larger --shrinkage, or leave it to auto.",
        ) from error
    model.w.copy_(w)
    model.w0.copy_(w0)


LEARNER = Learner[LDASettings, Dataset[Labelled], Discriminant](
    name="lda",
    summary="Linear discriminant: Gaussian classes of one covariance and Bayes' rule, in closed form.",
    source="Fisher 1936; lecture 001",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=LDASettings,
    unsupported_reason=one_class,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
