"""Training, validation and test splits, and folds. Duplicates and groups stay within one generated split.

A class of 30 samples has 21, 4.5 and 4.5 of them in splits of 70, 15 and 15 %. Rounding is controlled: in every class
each split gets the integer below or above its fraction. The classes are rounded one after another, in an order drawn by
the seed, so that the totals stay as near to the fractions as possible and no split is favoured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.random import key, uniform
from snellen.data.dataset import SPLITS, RawDataset, strata

SPLIT_FRACTIONS = (0.70, 0.15, 0.15)  # train, val, test if all three are generated
HELD_OUT_FRACTION = 0.10  # of a given training split, for each missing split
MAX_HELD_OUT = 5000
MAX_EXCESS = 2  # times its fraction of the samples, that groups may make of a split after the first
ROUNDING: Final = 2  # version; 1 rounded every class by itself, which favoured validation: for runs that have no list
# of their samples


def make_splits(
    raw: RawDataset, seed: int = 0, folds: int | None = None, fold: int = 0, rounding: Literal[1, 2] = ROUNDING
) -> dict[str, Tensor]:
    """Make the splits: name -> sorted ids. Given splits are respected; missing ones are taken from the training split.

    Samples are ranked within their class by a hash of their id, so that counts are exact.

    Args:
        folds: number of folds; each is the test split once.
        fold: fold that is the test split, 0 ... folds - 1.
        rounding: version of the rounding, 1 or 2.
    Raises:
        UsageError: for folds if the data has its own splits, and for fewer than two folds.
    """
    count = len(raw.source)
    all_samples = torch.arange(count)
    if folds is not None:
        return _kfold_splits(raw, all_samples, seed, folds, fold, rounding)
    if raw.same_samples:
        return dict.fromkeys(SPLITS, all_samples)
    if raw.given_splits is None:
        return _assign_groups(raw, all_samples, dict(zip(SPLITS, SPLIT_FRACTIONS, strict=True)), seed, rounding)
    given = torch.from_numpy(raw.given_splits)
    splits = {name: all_samples[given == index] for index, name in enumerate(SPLITS)}
    missing = [name for name in ("val", "test") if not len(splits[name])]
    if missing:
        fraction = min(HELD_OUT_FRACTION, MAX_HELD_OUT / max(len(splits["train"]), 1))
        fractions = {"train": 1 - fraction * len(missing), **dict.fromkeys(missing, fraction)}
        splits.update(_assign_groups(raw, splits["train"], fractions, seed, rounding))
    return splits


def _kfold_splits(raw: RawDataset, ids: Tensor, seed: int, folds: int, fold: int, rounding: int) -> dict[str, Tensor]:
    if not 2 <= folds <= len(ids) or not 0 <= fold < folds:
        raise UsageError(f"Cannot make {folds} folds of {len(ids)} samples", f"Use --folds between 2 and {len(ids)}.")
    if raw.same_samples or (raw.given_splits is not None and (raw.given_splits != 0).any()):
        raise UsageError(
            "--folds does not apply to data that has its own splits",
            "Omit --folds, or put all samples into one split.",
        )
    parts = _assign_groups(raw, ids, {f"{k}": 1 / folds for k in range(folds)}, seed, rounding, fill=False)
    empty = [k for k, part in parts.items() if not len(part)]
    if empty:
        raise UsageError(
            f"Cannot make {folds} folds: {len(empty)} of them would be empty, as groups and duplicates stay together",
            f"Use --folds between 2 and {folds - len(empty)}, or add samples.",
        )
    rest = torch.cat([part for k, part in parts.items() if k != f"{fold}"]).sort().values
    fraction = min(HELD_OUT_FRACTION, MAX_HELD_OUT / max(len(rest), 1))
    splits = _assign_groups(raw, rest, {"train": 1 - fraction, "val": fraction}, key(seed, "val", fold), rounding)
    return {**splits, "test": parts[f"{fold}"]}


def _assign_groups(
    raw: RawDataset, ids: Tensor, fractions: Mapping[str, float], seed: int, rounding: int, fill: bool = True
) -> dict[str, Tensor]:
    """Assign whole groups to splits, class by class, in the order of a hash.

    Args:
        ids: sorted.
        fill: give every split after the first at least one group of each class with enough groups.
    """
    classes = strata(raw.target, raw.truth)
    classes = None if classes is None else classes[ids]
    inverse = first = torch.arange(len(ids))  # sample -> group, group -> its first sample
    sizes = torch.ones(len(ids), dtype=torch.int64)
    if raw.groups is not None:
        unique, inverse = torch.unique(torch.from_numpy(raw.groups)[ids], return_inverse=True)
        sizes = torch.bincount(inverse, minlength=len(unique))
        first = torch.full((len(unique),), len(ids), dtype=torch.int64).scatter_reduce(
            0, inverse, torch.arange(len(ids)), "amin"
        )
    group_class = classes[first] if classes is not None else torch.zeros(len(first), dtype=torch.int64)
    rank = uniform(ids[first], 1, key(seed, "split"))[:, 0]
    split_of_group = torch.full((len(first),), -1, dtype=torch.int64)
    names = list(fractions)
    labels = torch.unique(group_class)
    members_of = [torch.nonzero(group_class == label)[:, 0] for label in labels]
    totals = np.array([int(sizes[members].sum()) for members in members_of])
    # With fill, a class of one sample is learned, and one of as many groups as splits is in each.
    at_least_one = np.array([[fill and (not k or len(m) >= len(names)) for k in range(len(names))] for m in members_of])
    quotas = totals[:, None] * np.array([fractions[name] for name in names])  # (classes, splits)
    if rounding == 2 and bool((sizes > 1).any()):
        limits = np.where(np.arange(len(names)) if fill else 0, MAX_EXCESS * quotas.sum(0), np.inf)
        _assign_unequal_groups(split_of_group, members_of, sizes, rank, quotas, at_least_one, limits, seed)
    else:
        counts = quotas if rounding == 1 else _round_quotas(quotas, at_least_one, seed)
        for members, bounds in zip(members_of, np.cumsum(counts, 1)[:, :-1], strict=True):
            members = members[torch.argsort(rank[members], stable=True)]
            middle = torch.cumsum(sizes[members], 0).double() - sizes[members] / 2
            split_of_group[members] = torch.bucketize(middle, torch.from_numpy(bounds).double())
            for part in range(1, len(names) if fill else 0):
                needed = part + 1 if rounding == 1 else len(names)
                if not (split_of_group[members] == part).any() and len(members) >= needed:
                    split_of_group[members[-part]] = part
    if rounding == 2 and fill and bool((sizes > 1).any()):
        _fill_empty_splits(split_of_group, sizes, rank, len(names))
    if any(not (split_of_group == part).any() for part in range(len(names))):
        if fill:
            _hold_out_one_per_class(split_of_group, group_class, rank, [fractions[name] for name in names])
        else:  # folds: in turn, class by class
            order = np.lexsort((rank.numpy(), group_class.numpy()))
            split_of_group[torch.from_numpy(order)] = torch.arange(len(order)) % len(names)
    split_of_sample = split_of_group[inverse]
    return {name: ids[split_of_sample == part] for part, name in enumerate(names)}


def _assign_unequal_groups(
    split_of_group: Tensor,
    members_of: Sequence[Tensor],
    sizes: Tensor,
    rank: Tensor,
    quotas: np.ndarray,
    at_least_one: np.ndarray,
    limits: np.ndarray,
    seed: int,
) -> None:
    """Assign groups in place, each to the split that lacks most samples, ties by a draw.

    A split that would exceed its limit lacks nothing. A group above the limit by itself is never in such a split, even
    if the class is then in no sample of it.

    The classes come in an order drawn by the seed, and hand on what a split has too much or too little. The groups of a
    class come in the order of their hash, those above the quota of the smallest split first, and classes with one above
    that of the first split before the others.

    Args:
        members_of: groups of each class. quotas, at_least_one: (classes, splits), as in `_round_quotas`.
        limits: (splits,) numbers of samples; the first is infinite.
    """
    totals = np.zeros(quotas.shape[1])
    draws = uniform(torch.arange(len(quotas)), 1 + quotas.shape[1], key(seed, "rounding")).numpy()
    missing = np.zeros(quotas.shape[1])
    is_ordinary = np.array([int(sizes[m].max()) <= quota[0] for m, quota in zip(members_of, quotas, strict=True)])
    for row in np.lexsort((draws[:, 0], is_ordinary)):
        members = members_of[row][torch.argsort(rank[members_of[row]], stable=True)].numpy()
        large = sizes[members].numpy() > quotas[row].min()
        members = members[np.argsort(~large, kind="stable")]
        lacking = missing + quotas[row]
        parts = []
        for position, size in enumerate(sizes[members].tolist()):
            empty = [part for part in np.flatnonzero(at_least_one[row]).tolist() if part not in parts]
            if len(empty) >= len(members) - position:  # the rest is needed so that no split is without this class
                candidates = np.array([part for part in empty if size <= limits[part]] or [0])
            else:
                candidates = np.flatnonzero(totals + size <= limits)
            largest = lacking[candidates].max()
            tied = candidates[lacking[candidates] > largest - 1e-9]
            part = int(tied[np.argmin(draws[row, 1 + tied])])
            lacking[part] -= size
            totals[part] += size
            parts.append(part)
        split_of_group[torch.from_numpy(members)] = torch.tensor(parts)
        missing = lacking


def _fill_empty_splits(split_of_group: Tensor, sizes: Tensor, rank: Tensor, count: int) -> None:
    """Move the smallest groups of splits with several groups to splits without one, in place."""
    order = np.lexsort((rank.numpy(), sizes.numpy())).tolist()
    for part in range(count):
        if not (split_of_group == part).any():
            groups = torch.bincount(split_of_group, minlength=count)
            movable = [group for group in order if groups[split_of_group[group]] > 1]
            if movable:
                split_of_group[movable[0]] = part


def _round_quotas(quotas: np.ndarray, at_least_one: np.ndarray, seed: int) -> np.ndarray:
    """Integers (classes, splits) next to the quotas, with the totals of classes, and of splits to within rounding.

    The classes come in an order drawn by the seed. What remains of each after rounding down goes to the splits that
    lack most of the quotas of the classes so far (error diffusion; Floyd and Steinberg 1976), ties by a draw.

    Args:
        at_least_one: (classes, splits) whether a split gets at least one sample of the class.
    """
    quotas = quotas.round(9)  # 0.7 * 10 is an integer
    draws = uniform(torch.arange(len(quotas)), 1 + quotas.shape[1], key(seed, "rounding")).numpy()
    counts: np.ndarray = np.floor(quotas).astype(np.int64)
    missing = np.zeros(quotas.shape[1])
    for row in np.argsort(draws[:, 0], kind="stable"):
        count = np.maximum(counts[row], at_least_one[row], out=counts[row])
        rest = round(quotas[row].sum()) - int(count.sum())
        if rest < 0:  # at least one in each takes from the first split
            count[0] += rest
        lacking = (missing + quotas[row] - count).round(9)
        order = [k for k in np.lexsort((draws[row, 1:], -lacking)).tolist() if count[k] < quotas[row, k]]
        count[order[: max(rest, 0)]] += 1
        missing += quotas[row] - count
    return counts


def _hold_out_one_per_class(
    split_of_group: Tensor, group_class: Tensor, rank: Tensor, fractions: Sequence[float]
) -> None:
    """Assign the groups of tiny classes in place: the first split keeps at least one of each class.

    Splits of each class by itself would leave one of them empty, for example of 60 classes of two samples.
    """
    order = torch.argsort(rank, stable=True).tolist()
    last = {int(group_class[group]): group for group in order}
    counts = torch.bincount(group_class)
    held_out = [group for group in order if last[int(group_class[group])] == group and counts[group_class[group]] > 1]
    split_of_group[:] = 0
    start = 0
    for part in range(1, len(fractions)):
        free = len(held_out) - start - (len(fractions) - 1 - part)  # one for each split after this one
        take = max(min(round(fractions[part] * len(split_of_group)), free), min(1, free))
        split_of_group[held_out[start : start + take]] = part
        start += take
