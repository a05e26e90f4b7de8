"""Which samples are learned from, which choose, which judge. Copies and groups never cross a split we make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.random import key, uniform
from snellen.core.spec import Classes
from snellen.data.dataset import SPLITS, RawDataset

SHARES = (0.70, 0.15, 0.15)  # train, val, test where we make all three
HELD_OUT = 0.10  # of a given training split, for validation
MOST_HELD_OUT = 5000


def divide(draft: RawDataset, seed: int = 0, folds: int | None = None, fold: int = 0) -> dict[str, Tensor]:
    """Split name -> sorted ids. A given split is respected; what is missing is taken from the training part.

    Samples are ranked by a hash of their place within their class, so that counts are exact.

    Args:
        folds: into how many parts to divide, each of which is the test split once.
        fold: which part is the test split now, 0 ... folds - 1.
    Raises:
        UsageError: for folds where the data has a test split of its own, or fewer than two.
    """
    count = len(draft.source)
    all_samples = torch.arange(count)
    if folds is not None:
        return _folded(draft, all_samples, seed, folds, fold)
    if draft.same:
        return dict.fromkeys(SPLITS, all_samples)
    if draft.given is None:
        return _ranked(draft, all_samples, dict(zip(SPLITS, SHARES, strict=True)), seed)
    given = torch.from_numpy(draft.given)
    splits = {name: all_samples[given == place] for place, name in enumerate(SPLITS)}
    missing = [name for name in ("val", "test") if not len(splits[name])]
    if missing:
        share = min(HELD_OUT, MOST_HELD_OUT / max(len(splits["train"]), 1))
        shares = {"train": 1 - share * len(missing), **dict.fromkeys(missing, share)}
        splits.update(_ranked(draft, splits["train"], shares, seed))
    return splits


def _folded(draft: RawDataset, ids: Tensor, seed: int, folds: int, fold: int) -> dict[str, Tensor]:
    if not 2 <= folds <= len(ids) or not 0 <= fold < folds:
        raise UsageError(f"{folds} folds cannot be made of {len(ids)} samples", "Write for example --folds 5.")
    if draft.same or (draft.given is not None and (draft.given != 0).any()):
        raise UsageError(
            "--folds does not go with data that has splits of its own",
            "Leave --folds out, or put all samples into one split.",
        )
    parts = _ranked(draft, ids, {f"{k}": 1 / folds for k in range(folds)}, seed, fill=False)
    rest = torch.cat([part for k, part in parts.items() if k != f"{fold}"]).sort().values
    share = min(HELD_OUT, MOST_HELD_OUT / max(len(rest), 1))
    kept = _ranked(draft, rest, {"train": 1 - share, "val": share}, key(seed, "val", fold))
    return {**kept, "test": parts[f"{fold}"]}


def _ranked(
    draft: RawDataset, ids: Tensor, shares: Mapping[str, float], seed: int, fill: bool = True
) -> dict[str, Tensor]:
    """Whole groups go to splits, class by class, in the order of their hash.

    Args:
        ids: sorted.
        fill: a class of two groups or more is in the last split, even where its share would be none.
    """
    classes = draft.truth[ids] if isinstance(draft.target, Classes) and draft.truth is not None else None
    inverse = first = torch.arange(len(ids))  # sample -> group, group -> its first sample
    sizes = torch.ones(len(ids), dtype=torch.int64)
    if draft.groups is not None:
        found, inverse = torch.unique(torch.from_numpy(draft.groups)[ids], return_inverse=True)
        sizes = torch.bincount(inverse, minlength=len(found))
        first = torch.full((len(found),), len(ids), dtype=torch.int64).scatter_reduce(
            0, inverse, torch.arange(len(ids)), "amin"
        )
    group_class = classes[first] if classes is not None else torch.zeros(len(first), dtype=torch.int64)
    rank = uniform(ids[first], 1, key(seed, "split"))[:, 0]
    target = torch.full((len(first),), -1, dtype=torch.int64)
    names = list(shares)
    for label in torch.unique(group_class):
        members = torch.nonzero(group_class == label)[:, 0]
        members = members[torch.argsort(rank[members], stable=True)]
        bounds = np.cumsum([shares[name] for name in names])[:-1] * int(sizes[members].sum())
        middle = torch.cumsum(sizes[members], 0).double() - sizes[members] / 2
        target[members] = torch.bucketize(middle, torch.from_numpy(np.asarray(bounds)))
        for part in range(1, len(names) if fill else 0):
            if not (target[members] == part).any() and len(members) > part:
                target[members[-part]] = part
    assigned = target[inverse]
    return {name: ids[assigned == part] for part, name in enumerate(names)}
