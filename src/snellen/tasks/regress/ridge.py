"""Ridge regression: least squares with an L2 penalty.

Source: lecture 001, E = ½ Σ (y − t)² + λ/2 ‖w‖² and w = (ΦᵀΦ + λI)⁻¹Φᵀt; Hoerl and Kennard 1970.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.regress import least_squares
from snellen.tasks.regress.least_squares import LinearRegression
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.task import TASK

PENALTIES = torch.logspace(-8, 2, 41, dtype=torch.float64)  # fractions of the largest eigenvalue of ΦᵀΦ


@settings
class RidgeSettings:
    """Settings of ridge regression."""

    alpha: Annotated[float, Limit(min=0)] | None = None
    """Ridge penalty λ of λ/2 ‖w‖², for standardised columns; auto: chosen by leave-one-out cross-validation."""


class StandardizedSVD(NamedTuple):
    """Singular value decomposition of standardised columns, Φ = U diag(s) Vᵀ.

    u: (N, R), s: (R,), v: (D, R), mean, scale: (D,).
    """

    u: Tensor
    s: Tensor
    v: Tensor
    mean: Tensor
    scale: Tensor


def standardized_svd(x: Tensor) -> StandardizedSVD:
    """Standardise (N, D) float64 columns and decompose them; directions without variance are left out."""
    mean = x.mean(0)
    scale = (x - mean).square().mean(0).sqrt()
    is_variable = (x.amax(0) > x.amin(0)) & (scale > 0)  # rounding can give a constant column a positive deviation
    scale = torch.where(is_variable, scale, torch.ones_like(scale))
    standard = torch.where(is_variable, (x - mean) / scale, torch.zeros_like(x))
    u, s, vt = torch.linalg.svd(standard, full_matrices=False)
    nonzero = s > max(x.shape) * torch.finfo(s.dtype).eps * (s[:1] if len(s) else 1)
    return StandardizedSVD(u[:, nonzero], s[nonzero], vt[nonzero].T, mean, scale)


def ridge_weights(phi: StandardizedSVD, t: Tensor, penalty: float) -> Tensor:
    """Ridge solution: (T, D + 1) weights of [x | 1] that minimise ½ Σ (t − y)² + λ/2 ‖w‖², w of standardised columns.

    Args:
        t: (N, T) float64.
    """
    shrink = phi.s / (phi.s.square() + penalty)  # (ΦᵀΦ + λI)⁻¹Φᵀ = V diag(s / (s² + λ)) Uᵀ
    w = ((phi.v * shrink) @ (phi.u.T @ (t - t.mean(0)))).T / phi.scale  # (T, D)
    return torch.cat([w, (t.mean(0) - w @ phi.mean)[:, None]], dim=1)


def leave_one_out_errors(phi: StandardizedSVD, t: Tensor, penalty: float) -> Tensor:
    """Leave-one-out errors of ridge regression in closed form, (N, T).

    They are e / (1 − h), with h the diagonal of Φ(ΦᵀΦ + λI)⁻¹Φᵀ and 1/N for the offset; infinite where h is 1.
    Source: Allen 1974; Golub, Heath and Wahba 1979.
    """
    shrinkage = phi.s.square() / (phi.s.square() + penalty)
    error = t - t.mean(0) - (phi.u * shrinkage) @ (phi.u.T @ (t - t.mean(0)))
    one_minus_leverage = 1 - 1 / len(t) - (phi.u.square() * shrinkage).sum(1)
    return torch.where(
        one_minus_leverage[:, None] > 1e-10, error / one_minus_leverage[:, None].clamp(min=1e-10), torch.inf
    )


def normalised_mse(errors: Tensor, t: Tensor) -> float:
    """Mean squared error of (N, T) errors, each target in units of its standard deviation."""
    variance = t.var(0, correction=0)
    return float((errors.square() / torch.where(variance > 0, variance, torch.ones_like(variance))).mean())


def best_penalty(phi: StandardizedSVD, t: Tensor) -> float:
    """The λ with the smallest leave-one-out error, of 41 between 10⁻⁸ and 10² times the largest s²."""
    if not len(phi.s):
        return 0.0
    penalties = (PENALTIES * phi.s[0].square()).tolist()
    return float(min(penalties, key=lambda penalty: normalised_mse(leave_one_out_errors(phi, t, penalty), t)))


def build(c: RidgeSettings, spec: Spec) -> LinearRegression:
    return LinearRegression(spec.input.shape[0] or 1, target_count(spec))


def fit(c: RidgeSettings, data: Dataset[Labelled], model: LinearRegression, run: Run) -> None:
    x, t = least_squares.training_data(data)
    phi = standardized_svd(x)
    penalty = best_penalty(phi, t) if c.alpha is None else c.alpha
    run.notes["penalty"] = penalty
    model.w.copy_(ridge_weights(phi, t, penalty))
    model.to(run.device)


LEARNER = Learner[RidgeSettings, Dataset[Labelled], LinearRegression](
    name="ridge",
    summary="Ridge regression: least squares with an L2 penalty on the weights, in closed form.",
    source="Hoerl and Kennard 1970; lecture 001",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=RidgeSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
