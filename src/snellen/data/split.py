"""Which samples are learned from, which choose, which judge. Copies and groups never cross a split we make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import key, uniform
from snellen.core.spec import Classes
from snellen.data.dataset import SPLITS, Draft

SHARES = (0.70, 0.15, 0.15)  # train, val, test where we make all three
HELD_OUT = 0.10  # of a given training split, for validation
MOST_HELD_OUT = 5000


def divide(draft: Draft, seed: int = 0) -> dict[str, Tensor]:
    """Split name -> sorted ids. A given split is respected; what is missing is taken from the training part.

    Samples are ranked by a hash of their place within their class, so that counts are exact.
    """
    count = len(draft.source)
    everything = torch.arange(count)
    if draft.same:
        return dict.fromkeys(SPLITS, everything)
    if draft.given is None:
        return _ranked(draft, everything, dict(zip(SPLITS, SHARES, strict=True)), seed)
    given = torch.from_numpy(draft.given)
    splits = {name: everything[given == place] for place, name in enumerate(SPLITS)}
    missing = [name for name in ("val", "test") if not len(splits[name])]
    if missing:
        share = min(HELD_OUT, MOST_HELD_OUT / max(len(splits["train"]), 1))
        shares = {"train": 1 - share * len(missing), **dict.fromkeys(missing, share)}
        splits.update(_ranked(draft, splits["train"], shares, seed))
    return splits


def _ranked(draft: Draft, ids: Tensor, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Whole groups go to splits, class by class, in the order of their hash."""
    groups = ids.clone() if draft.groups is None else torch.from_numpy(draft.groups)[ids]
    classes = draft.truth[ids] if isinstance(draft.target, Classes) and draft.truth is not None else None
    place = {name: [] for name in shares}  # type: dict[str, list[Tensor]]
    unique, inverse = torch.unique(groups, return_inverse=True)
    sizes = torch.bincount(inverse, minlength=len(unique))
    first = torch.full((len(unique),), len(ids), dtype=torch.int64).scatter_reduce(
        0, inverse, torch.arange(len(ids)), "amin")
    group_class = classes[first] if classes is not None else torch.zeros(len(unique), dtype=torch.int64)
    rank = uniform(ids[first], 1, key(seed, "split"))[:, 0]
    target = torch.full((len(unique),), -1, dtype=torch.int64)
    names = list(shares)
    for label in torch.unique(group_class):
        members = torch.nonzero(group_class == label)[:, 0]
        members = members[torch.argsort(rank[members], stable=True)]
        bounds = np.cumsum([shares[name] for name in names])[:-1] * int(sizes[members].sum())
        middle = torch.cumsum(sizes[members], 0).double() - sizes[members] / 2
        target[members] = torch.bucketize(middle, torch.from_numpy(np.asarray(bounds)))
        for part in range(1, len(names)):  # a class of two samples or more is not left without a test sample
            if not (target[members] == part).any() and len(members) > part:
                target[members[-part]] = part
    assigned = target[inverse]
    for part, name in enumerate(names):
        place[name].append(ids[assigned == part])
    return {name: torch.cat(parts) for name, parts in place.items()}


