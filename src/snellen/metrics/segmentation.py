"""How well classes of pixels were told, from a table of counts for each picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics.intervals import over_samples

PICTURES = "pictures"


def confusion(truth: Tensor, said: Tensor, classes: int) -> Tensor:
    """Pixels by true class (rows) and said class; those without a truth (-1) are not counted.

    Args:
        truth, said: (H, W) int64.
    Returns:
        (K, K) int64.
    """
    there = truth >= 0
    return torch.bincount(truth[there] * classes + said[there], minlength=classes**2).view(classes, classes)


def sums(tables: Tensor) -> Tensor:
    """(N, K, K) tables to (N, 3, K): pixels told rightly, truly there, and said of each class."""
    tables = tables.double()
    return torch.stack([tables.diagonal(dim1=-2, dim2=-1), tables.sum(-1), tables.sum(-2)], dim=-2)


def ious(parts: Tensor) -> Tensor:
    """Intersection over union of each class, |truth ∩ said| / |truth ∪ said|.

    Args:
        parts: (..., 3, K) as `sums` makes them, or their sums over pictures.
    Returns:
        (..., K); NaN for a class that is neither there nor said.
    Source: Everingham et al. 2010, section 4.2.4 (jaccard index of pixels).
    """
    right, there, said = parts.unbind(-2)
    return right / (there + said - right)


def mean_iou(parts: Tensor) -> Tensor:
    """(..., 3, K) to (...): over the classes that are there or were said; NaN where no pixel has a truth."""
    return ious(parts).nanmean(-1)


def measured(tables: Tensor, figure: Callable[[Tensor], Tensor], undefined: str) -> Metric:
    """A share with its interval over pictures, None where it is undefined over all of them.

    Args:
        tables: (N, K, K).
        figure: (R, 3, K) sums to (R,).
    """
    found = over_samples(sums(tables), figure)
    if found is None:
        return Metric(value=None, percent=True, reason=undefined)
    value, low, high = found
    return Metric(value=value, low=low, high=high, over=PICTURES, percent=True)


def pixel_accuracy(parts: Tensor) -> Tensor:
    """(..., 3, K) to (...): the share of pixels told rightly."""
    right, there, _ = parts.unbind(-2)
    return right.sum(-1) / there.sum(-1)
