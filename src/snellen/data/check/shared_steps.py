"""Sequences that share steps, in any order and of any lengths: shifted windows, cut parts, copies with small noise.

Shifted windows: the differences between successive steps do not depend on an offset. Every four successive differences
of a sequence are reduced to four numbers by fixed random projections, and those that fall into one cell of a grid are
compared step by step. A shared part counts if it holds at least half of the shorter sequence (or `min_steps`), and if
it would hardly occur by chance: the differences in it, drawn independently with their frequencies in the data, would
have to coincide in less than one of 2²⁰ such datasets. Steps without movement and few levels thus show no copy.

Copies with noise: sequences of equal length whose deviations from their means differ by less than 2 % and that are no
straight lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.random import generator

GRAM = 4  # successive differences that are compared at first
TOLERANCE = 1e-4  # of the standard deviation of the differences of a feature
CELL = 1e-2  # of the grid, in the same unit
MIN_OVERLAP = 0.5  # of the shorter sequence
SURPRISE = 20.0  # bits beyond those of the number of pairs of steps
MAX_RESIDUAL = 0.02  # of the norm of a sequence about its mean: copies with noise differ by less
EQUAL = 1e-6  # of this norm: equal ones are no noisy copies, and few levels are equal by chance
MIN_BENT = 0.03  # of this norm, about a straight line: straight sequences are no copies
MAX_COMPARED = 20_000  # sequences of one length that are compared for copies with noise
_BLOCK = 1 << 22  # numbers that are projected at once
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)  # odd, of a hash
_MIX = 0xFF51AFD7ED558CCD
_CELL_MEMBERS = 64  # of one cell that are linked: more are a pattern that recurs

Pair = tuple[int, int]


class SharedSteps(NamedTuple):
    """Pairs of sequences, the smaller id first, that connect all: `shifted` share steps, `noisy` are near copies."""

    shifted: list[Pair]
    noisy: list[Pair]


def shared_steps(
    sequences: Sequence[np.ndarray], known: Iterable[Pair] = (), min_steps: int | None = None
) -> SharedSteps:
    """Find sequences that share steps up to an offset of each feature, and near copies of equal length.

    Args:
        sequences: (T, D) finite, of equal D and any T.
        known: pairs that share steps. Sequences that are connected, directly or through others, are not compared again.
        min_steps: steps of a shared part from which it is reported; None: half of the shorter sequence.
    """
    if len(sequences) < 2:
        return SharedSteps([], [])
    components = Components(len(sequences))
    for a, b in known:
        components.join(a, b)
    shifted = _shifted(sequences, components, min_steps)
    return SharedSteps(shifted, [(a, b) for a, b in noisy_copies(sequences) if components.join(a, b)])


class Components:
    """Connected components of N nodes (union-find with path halving)."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, node: int) -> int:
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, a: int, b: int) -> bool:
        """Connect two nodes; False if they were connected."""
        a, b = self.root(a), self.root(b)
        self.parent[max(a, b)] = min(a, b)
        return a != b


def _shifted(sequences: Sequence[np.ndarray], components: Components, min_steps: int | None) -> list[Pair]:
    lengths = np.array([max(0, len(one) - 1) for one in sequences])  # of differences
    scale = _scale(sequences)
    if not scale.any() or lengths.max() < GRAM:
        return []
    weights = 1 / np.where(scale > 0, scale, np.inf)
    starts = np.cumsum(lengths) - lengths
    projected = _project(sequences, weights, int(lengths.sum()))
    sequence_of = np.repeat(np.arange(len(sequences)), lengths)
    bits = _bits(projected)
    candidates = _candidates(projected, bits, sequence_of, starts, lengths)
    needed_bits = 2 * np.log2(max(2, len(projected))) + SURPRISE
    pairs = []
    for a, b, i, j in candidates:  # difference i of the sequence a equals difference j of b
        if components.root(a) == components.root(b):
            continue
        back = min(i, j)
        length = min(lengths[a] - (i - back), lengths[b] - (j - back))
        first, other = starts[a] + i - back, starts[b] + j - back
        equal = np.abs(projected[first : first + length] - projected[other : other + length]).max(1) <= 4 * TOLERANCE
        low, high = _run(equal, back)
        shorter = min(lengths[a], lengths[b])
        needed = max(GRAM, round(MIN_OVERLAP * shorter)) if min_steps is None else min(min_steps, shorter)
        if high - low < needed or bits[first + low : first + high].sum() < needed_bits:
            continue
        begin = i - back + low, j - back + low
        x, y = (_differences(sequences[k][at : at + high - low + 1]) for k, at in ((a, begin[0]), (b, begin[1])))
        if bool((np.abs(x - y) * weights <= TOLERANCE).all()):
            components.join(a, b)
            pairs.append((a, b))
    return sorted(pairs)


def _differences(values: np.ndarray) -> np.ndarray:
    """(T - 1, D) float64."""
    differences: np.ndarray = np.diff(values.astype(np.float64), axis=0)
    return differences


def _scale(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(D,) standard deviation of the differences between successive steps of each feature."""
    count, total, squares = 0, np.zeros(sequences[0].shape[1]), np.zeros(sequences[0].shape[1])
    for one in sequences:
        differences = _differences(one)
        count += len(differences)
        total += differences.sum(0)
        squares += np.square(differences).sum(0)
    variance = squares / max(1, count) - np.square(total / max(1, count))
    scale = np.sqrt(np.maximum(variance, 0))
    return np.where(scale > 1e-12 * np.sqrt(squares / max(1, count)), scale, 0)


def _project(sequences: Sequence[np.ndarray], weights: np.ndarray, total: int) -> np.ndarray:
    """(S, 4) random projections of the standardised differences of all sequences, one after another."""
    directions = torch.randn(len(weights), 4, generator=generator(0, "shared steps")).double().numpy()
    directions *= weights[:, None] / np.sqrt((weights > 0).sum())
    projected = np.empty((total, 4))
    at = 0
    for one in sequences:
        size = max(1, _BLOCK // one.shape[1])
        for start in range(0, len(one) - 1, size):
            part = _differences(one[start : start + size + 1]) @ directions
            projected[at : at + len(part)] = part
            at += len(part)
    return projected


def _cells(values: np.ndarray, size: float) -> np.ndarray:
    """(S,) number of the cell of the grid in which each row lies; rows of one cell have one number."""
    cells = np.floor(np.clip(values / size, -(1 << 40), 1 << 40) + 0.318).astype(np.int64)
    mixed = np.zeros(len(cells), np.uint64)
    for column, factor in zip(cells.T, _FACTORS, strict=True):
        mixed = (mixed ^ (column.astype(np.uint64) * np.uint64(factor))) * np.uint64(_MIX)
        mixed ^= mixed >> np.uint64(29)
    numbers: np.ndarray = np.unique(mixed, return_inverse=True)[1]
    return numbers


def _bits(projected: np.ndarray) -> np.ndarray:
    """(S,) information of each difference, -log2 of the frequency of its cell."""
    cells = _cells(projected, CELL)
    bits: np.ndarray = -np.log2(np.bincount(cells)[cells] / len(cells))
    return bits


def _candidates(
    projected: np.ndarray, bits: np.ndarray, sequence_of: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> list[tuple[int, int, int, int]]:
    """Pairs of sequences a < b with a place in each where four successive differences lie in one cell of the grid."""
    count = len(projected) - GRAM + 1
    rows = np.arange(count)
    inside = sequence_of[rows] == sequence_of[rows + GRAM - 1]
    moves = np.convolve(bits, np.ones(GRAM), "valid") > SURPRISE / 2
    rows = rows[inside & moves]
    if len(rows) < 2:
        return []
    sums = sum(projected[rows + k] * (1.0 + 0.37 * k) for k in range(GRAM))
    cells = _cells(np.asarray(sums), CELL)
    position = rows - starts[sequence_of[rows]]
    order = np.lexsort((sequence_of[rows], position, cells))
    rows, cells, position = rows[order], cells[order], position[order]
    sequence = sequence_of[rows]
    sizes = np.bincount(cells)[cells]
    result = set[tuple[int, int, int, int]]()
    seen = set[tuple[int, int, int]]()
    for gap in (1, 2):  # the next in the cell, and the one after it where two sequences alternate
        near = (cells[gap:] == cells[:-gap]) & (sequence[gap:] != sequence[:-gap]) & (sizes[gap:] <= _CELL_MEMBERS)
        for k in np.nonzero(near)[0].tolist():
            a, b, i, j = int(sequence[k]), int(sequence[k + gap]), int(position[k]), int(position[k + gap])
            if a > b:
                a, b, i, j = b, a, j, i
            if (a, b, i - j) not in seen:
                seen.add((a, b, i - j))
                result.add((a, b, i, j))
    return sorted(result)


def _run(equal: np.ndarray, at: int) -> tuple[int, int]:
    """Begin and end of the run of equal differences around a position."""
    before = np.nonzero(~equal[:at])[0]
    after = np.nonzero(~equal[at:])[0]
    return (int(before[-1]) + 1 if len(before) else 0), (at + int(after[0]) if len(after) else len(equal))


def noisy_copies(sequences: Sequence[np.ndarray]) -> list[Pair]:
    """Pairs of sequences of equal length that are equal up to an offset and noise of 2 % of their norm.

    Candidates are close in 16 random projections, which no distance exceeds.
    """
    by_length: dict[int, list[int]] = {}
    for id, one in enumerate(sequences):
        if len(one) > 2 * GRAM:
            by_length.setdefault(len(one), []).append(id)
    pairs = []
    for ids in by_length.values():
        if 2 <= len(ids) <= MAX_COMPARED:
            pairs += _noisy_of_one_length(sequences, ids)
    return sorted(pairs)


def _norm(deviations: np.ndarray) -> float:
    """Norm of the deviations (T, D) from the mean; 0 of a constant and of a straight line, which others may equal."""
    t = np.arange(len(deviations)) - (len(deviations) - 1) / 2
    slope = t @ deviations / (t @ t)
    norm = float(np.linalg.norm(deviations))
    return norm if np.linalg.norm(deviations - np.outer(t, slope)) > MIN_BENT * norm else 0.0


def _noisy_of_one_length(sequences: Sequence[np.ndarray], ids: Sequence[int]) -> list[Pair]:
    spread = np.mean([one.astype(np.float64).std(0) for one in (sequences[id] for id in ids)], 0)
    weights = 1 / np.where(spread > 0, spread, np.inf)
    size = len(sequences[ids[0]]) * len(weights)
    normal = torch.randn(size, 16, generator=generator(0, "noisy copies")).double()
    directions = torch.linalg.qr(normal)[0].numpy() if size > 16 else np.eye(size)

    def centred(id: int) -> np.ndarray:
        values = sequences[id].astype(np.float64)
        result: np.ndarray = ((values - values.mean(0)) * weights).ravel()
        return result

    points = np.stack([centred(id) @ directions for id in ids])
    norms = np.array([_norm(centred(id).reshape(-1, len(weights))) for id in ids])
    order = np.argsort(norms, kind="stable")
    points, norms = points[order], norms[order]
    pairs = []
    for k in range(len(order) - 1):
        if norms[k] == 0:
            continue
        end = int(np.searchsorted(norms, norms[k] * (1 + MAX_RESIDUAL), "right"))
        near = np.nonzero(np.square(points[k + 1 : end] - points[k]).sum(1) <= (MAX_RESIDUAL * norms[k]) ** 2)[0]
        for other in (near + k + 1).tolist():
            a, b = ids[order[k]], ids[order[other]]
            residual = np.linalg.norm(centred(a) - centred(b)) / norms[k]
            if EQUAL < residual <= MAX_RESIDUAL:
                pairs.append((min(a, b), max(a, b)))
    return pairs
