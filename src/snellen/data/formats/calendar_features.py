"""Calendar features: sine and cosine of the time of day, of the day of the week and of the day of the year.

Source: Fourier terms as predictors, Hyndman and Athanasopoulos 2021, sec. 7.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from snellen.data.formats.series_times import DAY, SECONDS, StepLength, Times

YEAR = 365.2425  # days
HARMONICS = {"day": 3, "week": 3, "year": 3}  # three of a week are a free value for each of its days
MIN_CYCLES = 2  # of the training part, for the features of a cycle
_NAME = re.compile(r"(day|week|year) (sin|cos) (\d+)")


def calendar_names(step: StepLength, span: float) -> tuple[str, ...]:
    """Names of the features for dated steps, such as "week sin 1": of cycles longer than two steps, seen twice.

    Args:
        span: seconds of the training part.
    """
    seconds = step.seconds
    if seconds is None:
        return ()
    lengths = {"day": DAY, "week": SECONDS["w"], "year": YEAR * DAY}
    return tuple(
        f"{cycle} {function} {k}"
        for cycle, length in lengths.items()
        for k in range(1, HARMONICS[cycle] + 1)
        for function in ("sin", "cos")
        if length / k > 2 * seconds and span >= MIN_CYCLES * length
    )


def calendar_text(names: Sequence[str]) -> str:
    """The cycles of calendar features, for the user: "day, week and year"."""
    cycles = list(dict.fromkeys(name.split()[0] for name in names))
    return " and ".join([", ".join(cycles[:-1]), cycles[-1]] if len(cycles) > 1 else cycles)


def calendar_features(times: Times, names: Sequence[str]) -> np.ndarray:
    """(T, C) features of the times as written; sin k of a cycle is sin(2πk · elapsed fraction of the cycle)."""
    seconds = times.local
    day = np.floor(seconds / DAY)
    phase = {
        "day": seconds / DAY - day,
        "week": ((seconds / DAY + 3) / 7) % 1.0,  # 1 January 1970 was a Thursday
        "year": _year_phase(seconds),
    }
    columns = []
    for name in names:
        match = _NAME.fullmatch(name)
        assert match is not None
        angle = 2 * np.pi * int(match[3]) * phase[match[1]]
        columns.append(np.sin(angle) if match[2] == "sin" else np.cos(angle))
    return np.stack(columns, 1) if columns else np.empty((len(seconds), 0))


def _year_phase(seconds: np.ndarray) -> np.ndarray:
    """(T,) elapsed fraction of the calendar year."""
    years = np.asarray(seconds * 1e6, dtype="int64").astype("M8[us]").astype("M8[Y]")
    start, end = (y.astype("M8[s]").astype(np.float64) for y in (years, years + 1))
    return np.asarray((seconds - start) / (end - start))
