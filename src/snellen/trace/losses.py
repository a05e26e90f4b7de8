"""Losses of a traced network, summed over samples and outputs, in float64: value and gradient, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snellen.core.errors import UsageError
from snellen.trace.activations import Array


@dataclass(frozen=True, kw_only=True)
class TraceLoss:
    """A loss E(y, t), the sum over samples and outputs.

    Args:
        value: (z, y, t) to E, with z the pre-activations of the outputs y.
        gradient: (z, y, t) to ∂E/∂y; with `after`: to δ = ∂E/∂z.
        after: activation that the outputs must have; its derivative is then part of `gradient`, which keeps
            the logarithm finite.
        formula: E as text; gradient_formula: the gradient as text.
    """

    value: Callable[[Array, Array, Array], float]
    gradient: Callable[[Array, Array, Array], Array]
    formula: str
    gradient_formula: str
    after: str | None = None


def _bce(z: Array, y: Array, t: Array) -> float:
    return float((np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).sum())


def _cross_entropy(z: Array, y: Array, t: Array) -> float:
    shifted = z - z.max(-1, keepdims=True)
    return float((t * (np.log(np.exp(shifted).sum(-1, keepdims=True)) - shifted)).sum())


LOSSES: dict[str, TraceLoss] = {
    "half-squared": TraceLoss(
        value=lambda z, y, t: float(0.5 * np.square(y - t).sum()),
        gradient=lambda z, y, t: y - t,
        formula="½ Σ (y − t)²",
        gradient_formula="y − t",
    ),
    "squared": TraceLoss(
        value=lambda z, y, t: float(np.square(y - t).sum()),
        gradient=lambda z, y, t: 2 * (y - t),
        formula="Σ (y − t)²",
        gradient_formula="2 (y − t)",
    ),
    "bce": TraceLoss(
        value=_bce,
        gradient=lambda z, y, t: y - t,
        formula="−Σ [t ln y + (1 − t) ln(1 − y)]",
        gradient_formula="y − t",
        after="sigmoid",
    ),
    "cross-entropy": TraceLoss(
        value=_cross_entropy,
        gradient=lambda z, y, t: y * t.sum(-1, keepdims=True) - t,
        formula="−Σ t ln y",
        gradient_formula="y − t",
        after="softmax",
    ),
}


def check_targets(loss: str, targets: Array) -> None:
    """Raise UsageError for targets that the loss has no meaning for."""
    if loss == "bce" and not ((targets >= 0) & (targets <= 1)).all():
        worst = float(targets[(targets < 0) | (targets > 1)].flat[0])
        raise UsageError(
            f"The target {worst:g} is outside 0 … 1, the range of loss bce",
            "Give targets from 0 to 1, or --loss half-squared.",
        )
    if loss == "cross-entropy":
        if targets.ndim != 2 or targets.shape[1] < 2:
            raise UsageError(
                "Loss cross-entropy needs at least two outputs, one for each class",
                "Give a target such as 0,1 for the second of two classes, or --loss bce.",
            )
        sums = targets.sum(-1)
        if (targets < 0).any() or not np.allclose(sums, 1, rtol=0, atol=1e-9):
            row = int(np.argmax((np.abs(sums - 1) > 1e-9) | (targets < 0).any(-1)))
            raise UsageError(
                f"The target {','.join(f'{v:g}' for v in targets[row])} of sample {row + 1} is no probability "
                "distribution, which loss cross-entropy needs",
                "Give probabilities that sum to 1, such as 0,1 for the second of two classes.",
            )
