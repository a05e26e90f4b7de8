"""Linear discriminant analysis (LDA): Gaussian classes with a shared covariance, and Bayes' rule.

Source: lecture 001, p(c|x) = σ(wᵀx + w0) with w = Σ⁻¹(μ1 − μ2); Fisher 1936; Bishop 2006, section 4.2.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.cache import available_memory
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.piecewise_linear import LinearLayers, linear_layer
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

    def linear_layers(self) -> LinearLayers:
        return linear_layer(self.w, self.w0, self.standardize)


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
    return _ledoit_wolf(
        float(covariance.square().sum()), float(covariance.diagonal().mean()), len(covariance), fourth_moment, count
    )


def _ledoit_wolf(squared_norm: float, variance: float, size: int, fourth_moment: float, count: int) -> float:
    """As `ledoit_wolf`, of ‖Σ‖², tr Σ / D and D."""
    target = squared_norm / size - variance**2  # squared distance of Σ from (tr Σ / D) I
    error = (fourth_moment - squared_norm) / (size * count)  # estimated squared error of Σ
    return min(error, target) / target if target > 0 else 1.0


def shrunk_covariance(covariance: Tensor, shrinkage: float) -> Tensor:
    """Shrunk covariance (1 − s) Σ + s (tr Σ / D) I."""
    variance = float(covariance.diagonal().mean()) or 1.0
    return (1 - shrinkage) * covariance + shrinkage * variance * torch.eye(len(covariance)).to(covariance)


def wide_discriminant(
    means: Tensor, centred: Tensor, prior: Tensor, shrinkage: float | None
) -> tuple[Tensor, Tensor, float]:
    """As `discriminant` of the shrunk covariance, for more columns D than samples N: N x N numbers in place of D x D.

    With Σ = XᵀX/N, (s v I + (1 − s) Σ)⁻¹ M = (M − Xᵀ (N s v / (1 − s) I + XXᵀ)⁻¹ X M) / (s v), v = tr Σ / D.

    Args:
        means: (K, D). centred: (N, D) X, samples minus the mean of their class. prior: (K,).
        shrinkage: s; None: Ledoit-Wolf.
    Returns:
        (K, D), (K,) and s.
    Source: Woodbury 1950; Hastie, Tibshirani and Friedman 2009, section 18.3.5.
    """
    count, size = centred.shape
    gram = centred @ centred.T  # (N, N)
    squares = gram.diagonal()
    variance = float(squares.mean()) / size or 1.0
    if shrinkage is None:
        squared_norm, fourth_moment = float(gram.square().sum()) / count**2, float(squares.square().mean())
        shrinkage = max(_ledoit_wolf(squared_norm, variance, size, fourth_moment, count), MIN_SHRINKAGE)
    ridge = shrinkage * variance
    w = means / ridge if ridge else means
    if shrinkage < 1:
        gram.diagonal().add_(count * ridge / (1 - shrinkage))
        w = w - (centred.T @ torch.cholesky_solve(centred @ means.T, torch.linalg.cholesky(gram))).T / ridge
    return w, -0.5 * (means * w).sum(1) + prior.log(), shrinkage


def centred_samples(standardize: Standardize, samples: Samples, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Class means (K, D), samples minus the mean of their class (N, D), and class counts (K,)."""
    x = torch.cat([standardize(batch.x).flatten(1).double() for batch in samples.in_order(256)])
    counts = torch.bincount(samples.y, minlength=classes).double()
    means = x.new_zeros(classes, x.shape[1]).index_add_(0, samples.y, x) / counts.clamp(min=1)[:, None]
    return means, x.sub_(means[samples.y]), counts


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
    count, (classes, size) = len(train), model.w.shape
    is_wide = size > count
    needed = 8 * (2 * size * count + 2 * count**2 if is_wide else 3 * size**2)  # bytes
    if needed > available_memory():
        raise EnvironmentProblem(
            f"lda needs {needed:,} bytes for {count:,} samples of {size:,} columns, of which "
            f"{available_memory():,} are free",
            "Use fewer columns or samples, or another model.",
        )
    model.standardize.fit(subset(train).x, data.value_range)
    shrinkage = c.shrinkage
    try:
        if is_wide and shrinkage == 0:
            raise torch.linalg.LinAlgError("more columns than samples")  # type: ignore[attr-defined]
        if is_wide:
            means, centred, counts = centred_samples(model.standardize, train, classes)
            prior = (counts / count).clamp(min=MIN_PRIOR)
            w, w0, shrinkage = wide_discriminant(means, centred, prior, shrinkage)
        else:
            means, covariance, fourth_moment, counts = class_statistics(model.standardize, train, classes)
            if shrinkage is None:
                shrinkage = max(ledoit_wolf(covariance, fourth_moment, count), MIN_SHRINKAGE)
            prior = (counts / count).clamp(min=MIN_PRIOR)
            w, w0 = discriminant(means, shrunk_covariance(covariance, shrinkage), prior)
        run.notes["shrinkage"] = shrinkage
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
    accepts=FLATTENED,
    flattens=True,
    settings=LDASettings,
    unsupported_reason=labels_unsupported,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
