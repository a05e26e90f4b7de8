"""The second-best cell of a study, and whether the best one is significantly better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from snellen.metrics.intervals import LEVEL
from snellen.model_selection.cross_validation import fold_variance_factor


def runner_up_sentence(labels: Sequence[str], values: Sequence[Sequence[float]], best: int, over: str) -> str:
    """Compare the best cell with the second best, paired by seed or fold; "" for a single cell.

    The p-value of the paired t-test is multiplied by the number of other cells (Bonferroni): the best was selected.

    Args:
        labels, values: name and score of each cell, higher is better, for the same seeds or folds.
        best: index of the best cell.
    """
    others = [k for k in range(len(labels)) if k != best]
    if not others or not values[best]:
        return ""
    second = max(others, key=lambda k: statistics.fmean(values[k]))
    gains = [a - b for a, b in zip(values[best], values[second], strict=True)]
    count = len(gains)
    if count < 2:
        return f"One {over[:-1]} cannot show whether it differs from the runner-up, {labels[second]}."
    if max(gains) == min(gains):
        same = "equals" if gains[0] == 0 else "has the same difference to"
        return f"It {same} the runner-up, {labels[second]}, for every {over[:-1]}, so {over} cannot test this."
    p = paired_p_value(gains, fold_variance_factor(count) if over == "folds" else 1.0) * len(others)
    if p < LEVEL:
        return f"It is significantly better than the runner-up, {labels[second]} (paired over {count} {over})."
    return f"It does not differ significantly from the runner-up, {labels[second]} (paired over {count} {over})."


def paired_p_value(gains: Sequence[float], variance_factor: float = 1.0) -> float:
    """Two-sided p-value of Student's t-test of a mean difference of zero.

    Args:
        variance_factor: of the variance of the mean, against independent differences.
    Source: Student 1908.
    """
    from scipy.special import stdtr

    error = statistics.stdev(gains) * math.sqrt(variance_factor / len(gains))
    return 2 * float(stdtr(len(gains) - 1, -abs(statistics.fmean(gains)) / error))
