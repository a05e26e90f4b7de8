"""COCO average precision and recall, over all images or any weighting of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from snellen.metrics.matching import Matches

RECALLS = np.linspace(0.0, 1.0, 101)  # at which precision is read
MAX_ELEMENTS = 1 << 23  # numbers held at a time: resamples times detections of a class


def average_precision(matches: Matches, weights: Tensor | None = None, size_range: int = 0) -> tuple[Tensor, Tensor]:
    """Average precision and recall of each class at each threshold.

    The precision at a recall is the maximum at that recall or above; the average is over 101 recalls. An image of
    weight w counts as w copies of it.

    Args:
        weights: (R, N) how often each image counts; None: once.
        size_range: index of the area range of the matches.
    Returns:
        (R, T, K) average precision and (R, T, K) recall, float64, NaN for a class without objects.
    Source: Everingham et al. 2010; Lin et al. 2014; `pycocotools`.
    """
    if weights is None:
        weights = torch.ones(1, matches.images, dtype=torch.float64)
    weights = weights.double()
    rows, thresholds = len(weights), matches.object_index.shape[1]
    precision = torch.full((rows, thresholds, matches.classes), torch.nan, dtype=torch.float64)
    recall = torch.full_like(precision, torch.nan)
    is_counted = torch.from_numpy(matches.is_counted[size_range])
    image_of, label_of = (torch.from_numpy(side) for side in (matches.truths.image, matches.truths.label))
    for label in range(matches.classes):
        part = matches.of_class(label)
        objects = torch.bincount(image_of[is_counted & (label_of == label)], minlength=matches.images).double()  # (N,)
        total = weights @ objects  # (R,)
        defined = torch.nonzero(total > 0)[:, 0]
        chunk_size = max(1, MAX_ELEMENTS // max(part.stop - part.start, 1))
        for chunk in torch.split(defined, chunk_size):
            precision[chunk, :, label], recall[chunk, :, label] = _class_average_precision(
                matches, part, weights[chunk], total[chunk], size_range
            )
    return precision, recall


def _class_average_precision(
    matches: Matches, part: slice, weights: Tensor, total: Tensor, size_range: int
) -> tuple[Tensor, Tensor]:
    """(R, T) average precision and recall of one class; `part` holds its detections, highest score first."""
    detection_weights = weights[:, torch.from_numpy(matches.image[part])]  # (R, D)
    objects, left_out = matches.object_index[size_range, :, part], matches.left_out[size_range, :, part]  # (T, D)
    precision = torch.zeros(len(weights), len(objects), dtype=torch.float64)
    recall = torch.zeros_like(precision)
    recalls = torch.from_numpy(RECALLS).expand(len(weights), -1).contiguous()
    predicted, valid = torch.zeros(0), np.zeros(0, bool)
    for t, (object_index, ignored) in enumerate(zip(objects, left_out, strict=True)):
        correct = np.flatnonzero((object_index >= 0) & ~ignored)
        if not len(correct):
            continue
        if not np.array_equal(valid, ~ignored):
            valid = ~ignored
            predicted = (detection_weights * torch.from_numpy(valid)).cumsum(1)  # (R, D) detections so far
        positions = torch.from_numpy(correct)
        true_positives = detection_weights[:, positions].cumsum(1)  # (R, P) so far, at each true positive
        recall_so_far = true_positives / total[:, None]
        # Precision only falls between two true positives, so it is computed at the true positives alone.
        best = (true_positives / (predicted[:, positions] + np.spacing(1))).flip(1).cummax(1).values.flip(1)
        first = torch.searchsorted(recall_so_far, recalls)  # (R, 101)
        interpolated = best.gather(1, first.clamp(max=len(correct) - 1))
        precision[:, t] = torch.where(first < len(correct), interpolated, 0.0).mean(1)
        recall[:, t] = recall_so_far[:, -1]
    return precision, recall


def resampled_mean_ap(matches: Matches) -> Callable[[Tensor], Tensor]:
    """(R, n) rows of images to (R,) mean average precision over thresholds and classes, NaN without any object."""

    def statistic(rows: Tensor) -> Tensor:
        zeros = torch.zeros(len(rows), matches.images, dtype=torch.float64)
        weights = zeros.scatter_add(1, rows, torch.ones_like(rows, dtype=torch.float64))
        return average_precision(matches, weights)[0].nanmean((1, 2))

    return statistic


def precision_recall(matches: Matches, label: int, threshold: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D,) recall, precision and score of one class after each detection that counts; all empty without objects."""
    part = matches.of_class(label)
    valid = ~matches.left_out[0, threshold, part]
    total = int((matches.is_counted[0] & (matches.truths.label == label)).sum())
    if not total:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    correct = (matches.object_index[0, threshold, part] >= 0)[valid].cumsum()
    return correct / total, correct / np.arange(1, len(correct) + 1), matches.score[part][valid]
