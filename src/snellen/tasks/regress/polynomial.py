"""Polynomial of order M: powers of each column, in closed form.

Source: lecture 001, y = Σ w_j x^j for j = 0 … M, E = ½ Σ (y − t)²; Bishop 2006, section 1.1.
"""

from __future__ import annotations

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
from snellen.tasks.regress.objective import targets
from snellen.tasks.regress.ridge import left_out, parts, scored, weights
from snellen.tasks.regress.task import TASK

HIGHEST = 9  # order that is tried


@settings
class PolynomialSettings:
    """How far it may bend."""

    degree: Annotated[int, Limit(least=0, most=30)] | None = None
    """M, the highest power of each column; auto: of 0 to 9 that with the least error on samples left out one by one."""


class Polynomial(nn.Module):
    """t = w0 + Σ_d Σ_j w_dj z_d^j with j = 1 … M, where z is the column drawn to −1 … 1.

    Powers of raw columns are so alike, or so large, that their weights could not be computed.

    middle, radius: (D,). w: (T, M·D + 1), all first powers, then all second ..., the last the offset; float64.
    """

    middle: Tensor
    radius: Tensor
    w: Tensor

    def __init__(self, inputs: int, targets: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("middle", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("radius", torch.ones(inputs, dtype=torch.float64))
        self.register_buffer("w", torch.zeros(targets, order * inputs + 1, dtype=torch.float64))

    def powers(self, x: Tensor, order: int) -> Tensor:
        """(B, D) to (B, order · D)."""
        z = (x.double() - self.middle) / self.radius
        return torch.cat([z**j for j in range(1, order + 1)], dim=1) if order else z[:, :0]

    def predict(self, x: Tensor) -> Tensor:
        return self.powers(x.flatten(1), self.order) @ self.w[:, :-1].T + self.w[:, -1]

    def coefficients(self) -> Tensor:
        """(T, D, M + 1) weights of the powers 0 … M of each column in the user's units; the offset is with the first.

        Many digits of high powers are lost in them: predictions use those of −1 … 1.
        """
        drawn = self.w[:, :-1].reshape(len(self.w), self.order, len(self.middle)).transpose(1, 2)  # (T, D, M)
        found = torch.zeros(*drawn.shape[:2], self.order + 1, dtype=torch.float64)
        for t, d in np.ndindex(*drawn.shape[:2]):
            own = np.concatenate([[float(self.w[t, -1]) if d == 0 else 0.0], drawn[t, d].cpu().numpy()])
            low, high = float(self.middle[d] - self.radius[d]), float(self.middle[d] + self.radius[d])
            raw = np.polynomial.Polynomial(own, domain=[low, high]).convert().coef
            found[t, d, : len(raw)] = torch.from_numpy(raw)
        return found


def errors_of_orders(model: Polynomial, x: Tensor, t: Tensor) -> list[float]:
    """For orders 0, 1, ..., the mean square error on samples left out one by one; orders with too few samples excluded.

    Args:
        x: (N, D). t: (N, T), float64.
    """
    orders = [m for m in range(model.order + 1) if m * x.shape[1] + 1 < len(t)] or [0]
    return [scored(left_out(parts(model.powers(x, m)), t, 0.0), t) for m in orders]


def build(c: PolynomialSettings, spec: Spec) -> Polynomial:
    return Polynomial(spec.input.shape[0] or 1, targets(spec), HIGHEST if c.degree is None else c.degree)


def fit(c: PolynomialSettings, data: Dataset[Labelled], model: Polynomial, run: Run) -> None:
    x, t = least_squares.training(data)
    low, high = x.amin(0), x.amax(0)
    model.middle.copy_((low + high) / 2)
    model.radius.copy_(torch.where(high > low, (high - low) / 2, torch.ones_like(low)))
    order = c.degree
    if order is None:
        errors = errors_of_orders(model, x, t)
        order = errors.index(min(errors))
        run.notes["left-one-out errors"] = errors
        run.say(f"Order {order} has the least error on samples left out one by one.")
    run.notes["order"] = order
    w = weights(parts(model.powers(x, order)), t, 0.0)  # (T, order · D + 1)
    model.w.zero_()
    model.w[:, : w.shape[1] - 1] = w[:, :-1]  # powers above the order keep the weight 0
    model.w[:, -1] = w[:, -1]
    model.to(run.device)


LEARNER = Learner[PolynomialSettings, Dataset[Labelled], Polynomial](
    name="polynomial",
    summary="Powers of each column up to an order that is found by leaving samples out, in closed form.",
    source="lecture 001; Bishop 2006, 1.1",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=PolynomialSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
