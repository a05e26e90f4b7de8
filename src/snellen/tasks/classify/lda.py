"""Linear discriminant analysis (LDA): Gaussian classes with a shared covariance, and Bayes' rule.

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
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import subset

MIN_PRIOR = 1e-9  # of a class without a training sample
MIN_SHRINKAGE = 1e-6  # keeps the covariance of constant columns invertible


@settings
class LDASettings:
    """Settings of linear discriminant analysis."""

    shrinkage: Annotated[float, Limit(min=0, max=1)] | None = None
    """Shrinkage s of the covariance, 0 … 1: (1 − s) Σ + s (tr Σ / D) I; auto: Ledoit-Wolf estimate."""


class LinearDiscriminant(nn.Module):
    """Linear discriminant functions, whose softmax is the posterior p(c|x).

    w: (K, D), w0: (K,), of standardised inputs, float64.
    """

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
    """Linear discriminant functions, whose softmax is the posterior p(c|x) of Gaussian classes.

    w_k = Σ⁻¹μ_k and w0_k = −½ μ_kᵀΣ⁻¹μ_k + log p(c_k); of two classes, σ((w_1 − w_2)ᵀx + w0_1 − w0_2).

    Args:
        means: (K, D). covariance: (D, D). prior: (K,) p(c).
    Returns:
        (K, D) and (K,).
    """
    w = torch.cholesky_solve(means.T, torch.linalg.cholesky(covariance)).T  # (K, D)
    return w, -0.5 * (means * w).sum(1) + prior.log()


def ledoit_wolf(covariance: Tensor, fourth_moment: float, count: int) -> float:
    """Ledoit-Wolf shrinkage: the s whose covariance has the smallest expected squared error.

    Args:
        covariance: (D, D) of `count` samples. fourth_moment: the mean of ‖x − μ‖⁴ over them.
    Source: Ledoit and Wolf 2004, section 3.3.
    """
    size = len(covariance)
    squared_norm = float(covariance.square().sum())
    target = squared_norm / size - float(covariance.diagonal().mean()) ** 2  # squared distance of Σ from (tr Σ / D) I
    error = (fourth_moment - squared_norm) / (size * count)  # estimated squared error of Σ
    return min(error, target) / target if target > 0 else 1.0


def shrunk_covariance(covariance: Tensor, shrinkage: float) -> Tensor:
    """Shrunk covariance (1 − s) Σ + s (tr Σ / D) I."""
    variance = float(covariance.diagonal().mean()) or 1.0
    return (1 - shrinkage) * covariance + shrinkage * variance * torch.eye(len(covariance)).to(covariance)


def class_statistics(standardize: Standardize, samples: Samples, classes: int) -> tuple[Tensor, Tensor, float, Tensor]:
    """Class means (K, D), shared covariance (D, D), mean of ‖x − μ‖⁴ and class counts (K,), in two passes."""
    counts = torch.bincount(samples.y, minlength=classes).double()
    means = covariance = torch.zeros(0)
    for batch in samples.in_order(4096):
        x = standardize(batch.x).flatten(1).double()
        if not means.numel():
            means = x.new_zeros(classes, x.shape[1])
            covariance = x.new_zeros(x.shape[1], x.shape[1])
        means.index_add_(0, batch.y, x)
    means /= counts.clamp(min=1)[:, None]
    fourth_moment = 0.0
    for batch in samples.in_order(4096):
        x = standardize(batch.x).flatten(1).double() - means[batch.y]  # (B, D)
        covariance.addmm_(x.T, x)
        fourth_moment += float(x.square().sum(1).square().sum())
    return means, covariance / len(samples), fourth_moment / len(samples), counts


def build(c: LDASettings, spec: Spec) -> LinearDiscriminant:
    assert isinstance(spec.target, Classes)
    preprocessing = preprocessing_of(c, spec)
    return LinearDiscriminant(
        Standardize(spec.input, preprocessing.channels), flattened_size(spec, preprocessing), len(spec.target.names)
    )


def preprocessing_of(c: LDASettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: LDASettings, data: Dataset[Labelled], model: LinearDiscriminant, run: Run) -> None:
    train = data.samples("train", run.device)
    model.to(run.device)
    model.standardize.fit(subset(train).x, data.value_range)
    means, covariance, fourth_moment, counts = class_statistics(model.standardize, train, len(model.w0))
    shrinkage = c.shrinkage
    if shrinkage is None:
        shrinkage = max(ledoit_wolf(covariance, fourth_moment, len(train)), MIN_SHRINKAGE)
    run.notes["shrinkage"] = shrinkage
    try:
        w, w0 = discriminant(
            means, shrunk_covariance(covariance, shrinkage), (counts / len(train)).clamp(min=MIN_PRIOR)
        )
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise UsageError(
            f"The covariance of {len(model.w[0]):,} columns has no inverse with --shrinkage {shrinkage:g}",
            "Use a larger --shrinkage, or auto.",
        ) from error
    model.w.copy_(w)
    model.w0.copy_(w0)


LEARNER = Learner[LDASettings, Dataset[Labelled], LinearDiscriminant](
    name="lda",
    summary="Linear discriminant analysis: Gaussian classes with a shared covariance, in closed form.",
    source="Fisher 1936; lecture 001",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=LDASettings,
    unsupported_reason=labels_unsupported,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
