"""k-means: k-means++ initialisation and Lloyd's iterations, in float64.

Lloyd's algorithm alternates two steps, each of which lowers the inertia Σ_n min_k ‖x_n − c_k‖² or leaves it: every
sample goes to its nearest centre, then every centre becomes the mean of its samples.

Sources: Lloyd 1982; Arthur and Vassilvitskii 2007 (k-means++); lecture 002.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MAX_ITERATIONS = 100  # of one restart
TOLERANCE = 1e-10  # relative decrease of the inertia below which a restart has converged: rounding of float64
ROUNDING = 1e-14  # of a squared distance, relative to the squares that it is computed of
MAX_ELEMENTS = 1 << 24  # of the distances computed at once


class LloydStep(NamedTuple):
    """One iteration.

    centres: (K, D), the means. clusters: (N,) int64, the nearest of the centres before. inertia: of these.
    """

    centres: Tensor
    clusters: Tensor
    inertia: float


def nearest(x: Tensor, centres: Tensor, norms: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(N,) squared distances of (N, D) samples to the nearest of (K, D) centres, and its index, the first of equal.

    Args:
        norms: (N,) squared norms of the samples; None: they are computed.
    """
    norms = x.square().sum(1) if norms is None else norms
    block = max(1, MAX_ELEMENTS // len(centres))
    pairs = zip(torch.split(x, block), torch.split(norms, block), strict=True)
    parts = [squared_distances(part, centres, of_part).min(1) for part, of_part in pairs]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def squared_distances(x: Tensor, centres: Tensor, norms: Tensor | None = None) -> Tensor:
    """(N, K) squared Euclidean distances of (N, D) samples to (K, D) centres; norms as in `nearest`."""
    norms = x.square().sum(1) if norms is None else norms
    squares: Tensor = norms[:, None] - 2 * (x @ centres.T) + centres.square().sum(1)
    return squares.clamp(min=0)


def plus_plus(x: Tensor, count: int, generator: torch.Generator, norms: Tensor | None = None) -> Tensor:
    """k-means++: each further centre is a sample, drawn with probability ∝ its squared distance to the centres so far.

    Args:
        x: (N, D) float64.
    Returns:
        (count, D) centres; of fewer distinct samples some coincide.
    """
    norms = x.square().sum(1) if norms is None else norms
    chosen = [int(torch.randint(len(x), (), generator=generator))]
    squares = _squares_to(x, chosen[0], norms)
    for _ in range(count - 1):
        total = squares.cumsum(0)
        if float(total[-1]) > 0:
            point = torch.rand((), generator=generator, dtype=torch.float64) * total[-1]
            index = min(int(torch.searchsorted(total, point, right=True)), len(x) - 1)
        else:  # every sample is a centre
            index = int(torch.randint(len(x), (), generator=generator))
        chosen.append(index)
        squares = torch.minimum(squares, _squares_to(x, index, norms))
    return x[chosen].clone()


def _squares_to(x: Tensor, index: int, norms: Tensor) -> Tensor:
    """(N,) squared distances to one of the samples; those of equal samples, which rounding would change, are 0."""
    squares = norms - 2 * (x @ x[index]) + norms[index]
    return torch.where(squares > ROUNDING * (norms + norms[index]), squares, 0.0)


def lloyd_step(x: Tensor, centres: Tensor, norms: Tensor | None = None) -> LloydStep:
    """One iteration of Lloyd's algorithm. A centre without samples moves to the sample farthest from its centre.

    Args:
        x: (N, D) float64. centres: (K, D), K ≤ N. norms: as in `nearest`.
    """
    squares, clusters = nearest(x, centres, norms)
    sums = torch.zeros_like(centres).index_add_(0, clusters, x)
    counts = torch.bincount(clusters, minlength=len(centres))
    means = sums / counts.clamp(min=1)[:, None]
    empty = torch.nonzero(counts == 0)[:, 0]
    if len(empty):
        farthest = torch.argsort(squares, descending=True, stable=True)[: len(empty)]
        means[empty] = x[farthest]
    return LloydStep(means, clusters, float(squares.sum()))


def kmeans(x: Tensor, count: int, generator: torch.Generator, restarts: int = 1) -> Tensor:
    """(count, D) centres of the restart with the lowest inertia, of (N, D) float64 samples."""
    best, lowest, norms = x[:count], float("inf"), x.square().sum(1)
    for _ in range(restarts):
        centres, before = plus_plus(x, count, generator, norms), float("inf")
        for _ in range(MAX_ITERATIONS):
            step = lloyd_step(x, centres, norms)
            if has_converged(before, step.inertia):
                break
            centres, before = step.centres, step.inertia
        if step.inertia < lowest:
            best, lowest = centres, step.inertia
    return best


def has_converged(before: float, inertia: float) -> bool:
    """Whether an iteration has not lowered the inertia by more than rounding."""
    return before - inertia <= TOLERANCE * inertia
