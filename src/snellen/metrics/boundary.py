"""How well boundaries were found: precision and recall of their pixels, with a tolerance.

Source: Martin, Fowlkes and Malik 2004, "Learning to detect natural image boundaries"; Arbeláez et al. 2011, section 3.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = torch.arange(1, 20, dtype=torch.float64) / 20  # 0.05 … 0.95
TOLERANCE = 0.0075  # of the picture's diagonal, as in the Berkeley benchmark


def matched(said: Tensor, truth: Tensor, tolerance: float) -> int:
    """The most pairs of a said and a true pixel, each in one pair at most, that lie within the tolerance.

    The Berkeley benchmark pairs them at the least sum of distances, with a price for pixels left alone that is higher
    than any distance; so it, too, leaves as few alone as can be, and counts the same number of pairs.

    Args:
        said, truth: (H, W) bool.
        tolerance: pixels, Euclidean.
    Source: Hopcroft and Karp 1973.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    height, width = truth.shape
    number = np.full((height, width), -1)
    number[truth.numpy()] = np.arange(int(truth.sum()))
    y, x = np.nonzero(said.numpy())
    reach = math.floor(tolerance)
    near = [
        (dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if dy * dy + dx * dx <= tolerance**2
    ]
    ones, others = [], []
    for dy, dx in near:
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        found = number[y[inside] + dy, x[inside] + dx]
        ones.append(np.flatnonzero(inside)[found >= 0])
        others.append(found[found >= 0])
    rows, columns = np.concatenate(ones), np.concatenate(others)
    if not len(rows):
        return 0
    graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(y), int(truth.sum())))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def counts(said: Tensor, truth: Tensor) -> Tensor:
    """Of one picture, at each threshold: pairs, said pixels and true pixels, (3 · thresholds,) float64.

    Nothing is thinned before: who draws a thick line says more pixels than there are.

    Args:
        said: (H, W) in 0 … 1. truth: (H, W), 0 or 1; pixels without a truth are NaN and left out.
    """
    there, true = torch.isfinite(truth), truth > 0.5
    tolerance = max(1.0, TOLERANCE * math.hypot(*truth.shape))
    rows = []
    for threshold in THRESHOLDS.tolist():
        chosen = (said >= threshold) & there
        rows.append((matched(chosen, true, tolerance), int(chosen.sum()), int(true.sum())))
    return torch.tensor(rows, dtype=torch.float64).T.flatten()


def precision_recall(sums: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 3 · thresholds) to precision and recall at each threshold, (..., thresholds); NaN where undefined."""
    pairs, said, true = sums.view(*sums.shape[:-1], 3, len(THRESHOLDS)).unbind(-2)
    return pairs / said, pairs / true


def f_measure(sums: Tensor) -> Tensor:
    """2 P R / (P + R) at the one threshold that is best over all pictures (ODS), (..., 3 · thresholds) to (...)."""
    pairs, said, true = sums.view(*sums.shape[:-1], 3, len(THRESHOLDS)).unbind(-2)
    return (2 * pairs / (said + true)).amax(-1)  # NaN where nothing is said and nothing true
