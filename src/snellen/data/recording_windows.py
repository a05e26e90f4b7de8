"""Windows of recordings: the inputs of forecasts, gathered when they are read, so that their overlaps take no memory.

A window is `window` consecutive steps of a recording; its future is the `horizon` steps after it. No window crosses the
end of a recording, or a cut between two splits of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Preprocessing


class RecordingWindows:
    """Source of windows, ordered by recording and by time.

    Args:
        values: (S, D), the steps of all recordings, one recording after another.
        lengths: number of steps of each recording; their sum is S.
        names: of the recordings.
        window, horizon, stride: numbers of steps of an input, of its future, and between the starts of two windows.
        forecast: number of the first features that are forecast; None: all.
        known: number of the last features that are known in advance (`Future.known`): a window has their values
            `horizon` steps later.
        when: recording and step to the time of the step, for names; None: steps are counted.
    """

    def __init__(
        self,
        values: Tensor,
        lengths: Sequence[int],
        names: Sequence[str],
        window: int,
        horizon: int,
        stride: int = 1,
        forecast: int | None = None,
        known: int = 0,
        when: Callable[[int, int], str] | None = None,
    ) -> None:
        if known and window < horizon:
            raise ValueError(f"a window of {window} steps cannot hold {horizon} steps that are known in advance")
        self.values = values
        self.forecast = values.shape[1] if forecast is None else forecast
        self.known = known
        self.when = when
        self.lengths = tuple(lengths)
        self.recordings = tuple(names)
        self.window, self.horizon, self.stride = window, horizon, stride
        first = np.cumsum([0, *lengths])[:-1]
        starts = [np.arange(0, length - window - horizon + 1, stride) for length in lengths]
        self.recording = np.repeat(np.arange(len(lengths)), [len(part) for part in starts])  # (N,) of each window
        self.start = np.concatenate([*starts, np.empty(0, np.int64)])  # (N,) first step, in its recording
        self._row = first[self.recording] + self.start  # (N,) first step, in `values`

    def __len__(self) -> int:
        return len(self._row)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """(B, window, D)."""
        steps = self._steps(ids, 0, self.window)
        if self.known:
            steps[..., -self.known :] = self._steps(ids, self.horizon, self.window)[..., -self.known :]
        return steps

    def future(self, ids: np.ndarray) -> Tensor:
        """(B, horizon, D), the steps after each window, of the features that are forecast."""
        return self._steps(ids, self.window, self.horizon)[..., : self.forecast]

    def _steps(self, ids: np.ndarray, after: int, count: int) -> Tensor:
        rows = self._row[ids][:, None] + np.arange(after, after + count)
        return self.values[torch.from_numpy(rows)]

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        start, recording = int(self.start[id]), int(self.recording[id])
        if self.when is not None:
            first, last = (self.when(recording, step) for step in (start, start + self.window - 1))
            return f"{self.recordings[recording]}, {first} to {last}"
        return f"{self.recordings[recording]}, steps {start + 1} to {start + self.window}"

    def key(self) -> str | None:
        return None


def split_in_time(
    source: RecordingWindows, fractions: Sequence[float], positions: Sequence[float] | None = None
) -> np.ndarray:
    """(N,) index of the part in which the whole window and its future lie; len(fractions) for those across a cut.

    Each recording is cut into consecutive parts, the earliest first. So no step of a window or future of one part
    occurs in another.

    Args:
        positions: of the first step of each recording on a common clock, in steps. All recordings are then cut at the
            same times, and it is the future that lies in a part: its window may begin before, as in forecasts from a
            rolling origin, so that no step of a later part occurs in an earlier one.
    """
    if positions is not None:
        return _split_at_common_times(source, fractions, np.asarray(positions, np.float64))
    length = np.array(source.lengths)[source.recording]
    last = source.start + source.window + source.horizon  # the step after the future
    parts = np.full(len(source), len(fractions))
    cuts = np.cumsum([0.0, *fractions])
    for k in range(len(fractions)):
        low, high = np.round(cuts[k] * length), np.round(cuts[k + 1] * length)
        parts[(source.start >= low) & (last <= high)] = k
    return parts


def _split_at_common_times(source: RecordingWindows, fractions: Sequence[float], positions: np.ndarray) -> np.ndarray:
    """The part in which the future of each window lies; the cuts divide the steps of all recordings."""
    steps = np.sort(np.concatenate([p + np.arange(n) for p, n in zip(positions, source.lengths, strict=True)]))
    first = positions[source.recording] + source.start + source.window  # of the future
    last = first + source.horizon - 1
    parts = np.full(len(source), len(fractions))
    cuts = [-np.inf, *(steps[round(cut * len(steps))] for cut in np.cumsum(fractions)[:-1]), np.inf]
    for k in range(len(fractions)):
        parts[(first >= cuts[k] - 1e-6) & (last < cuts[k + 1] - 1e-6)] = k
    return parts
