"""Boundary detection metrics: precision, recall and F-measure (ODS) of boundary pixels within a tolerance.

Source: Martin, Fowlkes and Malik 2004, "Learning to detect natural image boundaries"; Arbeláez et al. 2011, section 3.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = torch.arange(1, 20, dtype=torch.float64) / 20  # 0.05 … 0.95
TOLERANCE = 0.0075  # of the image diagonal, as in the Berkeley benchmark


def count_matches(predicted: Tensor, truth: Tensor, tolerance: float) -> int:
    """Size of the maximum one-to-one matching of predicted and true boundary pixels within the tolerance.

    The Berkeley benchmark minimises the sum of distances, with a cost for unmatched pixels that is higher than any
    distance; so it, too, leaves as few pixels unmatched as possible, and counts the same number of pairs.

    Args:
        predicted, truth: (H, W) bool.
        tolerance: pixels, Euclidean.
    Source: Hopcroft and Karp 1973.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    height, width = truth.shape
    true_index = np.full((height, width), -1)
    true_index[truth.numpy()] = np.arange(int(truth.sum()))
    y, x = np.nonzero(predicted.numpy())
    reach = math.floor(tolerance)
    offsets = [
        (dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if dy * dy + dx * dx <= tolerance**2
    ]
    predicted_indices, true_indices = [], []
    for dy, dx in offsets:
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        candidates = true_index[y[inside] + dy, x[inside] + dx]
        predicted_indices.append(np.flatnonzero(inside)[candidates >= 0])
        true_indices.append(candidates[candidates >= 0])
    rows, columns = np.concatenate(predicted_indices), np.concatenate(true_indices)
    if not len(rows):
        return 0
    graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(y), int(truth.sum())))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def counts(probability: Tensor, truth: Tensor) -> Tensor:
    """Matched, predicted and true boundary pixels of one image at each threshold, (3 · thresholds,) float64.

    Predictions are not thinned: a thick predicted line counts as too many pixels.

    Args:
        probability: (H, W) in 0 … 1. truth: (H, W), 0 or 1; pixels without ground truth are NaN and ignored.
    """
    valid, true = torch.isfinite(truth), truth > 0.5
    tolerance = max(1.0, TOLERANCE * math.hypot(*truth.shape))
    rows = []
    for threshold in THRESHOLDS.tolist():
        predicted = (probability >= threshold) & valid
        rows.append((count_matches(predicted, true, tolerance), int(predicted.sum()), int(true.sum())))
    return torch.tensor(rows, dtype=torch.float64).T.flatten()


def precision_recall(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall at each threshold: (..., 3 · thresholds) to (..., thresholds); NaN where undefined."""
    pairs, predicted, true = sums.view(*sums.shape[:-1], 3, len(THRESHOLDS)).unbind(-2)
    return pairs / predicted, pairs / true


def f_measure(sums: Tensor) -> Tensor:
    """2 P R / (P + R) at the single best threshold over all images (ODS), (..., 3 · thresholds) to (...)."""
    pairs, predicted, true = sums.view(*sums.shape[:-1], 3, len(THRESHOLDS)).unbind(-2)
    return (2 * pairs / (predicted + true)).amax(-1)  # NaN without predicted and without true pixels
