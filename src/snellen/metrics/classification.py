"""Classification metrics: accuracy, confusion matrix, F1, log loss, calibration, ROC AUC, average precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import (
    add_interval,
    add_interval_of_mean,
    auc_interval,
    mean_fraction_interval,
    wilson_interval,
)

SAMPLES = "samples"


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """(K, K) counts: rows are true classes, columns predicted classes.

    Args:
        truth, predicted: (N,) int64 in 0 … K-1.
    """
    return torch.bincount(truth * classes + predicted, minlength=classes * classes).view(classes, classes)


def accuracy(truth: Tensor, predicted: Tensor) -> Metric:
    """Fraction of correct predictions, with Wilson's interval."""
    correct, count = int((truth == predicted).sum()), len(truth)
    low, high = wilson_interval(correct, count)
    return Metric(value=correct / count, low=low, high=high, over=SAMPLES, percent=True)


def balanced_accuracy(table: Tensor) -> Metric:
    """Balanced accuracy: the mean of the recalls of the classes; 1/K for a constant prediction.

    Args:
        table: (K, K) as `confusion_matrix` returns it; classes without samples are ignored.
    """
    count = table.sum(1)
    present = count > 0
    correct = table.diagonal()[present]
    low, high = mean_fraction_interval(correct, count[present])
    value = float((correct.double() / count[present].double()).mean())
    return Metric(value=value, low=low, high=high, over=SAMPLES, percent=True)


def resampled_balanced_accuracy(truth: Tensor, predicted: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    """Statistic for the bootstrap: (R, n) rows of the samples to (R,) balanced accuracies."""
    correct = (truth == predicted).double()

    def statistic(rows: Tensor) -> Tensor:
        zeros = torch.zeros(len(rows), classes, dtype=torch.float64)
        hits = zeros.scatter_add(1, truth[rows], correct[rows])  # (R, K)
        count = zeros.scatter_add(1, truth[rows], torch.ones_like(rows, dtype=torch.float64))
        return (hits / count.clamp(min=1)).sum(1) / (count > 0).sum(1)

    return statistic


def f1_macro(table: Tensor) -> Metric:
    """Macro F1: the mean of 2TP / (2TP + FP + FN) over classes that occur in truth or predictions.

    Args:
        table: (K, K) as `confusion_matrix` returns it.
    """
    classes = len(table)
    cell = torch.arange(classes**2).repeat_interleave(table.flatten())  # of each sample

    def statistic(rows: Tensor) -> Tensor:
        """(R, n) samples to (R,) macro F1."""
        tables = torch.zeros(len(rows), classes**2, dtype=torch.float64)
        tables.scatter_add_(1, cell[rows], torch.ones_like(rows, dtype=torch.float64))
        tables = tables.view(-1, classes, classes)
        return (2 * tables.diagonal(dim1=1, dim2=2) / (tables.sum(1) + tables.sum(2))).nanmean(1)

    value = float(statistic(torch.arange(len(cell))[None])[0])
    return add_interval(Metric(value=value, over=SAMPLES, percent=True), statistic, len(cell))


def top_k_accuracy(scores: Tensor, truth: Tensor, k: int) -> Metric:
    """Top-k accuracy: how often the true class is among the k highest scores."""
    correct = int((scores.topk(k, dim=1).indices == truth[:, None]).any(1).sum())
    low, high = wilson_interval(correct, len(truth))
    return Metric(value=correct / len(truth), low=low, high=high, over=SAMPLES, percent=True)


def log_loss(scores: Tensor, truth: Tensor) -> Metric:
    """Log loss: mean negative log-probability of the true class, in nats, with a bootstrap interval."""
    losses = torch.nn.functional.cross_entropy(scores.double(), truth, reduction="none")
    metric = Metric(value=float(losses.mean()), over=SAMPLES, higher_is_better=False, unit="nats")
    return add_interval_of_mean(metric, losses)


def calibration(probability: Tensor, correct: Tensor, bins: int = 15) -> tuple[list[tuple[float, float, int]], float]:
    """Reliability curve: per bin (mean confidence, accuracy, count), and the expected calibration error.

    Bin m of M holds confidences in ((m − 1) / M, m / M], the first also 0.

    Args:
        probability: (N,) confidence of the predicted class. correct: (N,) bool.
    Source: Guo, Pleiss, Sun and Weinberger 2017, section 2 and eq. 3.
    """
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    bin_index = torch.bucketize(probability.double(), edges)
    rows, error = [], 0.0
    for b in range(bins):
        inside = bin_index == b
        count = int(inside.sum())
        if count:
            mean_confidence, mean_accuracy = (
                float(probability[inside].double().mean()),
                float(correct[inside].double().mean()),
            )
            rows.append((mean_confidence, mean_accuracy, count))
            error += count / len(correct) * abs(mean_confidence - mean_accuracy)
    return rows, error


def roc_auc(score: Tensor, positive: Tensor) -> Metric:
    """ROC AUC: probability that a positive sample scores above a negative one; undefined without either.

    Args:
        score: (N,). positive: (N,) bool.
    Source of the interval: Newcombe 2006, method 5, with the variance of Hanley and McNeil 1982.
    """
    from sklearn.metrics import roc_auc_score

    if int(positive.sum()) in (0, len(positive)):
        return Metric(value=None, percent=True, reason="the split has one class only")
    value = float(roc_auc_score(positive.numpy(), score.double().numpy()))
    positives = int(positive.sum())
    low, high = auc_interval(value, positives, len(positive) - positives)
    return Metric(value=value, low=low, high=high, over=SAMPLES, percent=True)


def average_precision(score: Tensor, truth: Tensor) -> Metric:
    """Macro average precision over labels (area under the precision-recall curve); ignores labels without positives.

    Args:
        score: (N, K). truth: (N, K) zeros and ones.
    """
    statistic = resampled_average_precision(score, truth)
    value = float(statistic(torch.arange(len(truth))[None])[0])
    if math.isnan(value):
        return Metric(value=None, percent=True, reason="no sample of the split has a label")
    return add_interval(Metric(value=value, over=SAMPLES, percent=True), statistic, len(truth), draws=200)


def resampled_average_precision(score: Tensor, truth: Tensor) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of the samples to (R,) macro average precisions, NaN for rows without any positive.

    AP = Σ (R_k − R_{k−1}) P_k over the distinct scores k, so equal scores have equal precision in any order of the
    samples: the definition of scikit-learn.
    """
    order = score.argsort(0, descending=True)  # (N, K)
    hits = truth.gather(0, order).double()
    ordered = score.gather(0, order)
    position = torch.arange(len(score))[:, None].expand_as(order)
    is_last = torch.ones_like(order, dtype=torch.bool)  # of a group of equal scores
    is_last[:-1] = ordered[1:] != ordered[:-1]
    last = torch.where(is_last, position, len(score)).flip(0).cummin(0).values.flip(0)  # (N, K)

    def statistic(rows: Tensor) -> Tensor:
        weights = torch.zeros(len(rows), len(score), dtype=torch.float64)  # (R, N) copies of each sample
        weights.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
        values = []
        for k in range(score.shape[1]):
            copies = weights[:, order[:, k]]
            correct = copies * hits[:, k]
            precision = correct.cumsum(1)[:, last[:, k]] / copies.cumsum(1)[:, last[:, k]]
            values.append((precision * correct).nansum(1) / correct.sum(1))  # 0 / 0 before the first copy
        return torch.stack(values, 1).nanmean(1)

    return statistic
