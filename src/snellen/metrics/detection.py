"""Average precision of objects found in pictures, as COCO has it, of all pictures or of any choice of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from snellen.metrics.matching import Matches

RECALLS = np.linspace(0.0, 1.0, 101)  # at which precision is read
AT_ONCE = 1 << 23  # numbers held at a time: draws times finds of a class


def average_precision(matches: Matches, weights: Tensor | None = None, sizes: int = 0) -> tuple[Tensor, Tensor]:
    """Average precision and recall of each class at each threshold.

    The precision at a recall is the best that is reached at it or beyond; the average is over 101 recalls. A picture
    of weight w counts as w copies of it.

    Args:
        weights: (R, N) how often each picture is there; None: once.
        sizes: which range of the matches'.
    Returns:
        (R, T, K) average precision and (R, T, K) recall, float64, NaN for a class without objects.
    Source: Everingham et al. 2010; Lin et al. 2014; `pycocotools`.
    """
    if weights is None:
        weights = torch.ones(1, matches.pictures, dtype=torch.float64)
    weights = weights.double()
    rows, thresholds = len(weights), matches.object.shape[1]
    precision = torch.full((rows, thresholds, matches.classes), torch.nan, dtype=torch.float64)
    recall = torch.full_like(precision, torch.nan)
    wanted = torch.from_numpy(matches.counted[sizes])
    whose, of = (torch.from_numpy(side) for side in (matches.truths.picture, matches.truths.label))
    for label in range(matches.classes):
        part = matches.of_class(label)
        owners = torch.bincount(whose[wanted & (of == label)], minlength=matches.pictures).double()  # (N,)
        total = weights @ owners  # (R,)
        there = torch.nonzero(total > 0)[:, 0]
        at_once = max(1, AT_ONCE // max(part.stop - part.start, 1))
        for some in torch.split(there, at_once):
            precision[some, :, label], recall[some, :, label] = _of_class(
                matches, part, weights[some], total[some], sizes
            )
    return precision, recall


def _of_class(matches: Matches, part: slice, weights: Tensor, total: Tensor, sizes: int) -> tuple[Tensor, Tensor]:
    """(R, T) average precision and recall of one class, whose finds stand in `part`, the surest first."""
    often = weights[:, torch.from_numpy(matches.picture[part])]  # (R, D)
    objects, left_out = matches.object[sizes, :, part], matches.left_out[sizes, :, part]  # (T, D)
    precision = torch.zeros(len(weights), len(objects), dtype=torch.float64)
    recall = torch.zeros_like(precision)
    recalls = torch.from_numpy(RECALLS).expand(len(weights), -1).contiguous()
    said, kept = torch.zeros(0), np.zeros(0, bool)
    for t, (object, out) in enumerate(zip(objects, left_out, strict=True)):
        right = np.flatnonzero((object >= 0) & ~out)
        if not len(right):
            continue
        if not np.array_equal(kept, ~out):
            kept = ~out
            said = (often * torch.from_numpy(kept)).cumsum(1)  # (R, D) finds so far
        places = torch.from_numpy(right)
        hits = often[:, places].cumsum(1)  # (R, P) right ones so far, at each right one
        shares = hits / total[:, None]
        # Between two right finds precision only falls, so that it need be known at these alone.
        best = (hits / (said[:, places] + np.spacing(1))).flip(1).cummax(1).values.flip(1)
        where = torch.searchsorted(shares, recalls)  # (R, 101)
        read = best.gather(1, where.clamp(max=len(right) - 1))
        precision[:, t] = torch.where(where < len(right), read, 0.0).mean(1)
        recall[:, t] = shares[:, -1]
    return precision, recall


def mean_of_rows(matches: Matches) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of pictures to (R,) mean average precision over thresholds and classes."""

    def statistic(rows: Tensor) -> Tensor:
        nothing = torch.zeros(len(rows), matches.pictures, dtype=torch.float64)
        weights = nothing.scatter_add(1, rows, torch.ones_like(rows, dtype=torch.float64))
        return average_precision(matches, weights)[0].nanmean((1, 2)).nan_to_num(0.0)

    return statistic


def precision_recall(matches: Matches, label: int, threshold: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D,) recall, precision and score of one class after each of its finds that counts; all empty without objects."""
    part = matches.of_class(label)
    kept = ~matches.left_out[0, threshold, part]
    total = int((matches.counted[0] & (matches.truths.label == label)).sum())
    if not total:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    right = (matches.object[0, threshold, part] >= 0)[kept].cumsum()
    return right / total, right / np.arange(1, len(right) + 1), matches.score[part][kept]
