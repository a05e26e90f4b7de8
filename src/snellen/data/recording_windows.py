"""Windows of recordings: the inputs of forecasts, gathered when they are read, so that their overlaps take no memory.

A window is `window` consecutive steps of a recording; its future is the `horizon` steps after it. No window crosses the
end of a recording, or a cut between two splits of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Preprocessing


class GatheredWindows:
    """Parts of recordings, (N, T, D), that are gathered when they are selected. It has the methods of a tensor that
    datasets and batches need, so it takes the place of one: overlapping windows take no memory. All other methods, and
    functions of torch, gather all of them first.

    Args:
        gather: (B,) ids to (B, T, D), on the CPU.
        ids: (N,) int64.
        device: of what is selected.
    """

    def __init__(
        self, gather: Callable[[np.ndarray], Tensor], ids: np.ndarray, device: torch.device | str = "cpu"
    ) -> None:
        self.gather, self.ids, self.device = gather, ids, torch.device(device)
        example = gather(ids[:1])
        self.shape = torch.Size((len(ids), *example.shape[1:]))
        self.dtype, self.ndim = example.dtype, example.ndim

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        """Windows at (B,) positions or a slice, not gathered yet; at an integer one window, (T, D). With several
        indices all windows are gathered first.
        """
        if isinstance(index, tuple) or index is Ellipsis:
            return self.dense()[index]
        if isinstance(index, Tensor):
            index = index.cpu().numpy()
        selected = self.ids[index]
        if np.ndim(selected):
            return GatheredWindows(self.gather, selected, self.device)
        return self.gather(selected[None])[0].to(self.device)

    def index_select(self, axis: int, positions: Tensor) -> Tensor:
        """(B, T, D) windows at (B,) positions."""
        if axis:
            raise ValueError("windows are selected along the first axis")
        return self.gather(self.ids[positions.cpu().numpy()]).to(self.device)

    def dense(self) -> Tensor:
        """(N, T, D) all windows."""
        return self.gather(self.ids).to(self.device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.dense(), name)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        dense = [one.dense() if isinstance(one, GatheredWindows) else one for one in args]
        return func(*dense, **(kwargs or {}))

    def to(self, device: Any) -> GatheredWindows:
        return GatheredWindows(self.gather, self.ids, device)

    def numel(self) -> int:
        return self.shape.numel()

    def element_size(self) -> int:
        return self.dtype.itemsize


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
        every: rows of `values` from one step of a window to the next; `lengths` and `stride` count rows.
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
        every: int = 1,
        when: Callable[[int, int], str] | None = None,
    ) -> None:
        if known and window < horizon:
            raise ValueError(f"a window of {window} steps cannot hold {horizon} steps that are known in advance")
        self.values = values
        self.forecast = values.shape[1] if forecast is None else forecast
        self.known = known
        self.every = every
        self.when = when
        self.lengths = tuple(lengths)
        self.recordings = tuple(names)
        self.window, self.horizon, self.stride = window, horizon, stride
        first = np.cumsum([0, *lengths])[:-1]
        starts = [np.arange(0, length - self.span + 1, stride) for length in lengths]
        self.recording = np.repeat(np.arange(len(lengths)), [len(part) for part in starts])  # (N,) of each window
        self.start = np.concatenate([*starts, np.empty(0, np.int64)])  # (N,) first step, in its recording
        self._row = first[self.recording] + self.start  # (N,) first step, in `values`

    @property
    def span(self) -> int:
        """Rows from the first step of a window to the last of its future."""
        return (self.window + self.horizon - 1) * self.every + 1

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
        rows = self._row[ids][:, None] + self.every * np.arange(after, after + count)
        return self.values[torch.from_numpy(rows)]

    def futures(self) -> Tensor:
        """The futures of all windows: `GatheredWindows` in place of a tensor."""
        return cast(Tensor, GatheredWindows(self.future, np.arange(len(self))))

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        """All windows: `GatheredWindows` in place of a tensor; None without any."""
        if not len(self):
            return None
        return cast(Tensor, GatheredWindows(lambda ids: self.read(ids, preprocessing), np.arange(len(self))))

    def name(self, id: int) -> str:
        start, recording = int(self.start[id]), int(self.recording[id])
        end = start + (self.window - 1) * self.every
        if self.when is not None:
            first, last = (self.when(recording, row) for row in (start, end))
            return f"{self.recordings[recording]}, {first} to {last}"
        noun = "steps" if self.every == 1 else "frames"
        return f"{self.recordings[recording]}, {noun} {start + 1} to {end + 1}"

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
    last = source.start + source.span  # the step after the future
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
