"""Values that stand for "no data" in images of more than 8 bits, as -9999 or the lowest float in maps of terrain."""

from __future__ import annotations

import numpy as np

from snellen.data.decode.header import UnusableFile

# The fill values of GIS software; beyond `_HUGE` any value: the lowest float, or 1e20 and 9.97e36 of NetCDF.
FILL_VALUES = (-999.0, -9999.0, -99999.0, -999999.0, -32767.0, -32768.0)
_HUGE = 1e19
_MIN_GAP = 3  # ranges of all other values between these and a fill value


def fill_nodata(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Replace the pixels (C, H, W) without data by the median of the others, which leaves range and contrast as is.

    Args:
        nodata: the value that marks them; None: there are none.
    Raises:
        UnusableFile: no pixel has data.
    """
    if nodata is None:
        return values
    missing = mark_nodata(values, nodata)
    if not missing.any():
        return values
    if missing.all():
        raise UnusableFile("corrupt", f"has no data: every value is {nodata:g}", "Remove it.")
    filled = values.copy()
    filled[missing] = np.median(values[~missing]).astype(values.dtype)
    return filled


def mark_nodata(values: np.ndarray, nodata: float) -> np.ndarray:
    """Bool array: where values are `nodata`; of a huge one, where they are huge and of its sign, however rounded."""
    if abs(nodata) > _HUGE:
        return np.asarray(values > _HUGE if nodata > 0 else values < -_HUGE)
    return np.asarray(values == values.dtype.type(nodata))


def likely_nodata(values: np.ndarray) -> float | None:
    """The value among `values` that looks like "no data": a fill value far below or above all others; else None."""
    for value in (float(values.min(initial=0)), float(values.max(initial=0))):
        if value not in FILL_VALUES and abs(value) <= _HUGE:
            continue
        others = values[~mark_nodata(values, value)].astype(np.float64)
        if len(others) and np.abs(others - value).min() > _MIN_GAP * (others.max() - others.min()):
            return value
    return None
