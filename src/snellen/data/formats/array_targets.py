"""Targets of arrays: whether whole numbers are classes."""

from __future__ import annotations

import numpy as np

from snellen.data.formats.table_targets import MAX_INTEGER_CLASSES, MIN_ROWS_PER_CLASS

_MAX_CLASSES = 10_000


def looks_like_classes(y: np.ndarray) -> bool:
    """Whether (N,) values are classes: two values, most of 0 … K − 1, or few distinct whole numbers."""
    unique_values = np.unique(y)
    if y.dtype.kind == "b" or len(unique_values) <= 2:
        return bool((unique_values == np.round(unique_values)).all())
    if y.dtype.kind in "iu" and unique_values[0] >= 0 and unique_values[-1] < _MAX_CLASSES:  # most of 0 ... K−1 occur
        return 2 * len(unique_values) > int(unique_values[-1]) and 2 * len(unique_values) <= len(y)
    is_small = len(unique_values) <= min(MAX_INTEGER_CLASSES, len(y) / MIN_ROWS_PER_CLASS)
    return is_small and bool((unique_values == np.round(unique_values)).all())
