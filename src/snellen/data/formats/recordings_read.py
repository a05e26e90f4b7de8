"""Recordings as read from files, before they are cut into windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snellen.core.spec import Column, Skeleton, TimeSteps
from snellen.core.views import Finding
from snellen.data.formats import OpenOptions
from snellen.data.formats.recording_splits import Recording
from snellen.data.source import Skipped

DEFAULT_HORIZON = 10
MANY_ROWS = 5000  # of recordings whose steps are several rows apart: beyond, windows begin one step apart


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
        every: rows from one step to the next, see `Future`.
        frame_rate: frames per second after resampling; None: rows are those of the files.
        skeleton: of motion; None of others.
        identity: what a part of the file names may be.
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
    every: int = 1
    frame_rate: float | None = None
    skeleton: Skeleton | None = None
    identity: str = "person"

    @property
    def rows(self) -> str:
        """What the rows of a recording are."""
        return "steps" if self.every == 1 else "frames"

    @property
    def counted(self) -> str:
        """How the rows of a message are counted, where they are not those of the files; "" where they are."""
        if self.frame_rate is None:
            return ""
        return f" ({self.rows} after resampling to {self.frame_rate:g} frames per second)"

    @property
    def forecast(self) -> tuple[str, ...]:
        """Names of the features that are forecast."""
        return self.names[: self.num_forecast]


def window_steps(read: RecordingsRead, options: OpenOptions, season: int | None) -> tuple[int, int, int]:
    """Window, horizon and stride: as given, else a horizon of 10 steps, or of a small part of the recordings, a window
    of twice the horizon, and of two seasons where that leaves two thirds of the steps; and windows at every row, or at
    every step of many rows."""
    lengths = [len(r.values) for r in read.recordings]
    median = int(np.median(lengths)) // read.every
    part = 20 if read.skeleton is None or len(lengths) < 3 else 3
    horizon = options.horizon or max(1, min(DEFAULT_HORIZON, median // part))
    window = max(2, 2 * horizon)
    if season is not None:
        fits = [2 * season, season]
        window = max(window, next((n for n in fits if n + horizon <= median // 3), 0))
    stride = options.stride or (1 if sum(lengths) <= MANY_ROWS else read.every)
    return options.window or window, horizon, stride
