"""Ridge regression: least squares that pays for large weights.

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
from snellen.tasks.regress.least_squares import Linear
from snellen.tasks.regress.objective import targets
from snellen.tasks.regress.task import TASK

PENALTIES = torch.logspace(-8, 2, 41, dtype=torch.float64)  # tried, as shares of the largest eigenvalue of ΦᵀΦ


@settings
class RidgeSettings:
    """What large weights cost."""

    alpha: Annotated[float, Limit(least=0)] | None = None
    """λ of λ/2 ‖w‖², for standardised columns; auto: that with the least error on samples left out one by one."""


class Parts(NamedTuple):
    """Columns of zero mean and unit deviation as Φ = U diag(s) Vᵀ. u: (N, R), s: (R,), v: (D, R), mean, scale: (D,)."""

    u: Tensor
    s: Tensor
    v: Tensor
    mean: Tensor
    scale: Tensor


def parts(x: Tensor) -> Parts:
    """Of (N, D) float64; directions in which nothing varies are left out."""
    mean = x.mean(0)
    scale = (x - mean).square().mean(0).sqrt()
    varies = (x.amax(0) > x.amin(0)) & (scale > 0)  # rounding gives a constant column a deviation too
    scale = torch.where(varies, scale, torch.ones_like(scale))
    standard = torch.where(varies, (x - mean) / scale, torch.zeros_like(x))
    u, s, vt = torch.linalg.svd(standard, full_matrices=False)
    kept = s > max(x.shape) * torch.finfo(s.dtype).eps * (s[:1] if len(s) else 1)
    return Parts(u[:, kept], s[kept], vt[kept].T, mean, scale)


def weights(phi: Parts, t: Tensor, penalty: float) -> Tensor:
    """(T, D + 1) weights of [x | 1] that minimise ½ Σ (t − y)² + λ/2 ‖w‖², w those of standardised columns.

    Args:
        t: (N, T) float64.
    """
    shrink = phi.s / (phi.s.square() + penalty)  # (ΦᵀΦ + λI)⁻¹Φᵀ = V diag(s / (s² + λ)) Uᵀ
    w = ((phi.v * shrink) @ (phi.u.T @ (t - t.mean(0)))).T / phi.scale  # (T, D)
    return torch.cat([w, (t.mean(0) - w @ phi.mean)[:, None]], dim=1)


def left_out(phi: Parts, t: Tensor, penalty: float) -> Tensor:
    """The error of each sample when it alone is left out of the fit, (N, T), without fitting anew.

    It is e / (1 − h), with h the diagonal of Φ(ΦᵀΦ + λI)⁻¹Φᵀ and 1/N for the offset; infinite where h is 1.
    Source: Allen 1974; Golub, Heath and Wahba 1979.
    """
    keeps = phi.s.square() / (phi.s.square() + penalty)
    error = t - t.mean(0) - (phi.u * keeps) @ (phi.u.T @ (t - t.mean(0)))
    free = 1 - 1 / len(t) - (phi.u.square() * keeps).sum(1)
    return torch.where(free[:, None] > 1e-10, error / free[:, None].clamp(min=1e-10), torch.inf)


def scored(errors: Tensor, t: Tensor) -> float:
    """The mean square of (N, T) errors, each target in units of its own deviation."""
    variance = t.var(0, correction=0)
    return float((errors.square() / torch.where(variance > 0, variance, torch.ones_like(variance))).mean())


def best_penalty(phi: Parts, t: Tensor) -> float:
    """The λ with the least error on samples left out one by one, of 41 between 10⁻⁸ and 10² of the largest s²."""
    if not len(phi.s):
        return 0.0
    tried = (PENALTIES * phi.s[0].square()).tolist()
    return float(min(tried, key=lambda penalty: scored(left_out(phi, t, penalty), t)))


def build(c: RidgeSettings, spec: Spec) -> Linear:
    return Linear(spec.input.shape[0] or 1, targets(spec))


def fit(c: RidgeSettings, data: Dataset[Labelled], model: Linear, run: Run) -> None:
    x, t = least_squares.training(data)
    phi = parts(x)
    penalty = best_penalty(phi, t) if c.alpha is None else c.alpha
    run.notes["penalty"] = penalty
    model.w.copy_(weights(phi, t, penalty))
    model.to(run.device)


LEARNER = Learner[RidgeSettings, Dataset[Labelled], Linear](
    name="ridge",
    summary="Least squares that pays for large weights, in closed form.",
    source="Hoerl and Kennard 1970; lecture 001",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=RidgeSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
