"""Masks whose values were changed: two classes under JPEG or blurred edges are read by a threshold, more are refused.

JPEG moves every value by a little; an anti-aliased edge has values between those of its two sides. Read as classes,
each such value would be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.data.formats.mask_values import MaskInfo

_MANY = 20  # distinct values; fewer may be classes with rare ones between
_NEAR = 32  # grey levels that JPEG moves a value by, with a margin
_LOSSY_FRACTION, _BLURRED_FRACTION = 0.97, 0.8  # of the pixels at the two values
_MIN_CONTRAST = 64  # grey levels between the two values


class Threshold(NamedTuple):
    """Values up to `value` are the first of two classes. reason: what changed the values, for messages."""

    value: int
    reason: str


def find_threshold(root: Path, infos: Sequence[MaskInfo], names: Sequence[str]) -> Threshold | None:
    """The threshold between the two classes of changed masks; None for masks whose values can be trusted.

    Args:
        names: listed class names, of values or of colours, or none.
    Raises:
        DataError: JPEG masks of more than two classes.
    """
    lossy = any(info.lossy for info in infos)
    if lossy and not names and any(info.kind == "colours" for info in infos):
        raise _lossy_error(root, len({value for info in infos for value in info.values}))
    if not infos or any(info.kind not in ("indices", "grey") for info in infos):
        return None
    counts = np.zeros(256, np.int64)
    for info in infos:
        values = np.array(info.values, np.int64) & 255  # of a grey colour: its blue
        np.add.at(counts, values, np.array(info.counts, np.int64))
    seen = np.nonzero(counts)[0]
    low, high = int(seen[0]), int(seen[-1])
    near = counts[: low + _NEAR + 1].sum() + counts[max(high - _NEAR, low + _NEAR + 1) :].sum()
    total = counts.sum()
    two_names = len(names) in (0, 2)
    if lossy and not (names and high < len(names)) and len(seen) > 1:
        if two_names and high - low >= _MIN_CONTRAST and near >= _LOSSY_FRACTION * total:
            return Threshold((low + high) // 2, "they are saved as JPEG or lossy WebP, which changes values")
        raise _lossy_error(root, len(seen))
    is_blurred = len(seen) > _MANY and counts[low] + counts[high] >= _BLURRED_FRACTION * total
    if two_names and is_blurred and high - low >= _MIN_CONTRAST:
        return Threshold((low + high) // 2, f"they have {len(seen)} values, most of them at blurred edges")
    return None


def _lossy_error(root: Path, count: int) -> DataError:
    return DataError(
        f"{root}: the masks are saved as JPEG or lossy WebP, which changes values: they have {count} values",
        "Save masks as PNG from their source; JPEG masks are read only if they have two classes, as grey 0 and 255.",
    )
