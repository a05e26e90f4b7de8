"""Copies among sequences: equal ones, overlapping windows, shared steps, near copies."""

from __future__ import annotations

import numpy as np
import torch

from snellen.core.spec import Input
from snellen.data.check.duplicates import (
    MAX_BYTES_ON_OPENING,
    Duplicates,
    Pair,
    connected_groups,
    exact_row_duplicates,
    find_stored_duplicates,
)
from snellen.data.check.shared_steps import shared_steps
from snellen.data.check.windows import Windows, overlapping_windows
from snellen.data.flat_sequences import RaggedSource
from snellen.data.formats.array_files import Hdf5Source, array_to_tensor
from snellen.data.source import ArraySource

MAX_STEPS_ON_OPENING, MAX_STEPS = 1 << 21, 1 << 24  # of all sequences, in which shared ones are searched
MAX_NUMBERS_ON_OPENING = 1 << 27
NEAR = "Sequences that share steps with another, or are nearly equal"


def find_sequence_duplicates(source: ArraySource, full: bool, spec_input: Input) -> Duplicates:
    """Find equal samples, and of sequences those that overlap, in any order, and near copies."""
    values = source.values
    ragged = source.sequences if isinstance(source, RaggedSource) else None
    if not full and values.numel() * values.element_size() > MAX_BYTES_ON_OPENING:
        return Duplicates([], [], {}, False, f"duplicates among {len(values):,} samples in memory")
    exact = exact_row_duplicates(values if ragged is None else ragged)
    known = set(exact)
    copies = Duplicates(exact, [pair for pair in source.near_copies if pair not in known], {}, True)
    if spec_input.axes != ("time", "feature"):
        return copies
    windows = Windows(0, [], [])
    if ragged is None and not (values.is_floating_point() and bool(torch.isnan(values).any())):
        windows = overlapping_windows(values)
    return _with_shared_steps(copies, windows, source, full)


def find_stored_sequence_duplicates(source: Hdf5Source, full: bool) -> Duplicates:
    """Find equal sequences in a file from which they are read on demand, and those that overlap."""
    copies = find_stored_duplicates(source, full)
    if not copies.complete:
        return copies
    values = array_to_tensor(source.stored(np.arange(len(source))))
    return _with_shared_steps(copies, overlapping_windows(values), ArraySource(values), full)


def _with_shared_steps(copies: Duplicates, windows: Windows, source: ArraySource, full: bool) -> Duplicates:
    """The duplicates of sequences with overlapping windows, shared steps and near copies."""
    known = set(copies.exact)
    near = [*copies.near, *(pair for pair in windows.pairs if pair not in known)]
    copies = copies._replace(near=near, windows=windows, near_noun=NEAR)
    sequences = _finite_parts(source)
    steps, numbers = sum(map(len, sequences)), sum(one.size for one in sequences)
    if steps > MAX_STEPS or (not full and (steps > MAX_STEPS_ON_OPENING or numbers > MAX_NUMBERS_ON_OPENING)):
        return copies._replace(complete=False, unchecked=f"shared steps among {len(sequences):,} sequences")
    shared_pairs = shared_steps(sequences, [*copies.exact, *near])
    shared, across = _without_neighbouring_runs([*shared_pairs.shifted, *shared_pairs.noisy], windows, len(sequences))
    return copies._replace(near=[*near, *shared], windows=windows._replace(others=[*windows.others, *across]))


def _without_neighbouring_runs(pairs: list[Pair], windows: Windows, count: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs, and those between two neighbouring recordings of windows, which overlap at another stride.

    They would make one group of all recordings that follow each other.
    """
    if 2 * len(windows.pairs) < count:
        return pairs, []
    runs = np.unique(connected_groups(count, windows.pairs), return_inverse=True)[1].tolist()
    linked = {(runs[a], runs[b]) for a, b in windows.others}
    within, across = [], []
    for a, b in pairs:
        first, second = sorted((runs[a], runs[b]))
        if second - first != 1:
            within.append((a, b))
        elif (first, second) not in linked:
            linked.add((first, second))
            across.append((a, b))
    return within, across


def _finite_parts(source: ArraySource) -> list[np.ndarray]:
    """The steps (T, D) of each sequence without the padding after its end."""
    if isinstance(source, RaggedSource):
        return [one.numpy() for one in source.sequences]
    values = source.values.numpy()
    if values.dtype.kind != "f":
        return list(values)
    lengths = (~np.isnan(values).any(2)).sum(1)
    return [one[:length] for one, length in zip(values, lengths.tolist(), strict=True)]
