"""Hyperplanes in any number of dimensions: signed distance, projection, boundaries between linear classes.

Source: lecture 004, h = w̃ · x̃ with x̃ = [1 | x] and ‖w‖ = 1; Bishop 2006, section 4.1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BoundaryDistance(NamedTuple):
    """Distance of points from the boundary of their class: predicted (N,), neighbour (N,) across the boundary,
    distance (N,), infinite where there is no other class.
    """

    predicted: Tensor
    neighbour: Tensor
    distance: Tensor


def signed_distance(w: Tensor, b: Tensor | float, x: Tensor) -> Tensor:
    """Signed Euclidean distance of points from the hyperplane w · x + b = 0, (N,): positive where w points to.

    With w̃ = [b | w] and x̃ = [1 | x] it is w̃ · x̃ / ‖w‖.

    Args:
        w: (D,). x: (N, D), in the same units as the distance.
    Raises:
        ValueError: w is zero; there is no hyperplane.
    """
    return (x @ w + b) / _norm(w)


def project(w: Tensor, b: Tensor | float, x: Tensor) -> Tensor:
    """Orthogonal projection of points (N, D) on the hyperplane w · x + b = 0: the nearest point of it, (N, D).

    Raises:
        ValueError: w is zero.
    """
    return x - signed_distance(w, b, x)[:, None] * (w / _norm(w))


def _norm(w: Tensor) -> Tensor:
    largest = w.abs().max()
    if not bool(torch.isfinite(largest)) or float(largest) == 0:
        raise ValueError("the weights are zero or not finite: there is no hyperplane")
    norm: Tensor = torch.linalg.vector_norm(w / largest) * largest  # without underflow of the squares
    return norm


def raw_units(w: Tensor, b: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Fold a standardisation into a linear map: w · (x − mean) / std + b as w' · x + b'.

    Args:
        w: (K, D). b: (K,). mean, std: (D,).
    Returns:
        (K, D) and (K,), of raw x.
    """
    raw = w / std
    return raw, b - raw @ mean


def boundary_distance(w: Tensor, b: Tensor, x: Tensor) -> BoundaryDistance:
    """Distance of points from the decision boundary of argmax_k w_k · x + b_k.

    The region of a class k is convex: the intersection of the half-spaces (w_k − w_j) · x + b_k − b_j > 0. So the
    distance of a point in it from its boundary is the smallest distance from these hyperplanes.

    Args:
        w: (K, D). b: (K,). x: (N, D).
    """
    scores = x @ w.T + b  # (N, K)
    predicted = scores.argmax(1)
    norms = torch.linalg.vector_norm(w[:, None] - w[None], dim=2)[predicted]  # (N, K)
    gaps = scores.gather(1, predicted[:, None]) - scores
    distance, neighbour = torch.where(norms > 0, gaps / norms, torch.inf).min(1)
    return BoundaryDistance(predicted, neighbour, distance)


def class_boundaries(w: Tensor, b: Tensor, low: Tensor, high: Tensor) -> list[Tensor]:
    """The decision boundary of argmax_k w_k · x + b_k in a rectangle of the plane, as segments (2, 2).

    A part of the line between classes i and j belongs to it where no other class has a higher score.

    Args:
        w: (K, 2). b: (K,). low, high: (2,) corners.
    """
    segments = []
    for i in range(len(w)):
        for j in range(i + 1, len(w)):
            normal, offset = w[i] - w[j], b[i] - b[j]
            if float(normal.abs().max()) == 0:
                continue
            direction = torch.stack([-normal[1], normal[0]]) / _norm(normal)
            middle = project(normal, offset, ((low + high) / 2)[None])[0]
            half = torch.linalg.vector_norm(high - low)
            start, end = -half, half
            inside = [(direction, middle - low), (-direction, high - middle)]  # slope and value of what must be ≥ 0
            others = [k for k in range(len(w)) if k not in (i, j)]
            gaps = w[i] - w[others], b[i] - b[others]
            inside.append((gaps[0] @ direction, gaps[0] @ middle + gaps[1]))
            slopes, values = (torch.cat([pair[k] for pair in inside]) for k in (0, 1))
            start = max(start, *(-values / slopes)[slopes > 0], key=float)
            end = min(end, *(-values / slopes)[slopes < 0], key=float)
            if float(start) < float(end) and not bool((values[slopes == 0] < 0).any()):
                segments.append(torch.stack([middle + start * direction, middle + end * direction]))
    return segments
