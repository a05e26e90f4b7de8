"""Recordings as read from files, before they are cut into windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snellen.core.spec import Column, TimeSteps
from snellen.core.views import Finding
from snellen.data.formats import OpenOptions
from snellen.data.formats.recording_splits import Recording
from snellen.data.source import Skipped

DEFAULT_HORIZON = 10


@dataclass(frozen=True, kw_only=True)
class RecordingsRead:
    """Recordings as read.

    Args:
        names: of all features, those that are forecast first, those known in advance last.
        num_forecast: number of features that are forecast; None: all.
        known: number of features that are known in advance.
        times: of a step, for the user; "" without.
        files: number found.
        season: steps of a season, and why; None: it is found by autocorrelation, up to the window.
        columns, id, time, time_steps: of a table.
        when: numbers of the recordings that are used, one of them and its step to its time; None: no times.
    """

    recordings: Sequence[Recording]
    names: tuple[str, ...]
    description: str
    num_forecast: int | None = None
    known: int = 0
    season: tuple[int | None, str] = (None, "")
    columns: tuple[Column, ...] = ()
    id: str = ""
    time: str = ""
    time_steps: TimeSteps | None = None
    findings: tuple[Finding, ...] = ()
    when: Callable[[Sequence[int], int, int], str] | None = None
    duration: float | None = None
    unit: str = ""
    times: str = ""
    files: int = 1
    skipped: tuple[Skipped, ...] = ()

    @property
    def forecast(self) -> tuple[str, ...]:
        """Names of the features that are forecast."""
        return self.names[: self.num_forecast]


def window_steps(recordings: Sequence[Recording], options: OpenOptions, season: int | None) -> tuple[int, int, int]:
    """Window, horizon and stride: as given, else a horizon of 10 steps, or a tenth of the shortest recording, and a
    window of twice the horizon, and of two seasons where that leaves two thirds of the steps."""
    median = int(np.median([len(r.values) for r in recordings]))
    horizon = options.horizon or max(1, min(DEFAULT_HORIZON, median // 20))
    window = max(2, 2 * horizon)
    if season is not None:
        fits = [2 * season, season]
        window = max(window, next((n for n in fits if n + horizon <= median // 3), 0))
    return options.window or window, horizon, options.stride or 1
