"""Polynomial regression: powers of each column, in closed form.

Source: lecture 001, y = Σ w_j x^j for j = 0 … M, E = ½ Σ (y − t)²; Bishop 2006, section 1.1.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.regress import least_squares
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.ridge import leave_one_out_errors, normalised_mse, ridge_weights, standardized_svd
from snellen.tasks.regress.task import TASK

MAX_DEGREE = 9  # highest degree that is compared


@settings
class PolynomialSettings:
    """Settings of polynomial regression."""

    degree: Annotated[int, Limit(min=0, max=30)] | None = None
    """Polynomial degree M, the highest power of each column; auto: 0 … 9, by leave-one-out cross-validation."""


class Polynomial(nn.Module):
    """Polynomial t = w0 + Σ_d Σ_j w_dj z_d^j with j = 1 … M, where z is the column scaled to −1 … 1.

    Powers of unscaled columns are too similar or too large for a stable solution.

    middle, radius: (D,). w: (T, M·D + 1), all first powers, then all second ..., the last the intercept; float64.
    """

    middle: Tensor
    radius: Tensor
    w: Tensor

    def __init__(self, inputs: int, target_count: int, degree: int) -> None:
        super().__init__()
        self.degree = degree
        self.register_buffer("middle", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("radius", torch.ones(inputs, dtype=torch.float64))
        self.register_buffer("w", torch.zeros(target_count, degree * inputs + 1, dtype=torch.float64))

    def powers(self, x: Tensor, degree: int) -> Tensor:
        """Powers 1 … degree of the scaled columns, (B, D) to (B, degree · D)."""
        z = (x.double() - self.middle) / self.radius
        return torch.cat([z**j for j in range(1, degree + 1)], dim=1) if degree else z[:, :0]

    def predict(self, x: Tensor) -> Tensor:
        return self.powers(x.flatten(1), self.degree) @ self.w[:, :-1].T + self.w[:, -1]

    def coefficients(self) -> Tensor:
        """Coefficients in the user's units, (T, D, M + 1): powers 0 … M of each column; the first holds the intercept.

        They lose digits of high powers; predictions use the scaled columns.
        """
        standard = self.w[:, :-1].reshape(len(self.w), self.degree, len(self.middle)).transpose(1, 2)  # (T, D, M)
        result = torch.zeros(*standard.shape[:2], self.degree + 1, dtype=torch.float64)
        for t, d in np.ndindex(*standard.shape[:2]):
            scaled = np.concatenate([[float(self.w[t, -1]) if d == 0 else 0.0], standard[t, d].cpu().numpy()])
            low, high = float(self.middle[d] - self.radius[d]), float(self.middle[d] + self.radius[d])
            raw = np.polynomial.Polynomial(scaled, domain=[low, high]).convert().coef
            result[t, d, : len(raw)] = torch.from_numpy(raw)
        return result


def mse_by_degree(model: Polynomial, x: Tensor, t: Tensor) -> list[float]:
    """Leave-one-out mean squared error for degrees 0, 1, ...; degrees with too few samples are left out.

    Args:
        x: (N, D). t: (N, T), float64.
    """
    degrees = [m for m in range(model.degree + 1) if m * x.shape[1] + 1 < len(t)] or [0]
    return [normalised_mse(leave_one_out_errors(standardized_svd(model.powers(x, m)), t, 0.0), t) for m in degrees]


def build(c: PolynomialSettings, spec: Spec) -> Polynomial:
    return Polynomial(spec.input.shape[0] or 1, target_count(spec), MAX_DEGREE if c.degree is None else c.degree)


def fit(c: PolynomialSettings, data: Dataset[Labelled], model: Polynomial, run: Run) -> None:
    x, t = least_squares.training_data(data)
    low, high = x.amin(0), x.amax(0)
    model.middle.copy_((low + high) / 2)
    model.radius.copy_(torch.where(high > low, (high - low) / 2, torch.ones_like(low)))
    degree = c.degree
    if degree is None:
        errors = mse_by_degree(model, x, t)
        degree = errors.index(min(errors))
        run.notes["left-one-out errors"] = [error if math.isfinite(error) else None for error in errors]
        run.message(f"Degree {degree} has the smallest leave-one-out error.")
    run.notes["order"] = degree
    w = ridge_weights(standardized_svd(model.powers(x, degree)), t, 0.0)  # (T, degree · D + 1)
    model.w.zero_()
    model.w[:, : w.shape[1] - 1] = w[:, :-1]  # higher powers have weight 0
    model.w[:, -1] = w[:, -1]
    model.to(run.device)


LEARNER = Learner[PolynomialSettings, Dataset[Labelled], Polynomial](
    name="polynomial",
    summary="Polynomial regression; the degree is chosen by leave-one-out cross-validation, in closed form.",
    source="lecture 001; Bishop 2006, 1.1",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=PolynomialSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
