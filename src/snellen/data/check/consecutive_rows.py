"""Consecutive rows of a table that are near copies, as the frames of one recording are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from snellen.core.random import uniform

MIN_ROWS = 100
MIN_COLUMNS = 4  # that vary: sorting a table by one of fewer columns makes neighbouring rows alike too
MAX_RATIO = 0.25  # of the typical distance of consecutive rows to that of rows at random, of one class
NEAR = 1 / 3  # of the typical distance of rows at random: consecutive rows that are nearer belong to one run
ROUNDS = 8  # rows at random for each row


class Runs(NamedTuple):
    """Runs of near-identical consecutive rows.

    Args:
        ids: (N,) int64, the run of each row.
        ratio: median distance of consecutive rows as a fraction of that of rows at random, of one class.
    """

    ids: np.ndarray
    ratio: float


def consecutive_runs(x: np.ndarray, classes: np.ndarray | None) -> Runs | None:
    """Find runs of consecutive rows that are far more alike than rows at random; None if consecutive rows are not.

    Distances are those of standardised columns. A run ends where two consecutive rows are of two classes, or further
    apart than a third (`NEAR`) of the median distance of rows of one class.

    Args:
        x: (N, D) float64, finite.
        classes: (N,) int64; None: rows are compared with all others.
    """
    varies = x.max(0) > x.min(0) if len(x) else np.zeros(x.shape[1], bool)
    if len(x) < MIN_ROWS or varies.sum() < MIN_COLUMNS:
        return None
    z = (x[:, varies] - x[:, varies].mean(0)) / np.maximum(x[:, varies].std(0), np.finfo(np.float64).tiny)
    labels = np.zeros(len(x), np.int64) if classes is None else classes
    same = labels[1:] == labels[:-1]
    if not same.any():
        return None
    distance = np.sqrt(np.square(z[1:] - z[:-1]).sum(1))
    at_random = _distances_at_random(z, labels)
    if not len(at_random) or float(np.median(at_random)) == 0:
        return None
    ratio = float(np.median(distance[same]) / np.median(at_random))
    if ratio > MAX_RATIO:
        return None
    starts = ~same | (distance > NEAR * np.median(at_random))
    return Runs(np.concatenate([[0], np.cumsum(starts)]).astype(np.int64), ratio)


def _distances_at_random(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distances of each row to rows of its class, drawn by a fixed hash."""
    distances = []
    draws = uniform(torch.arange(len(z)), ROUNDS, 0).numpy()
    for label in np.unique(labels):
        rows = np.nonzero(labels == label)[0]
        if len(rows) < 2:
            continue
        for draw in draws[rows].T:
            others = rows[np.minimum((draw * len(rows)).astype(np.int64), len(rows) - 1)]
            apart = others != rows
            distances.append(np.sqrt(np.square(z[rows[apart]] - z[others[apart]]).sum(1)))
    return np.concatenate(distances) if distances else np.zeros(0)
