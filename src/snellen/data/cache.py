"""Decoded inputs in memory, or in a file beside no user's data, so that each picture is decoded once."""

from __future__ import annotations

import os

import numpy as np
from torch import Tensor

from snellen.core.spec import Reading
from snellen.data.dataset import Source


def memory() -> int:
    """Bytes of memory that are free for use."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def resident(source: Source, ids: Tensor, reading: Reading) -> Tensor | None:
    """All inputs of `ids` as one tensor where they fit in a quarter of the free memory, else None."""
    whole = source.all(reading)
    if whole is not None:
        return whole if len(ids) == len(whole) and bool((ids[1:] > ids[:-1]).all()) else whole[ids]
    if not len(ids):
        return None
    first = source.read(ids[:1].numpy().astype(np.int64), reading)
    if first.numel() * first.element_size() * len(ids) > memory() // 4:
        return None
    return source.read(ids.numpy().astype(np.int64), reading)
