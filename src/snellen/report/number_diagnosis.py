"""Diagnosis of predicted numbers: predictions beyond a bound of the target."""

from __future__ import annotations

from torch import Tensor

from snellen.core.views import Finding

BOUND_FRACTION = 0.02  # of the training targets that equal the extreme: a tail has one, a bound such as 0 % many
MIN_AT_BOUND = 3  # samples; two equal extremes may be a coincidence of rounding


def outside_findings(train: Tensor, predicted: Tensor, names: tuple[str, ...], split: str) -> list[Finding]:
    """Predictions beyond the smallest or largest training target, where many training targets equal it.

    Args:
        train: (N, T) training targets. predicted: (n, T). names: of the T targets.
        split: "test" or "validation".
    """
    findings = []
    for k, name in enumerate(names):
        for bound, side in ((train[:, k].min(), "below"), (train[:, k].max(), "above")):
            at_bound = int((train[:, k] == bound).sum())
            if at_bound < max(MIN_AT_BOUND, BOUND_FRACTION * len(train)) or at_bound == len(train):
                continue
            values = predicted[:, k]
            beyond = values < bound if side == "below" else values > bound
            if not bool(beyond.any()):
                continue
            farthest = float(values.min() if side == "below" else values.max())
            extreme = "smallest" if side == "below" else "largest"
            findings.append(
                Finding(
                    kind="outside",
                    severity="note",
                    message=f"{int(beyond.sum()):,} of {len(values):,} {split} predictions of {name} are {side} "
                    f"{float(bound):.4g}, the {extreme} value in training ({at_bound:,} samples have it); the farthest "
                    f"is {farthest:.4g}.",
                    remedy=f"If {name} cannot be {side} {float(bound):.4g}, clip the predictions there.",
                )
            )
    return findings
