"""How well classes are told apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import bootstrap, mean_of_shares, wilson

SAMPLES = "samples"


def confusion(truth: Tensor, said: Tensor, classes: int) -> Tensor:
    """(K, K) counts; rows are the truth, columns the answer.

    Args:
        truth, said: (N,) int64 in 0 … K-1.
    """
    return torch.bincount(truth * classes + said, minlength=classes * classes).view(classes, classes)


def accuracy(truth: Tensor, said: Tensor) -> Metric:
    """The share of right answers, with Wilson's interval."""
    right, count = int((truth == said).sum()), len(truth)
    low, high = wilson(right, count)
    return Metric(value=right / count, low=low, high=high, over=SAMPLES, percent=True)


def balanced_accuracy(table: Tensor) -> Metric:
    """The mean of the classes' recalls: what a constant answer cannot raise above 1/K.

    Args:
        table: (K, K) as `confusion` gives it; classes without samples are left out.
    """
    count = table.sum(1)
    there = count > 0
    right = table.diagonal()[there]
    low, high = mean_of_shares(right, count[there])
    value = float((right.double() / count[there].double()).mean())
    return Metric(value=value, low=low, high=high, over=SAMPLES, percent=True)


def balanced_accuracy_of_rows(truth: Tensor, said: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of the samples to (R,) means of the classes' recalls."""
    right = (truth == said).double()

    def statistic(rows: Tensor) -> Tensor:
        nothing = torch.zeros(len(rows), classes, dtype=torch.float64)
        hits = nothing.scatter_add(1, truth[rows], right[rows])  # (R, K)
        count = nothing.scatter_add(1, truth[rows], torch.ones_like(rows, dtype=torch.float64))
        return (hits / count.clamp(min=1)).sum(1) / (count > 0).sum(1)

    return statistic


def f1_macro(table: Tensor) -> Metric:
    """The mean over classes of 2TP / (2TP + FP + FN), without classes never said and never there."""
    true_positive = table.diagonal().double()
    total = table.sum(0) + table.sum(1)
    there = total > 0
    return Metric(value=float((2 * true_positive[there] / total[there]).mean()), percent=True)


def top(scores: Tensor, truth: Tensor, k: int) -> Metric:
    """How often the truth is among the k best."""
    right = int((scores.topk(k, dim=1).indices == truth[:, None]).any(1).sum())
    low, high = wilson(right, len(truth))
    return Metric(value=right / len(truth), low=low, high=high, over=SAMPLES, percent=True)


def log_loss(scores: Tensor, truth: Tensor) -> Metric:
    """Mean negative log-probability of the truth, in nats, with a bootstrap interval."""
    losses = torch.nn.functional.cross_entropy(scores.double(), truth, reduction="none")
    low, high = bootstrap(lambda rows: losses[rows].mean(1), len(losses))
    return Metric(value=float(losses.mean()), low=low, high=high, over=SAMPLES, higher_is_better=False, unit="nats")


def calibration(probability: Tensor, right: Tensor, bins: int = 15) -> tuple[list[tuple[float, float, int]], float]:
    """Said against found: per bin (mean confidence, share right, count), and the expected calibration error.

    Args:
        probability: (N,) confidence in the answer given. right: (N,) bool.
    Source: Guo, Pleiss, Sun and Weinberger 2017, eq. 3.
    """
    place = (probability.double() * bins).long().clamp(0, bins - 1)
    rows, error = [], 0.0
    for b in range(bins):
        inside = place == b
        count = int(inside.sum())
        if count:
            said, found = float(probability[inside].double().mean()), float(right[inside].double().mean())
            rows.append((said, found, count))
            error += count / len(right) * abs(said - found)
    return rows, error


def roc_auc(score: Tensor, positive: Tensor) -> Metric:
    """The chance that a positive sample scores above a negative one; undefined without either.

    Args:
        score: (N,). positive: (N,) bool.
    """
    from sklearn.metrics import roc_auc_score

    if int(positive.sum()) in (0, len(positive)):
        return Metric(value=None, percent=True, reason="the split has one class only")
    return Metric(value=float(roc_auc_score(positive.numpy(), score.double().numpy())), percent=True)


def average_precision(score: Tensor, truth: Tensor) -> Metric:
    """Macro mean over labels of the area under precision over recall; labels never there are left out.

    Args:
        score: (N, K). truth: (N, K) zeros and ones.
    """
    from sklearn.metrics import average_precision_score

    there = truth.sum(0) > 0
    if not bool(there.any()):
        return Metric(value=None, percent=True, reason="no sample of the split has a label")
    value = average_precision_score(truth[:, there].numpy(), score[:, there].numpy(), average="macro")
    low, high = bootstrap(average_precision_of_rows(score[:, there], truth[:, there]), len(truth), draws=200)
    value = float(value)
    return Metric(value=value, low=min(low, value), high=max(high, value), over=SAMPLES, percent=True)


def average_precision_of_rows(score: Tensor, truth: Tensor) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of the samples to (R,) macro means over labels, as `average_precision` has them."""
    return lambda rows: torch.tensor([_macro_ap(score[row], truth[row]) for row in rows])


def _macro_ap(score: Tensor, truth: Tensor) -> float:
    """Average precision in torch for the bootstrap: AP = Σ (R_k − R_{k−1}) P_k, without ties."""
    order = score.argsort(0, descending=True)
    hit = truth.gather(0, order)
    rank = torch.arange(1, len(score) + 1)[:, None]
    total = hit.sum(0)
    precision = hit.cumsum(0) / rank
    value = (precision * hit).sum(0)[total > 0] / total[total > 0]
    return float(value.mean()) if len(value) else 0.0
