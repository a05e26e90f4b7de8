"""Built-in recordings to forecast: short tracks at nearly constant velocity, and one long noisy sine.

Source: lecture 002 (the next position from the last three).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.errors import UsageError
from snellen.core.random import generator
from snellen.data.dataset import RawDataset
from snellen.data.formats import FUTURE, OpenOptions
from snellen.data.formats.recording_splits import Recording
from snellen.data.formats.recordings import windows_of
from snellen.data.formats.recordings_read import RecordingsRead

TRACKS, TRACK_STEPS = 400, 12
SPEED, ACCELERATION, MEASUREMENT = 1.5, 0.1, 0.3  # standard deviations of a velocity, of its changes, of a position
SINE_STEPS, PERIOD, SINE_NOISE = 2000, 40, 0.2


class BuiltinRecordings(NamedTuple):
    """Recordings of a seed, and the default window and horizon in steps; None: those of any recordings."""

    read: Callable[[int], RecordingsRead]
    window: int | None = None
    horizon: int | None = None


def tracks(seed: int) -> RecordingsRead:
    """400 tracks of 12 positions at nearly constant velocity.

    A track begins in 0 … 100 and has a velocity v of N(0, 1.5²) per step, which changes by N(0, 0.1²) at each step;
    positions are measured with an error of N(0, 0.3²).
    """
    rng = generator(seed, "tracks")
    start = 100 * torch.rand(TRACKS, 1, generator=rng, dtype=torch.float64)
    changes = ACCELERATION * torch.randn(TRACKS, TRACK_STEPS, generator=rng, dtype=torch.float64)
    changes[:, 0] = SPEED * torch.randn(TRACKS, generator=rng, dtype=torch.float64)
    errors = MEASUREMENT * torch.randn(TRACKS, TRACK_STEPS, generator=rng, dtype=torch.float64)
    positions = (start + changes.cumsum(1).cumsum(1) + errors).numpy()
    return RecordingsRead(
        recordings=[Recording(name=f"track {k}", split=None, values=x[:, None]) for k, x in enumerate(positions)],
        names=("position",),
        description=f"the built-in tracks, {TRACKS} recordings at nearly constant velocity",
    )


def sine_series(seed: int) -> RecordingsRead:
    """One series of 2,000 steps, y = sin(2πt/40) with noise of N(0, 0.2²).

    Source: the function of Bishop 2006, section 1.1, over fifty periods.
    """
    t = torch.arange(SINE_STEPS, dtype=torch.float64)
    noise = SINE_NOISE * torch.randn(SINE_STEPS, generator=generator(seed, "sine series"), dtype=torch.float64)
    values: np.ndarray = (torch.sin(2 * math.pi * t / PERIOD) + noise)[:, None].numpy()
    return RecordingsRead(
        recordings=[Recording(name="sine", split=None, values=values)],
        names=("y",),
        description=f"the built-in sine, one recording with {PERIOD} steps a period,",
    )


RECORDINGS: dict[str, BuiltinRecordings] = {
    "tracks": BuiltinRecordings(tracks, window=3, horizon=1),
    "sine": BuiltinRecordings(sine_series),
}


def open_recordings(name: str, seed: int, options: OpenOptions) -> RawDataset:
    """Windows of built-in recordings.

    Raises:
        UsageError: for another target than the future. DataError: for windows that no recording can hold.
    """
    if options.target not in ((), (FUTURE,)):
        raise UsageError(
            f"--target {','.join(options.target)} does not apply to {name}, whose future is the target",
            f"Omit it, or give --target {FUTURE}.",
        )
    builtin = RECORDINGS[name]
    window, horizon = options.window, options.horizon or builtin.horizon
    if window is None and options.horizon is None:
        window = builtin.window
    return windows_of(name, builtin.read(seed), dataclasses.replace(options, window=window, horizon=horizon))


def open_tracks(seed: int) -> RawDataset:
    """The built-in tracks: three positions, and the next one to forecast."""
    return open_recordings("tracks", seed, OpenOptions())
