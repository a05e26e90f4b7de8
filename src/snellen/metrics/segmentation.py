"""Semantic segmentation metrics: mean IoU and pixel accuracy from a confusion matrix per image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import metric_of_sums


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Pixels by true class (rows) and predicted class (columns), without ignored pixels (-1).

    Args:
        truth, predicted: (H, W) int64, or other places of a sample.
    Returns:
        (K, K) int64.
    """
    valid = truth >= 0
    return torch.bincount(truth[valid] * classes + predicted[valid], minlength=classes**2).view(classes, classes)


def class_counts(tables: Tensor) -> Tensor:
    """Correct, true and predicted pixels of each class: (N, K, K) tables to (N, 3, K)."""
    tables = tables.double()
    return torch.stack([tables.diagonal(dim1=-2, dim2=-1), tables.sum(-1), tables.sum(-2)], dim=-2)


def class_ious(counts: Tensor) -> Tensor:
    """Intersection over union (Jaccard index) of each class, |truth ∩ predicted| / |truth ∪ predicted|.

    Args:
        counts: (..., 3, K) as `class_counts` returns them, or their sums over images.
    Returns:
        (..., K); NaN for a class that occurs in neither truth nor predictions.
    Source: Everingham et al. 2010, section 4.2.4 (jaccard index of pixels).
    """
    correct, true, predicted = counts.unbind(-2)
    return correct / (true + predicted - correct)


def mean_iou(counts: Tensor) -> Tensor:
    """Mean IoU over the classes that occur in truth or predictions: (..., 3, K) to (...); NaN without valid pixels."""
    return class_ious(counts).nanmean(-1)


def metric_over_images(
    tables: Tensor, metric: Callable[[Tensor], Tensor], undefined: str, over: str = "images"
) -> Metric:
    """A metric in 0 … 1 with its bootstrap interval over images; None where it is undefined over all images.

    Args:
        tables: (N, K, K).
        metric: (R, 3, K) sums to (R,).
        over: the samples, in the plural.
    """
    like = Metric(value=None, over=over, percent=True, reason=undefined)
    return metric_of_sums(like, class_counts(tables), metric)


def pixel_accuracy(counts: Tensor) -> Tensor:
    """Pixel accuracy, the fraction of correctly classified pixels: (..., 3, K) to (...)."""
    correct, true, _ = counts.unbind(-2)
    return correct.sum(-1) / true.sum(-1)
