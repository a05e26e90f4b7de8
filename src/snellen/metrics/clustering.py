"""Metrics of a clustering: silhouette of each sample, adjusted Rand index of two partitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.core.views import Metric

MAX_REFERENCE = 2000  # samples that silhouettes are measured against
MAX_ELEMENTS = 1 << 24  # of the distances computed at once
ROUNDING = 1e-14  # of a squared distance, relative to the squares that it is computed of


class Reference(NamedTuple):
    """Samples that silhouettes are measured against: (R, D) float64 and (R,) int64, their clusters."""

    x: Tensor
    clusters: Tensor


def silhouettes(x: Tensor, clusters: Tensor, itself: Tensor, reference: Reference) -> Tensor:
    """Silhouette of each sample, s = (b − a) / max(a, b) in −1 … 1.

    a is the mean distance of a sample to the others of its cluster, b the smallest mean distance to those of another
    cluster, among the reference samples. A sample alone in its cluster has 0, as in scikit-learn; so have all samples
    if only one cluster has samples.

    Args:
        x: (B, D) float64, centred: far from the origin ‖x‖² − 2 x·y + ‖y‖² would lose digits.
        clusters: (B,) int64. itself: (B,) int64, its place in the reference; -1 if it is not part of it.
    Returns:
        (B,) float64.
    Source: Rousseeuw 1987.
    """
    if not len(x) or not len(reference.x):
        return torch.zeros(len(x), dtype=torch.float64)
    block = max(1, MAX_ELEMENTS // len(reference.x))
    rows = torch.split(torch.arange(len(x)), block)
    return torch.cat(
        [
            silhouettes_of_distances(
                distances(x[part], itself[part], reference.x), clusters[part], itself[part], reference.clusters
            )
            for part in rows
        ]
    )


def silhouettes_of_distances(distances: Tensor, clusters: Tensor, itself: Tensor, of_reference: Tensor) -> Tensor:
    """Silhouettes from the (B, R) distances of samples to the reference samples; see `silhouettes`.

    Args:
        of_reference: (R,) int64, the clusters of the reference samples.
    """
    count = 1 + max(int(clusters.max()), int(of_reference.max()))
    members = torch.nn.functional.one_hot(of_reference, count).double()  # (R, K)
    sizes, own = members.sum(0), clusters[:, None]
    sums = distances @ members  # (B, K)
    others = sizes[clusters] - (itself >= 0).double()  # of its cluster, without itself
    a = sums.gather(1, own)[:, 0] / others.clamp(min=1)
    means = torch.where(sizes > 0, sums / sizes.clamp(min=1), torch.inf).scatter(1, own, torch.inf)
    b = means.amin(1)
    s = (b - a) / torch.maximum(a, b).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where((others > 0) & b.isfinite(), s, 0.0)


def distances(x: Tensor, itself: Tensor, reference: Tensor) -> Tensor:
    """(B, R) Euclidean distances; those of equal samples, which rounding would make positive, are 0."""
    size = x.square().sum(1)[:, None] + reference.square().sum(1)
    squares = size - 2 * x @ reference.T
    squares = torch.where(squares < ROUNDING * size, 0.0, squares)
    known = torch.nonzero(itself >= 0)[:, 0]
    squares[known, itself[known]] = 0.0
    return squares.sqrt()


def adjusted_rand(first: Tensor, second: Tensor) -> float:
    """Adjusted Rand index of two partitions: 1 if they are the same, 0 on average if one is random.

    Args:
        first, second: (N,) int64.
    """
    return float(resampled_adjusted_rand(first, second)(torch.arange(len(first))[None])[0])


def resampled_adjusted_rand(first: Tensor, second: Tensor) -> Callable[[Tensor], Tensor]:
    """Adjusted Rand index of resamples of (N,) and (N,) int64, a function of (R, n) rows.

    The index counts pairs of samples; a pair of a sample with its own copy in the same resample does not count. It is
    1 where neither partition separates or joins any pair, as in scikit-learn.

    Source: Hubert and Arabie 1985.
    """
    columns = int(second.max()) + 1 if len(second) else 1
    cells = first * columns + second  # (N,)
    rows_count = int(first.max()) + 1 if len(first) else 1

    def index(rows: Tensor) -> Tensor:
        weights = torch.zeros(len(rows), len(first), dtype=torch.float64)
        weights.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
        table = torch.zeros(len(rows), rows_count * columns, dtype=torch.float64).index_add_(1, cells, weights)
        table = table.view(len(rows), rows_count, columns)
        copies = weights.square().sum(1)
        both = table.square().sum((1, 2)) - copies  # ordered pairs together in both partitions
        in_first, in_second = (table.sum(d).square().sum(1) - copies for d in (2, 1))
        total = weights.sum(1).square() - copies
        expected = in_first * in_second / total.clamp(min=1)
        highest = (in_first + in_second) / 2
        same = (in_first == both) & (in_second == both)
        return torch.where(same, 1.0, (both - expected) / torch.where(highest == expected, 1.0, highest - expected))

    return index


def mean_over_refits(values: list[float]) -> Metric:
    """Mean of an index of several models with its interval over the models by Student's t, within −1 … 1."""
    from scipy.special import stdtrit  # torch has no quantile of t

    numbers = torch.tensor(values, dtype=torch.float64)
    mean = float(numbers.mean())
    half = float(stdtrit(len(numbers) - 1, 0.975)) * float(numbers.std()) / math.sqrt(len(numbers))
    if half == 0:
        return Metric(value=mean, low=mean, high=mean, over="refits", reason="equal for all refits")
    return Metric(value=mean, low=max(-1.0, mean - half), high=min(1.0, mean + half), over="refits")
