"""Numbers in tables that stand for missing values: -999, -9999, and others far outside a column."""

from __future__ import annotations

import numpy as np

from snellen.core.views import Finding
from snellen.data.check.findings import MAX_NAMES, and_more
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource

SENTINELS = frozenset({99, 999, 9999, 99999, 999999})  # and their negatives
_MIN_GAP = 3  # ranges of all other values between these and a sentinel
_MIN_COUNT = 2


def sentinel_findings(raw: RawDataset) -> list[Finding]:
    """Columns in which a value such as -999 occurs several times, far outside the range of all others."""
    if not isinstance(raw.source, ArraySource) or raw.source.values.ndim != 2:
        return []
    values = raw.source.values.double().numpy()
    columns = next(iter(raw.inputs.values())).columns or ()
    names = [f"{column.name!r}" for column in columns for _ in range(column.width)]
    if len(names) != values.shape[1]:
        names = [f"{k + 1}" for k in range(values.shape[1])]
    doubtful = []
    for name, column in zip(names, values.T, strict=True):
        for value in (column.min(), column.max()):
            others = column[column != value]
            count = len(column) - len(others)
            if abs(value) not in SENTINELS or count < _MIN_COUNT or not len(others):
                continue
            gap = min(abs(value - others.min()), abs(value - others.max()))
            if gap > _MIN_GAP * max(float(np.ptp(others)), 1e-300):
                doubtful.append((name, float(value), count))
    if not doubtful:
        return []
    shown = "; ".join(f"column {name}: {value:g} in {count} rows" for name, value, count in doubtful[:MAX_NAMES])
    return [
        Finding(
            kind="sentinel",
            message=f'Values that look like "no data": {shown}{and_more(len(doubtful))}',
            remedy="If they are missing values, empty these cells and use --impute median.",
            where=tuple(name for name, _, _ in doubtful),
            count=len(doubtful),
        )
    ]
