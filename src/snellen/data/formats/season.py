"""Length of a season in steps: by the duration of a step, or by autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snellen.data.formats.series_times import DAY, StepLength

MIN_SEASONS = 3  # in the training part
MIN_CORRELATION = 0.3
NEAR_HIGHEST = 0.8
_OF_MONTHS = {1: 12, 2: 6, 3: 4, 4: 3, 6: 2}
_MAX_A_DAY = 96  # steps of a day that are a season: from a quarter of an hour


def season_of_step(step: StepLength | None, steps: int) -> tuple[int, str] | None:
    """Steps of a year, a week or a day, for months, days or shorter steps; None for others and for short series.

    Args:
        steps: of the training part of the longest series.
    """
    if step is None or not step.is_date:
        return None
    season: tuple[int, str] | None = None
    if step.months:
        season = (_OF_MONTHS[step.months], "a year") if step.months in _OF_MONTHS else None
    elif step.size == DAY:
        season = 7, "a week"
    elif step.size == 7 * DAY:
        season = 52, "a year"
    elif step.size < DAY and DAY % step.size == 0 and DAY / step.size <= _MAX_A_DAY:
        season = round(DAY / step.size), "a day"
    return season if season is not None and steps >= MIN_SEASONS * season[0] else None


def season_by_autocorrelation(series: Sequence[np.ndarray], longest: int) -> int | None:
    """The lag of a local maximum of at least 0.3 of the autocorrelation of changes; None without.

    Of maxima within a fifth of the highest the first: those at multiples of a season are nearly as high.

    Args:
        series: (T, D) each, of which the changes x(t) − x(t − 1) have the autocorrelation, the mean over series and
            features that change.
        longest: lag.
    """
    total, count = np.zeros(longest + 2), 0
    for values in series:
        if len(values) < MIN_SEASONS * 2 + 1:
            continue
        changes = np.diff(values, axis=0)
        changes = changes - changes.mean(0)
        size = 1 << (2 * len(changes) - 1).bit_length()
        spectrum = np.fft.rfft(changes, size, axis=0)
        products = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=0)[: len(changes)]  # (lag, D)
        varies = products[0] > 1e-12 * max(float(products[0].max()), 1e-300)
        correlation = (products[:, varies] / products[0, varies])[: len(values) // MIN_SEASONS + 2]
        padded = np.zeros((longest + 2, correlation.shape[1]))
        padded[: len(correlation)] = correlation[: longest + 2]
        total += padded.sum(1)
        count += correlation.shape[1]
    if not count:
        return None
    mean = total / count
    inner = mean[2 : longest + 1]
    is_peak = (inner > mean[1:longest]) & (inner >= mean[3 : longest + 2]) & (inner >= MIN_CORRELATION)
    if not is_peak.any():
        return None
    near = is_peak & (inner >= NEAR_HIGHEST * inner[is_peak].max())
    return int(np.argmax(near)) + 2
