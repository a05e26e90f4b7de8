"""Errors of the seasonal naive forecast on the training part of each series: the unit of scaled errors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snellen.data.dataset import Dataset, Labelled
from snellen.data.recording_windows import RecordingWindows
from snellen.metrics import scaled_errors
from snellen.tasks.forecast.display import future


def naive_scale(data: Dataset[Labelled], ids: Tensor) -> Tensor:
    """(N, D) mean absolute error of the seasonal naive forecast on the training part of the series of each window.

    The training part is the steps of the training windows; a series without one has the mean of all training parts.
    NaN where no training part is longer than a season. Without a season the forecast is the last value.
    """
    source, season = data.source, future(data.spec).season or 1
    count = len(future(data.spec).names)
    unknown = torch.full((count,), torch.nan, dtype=torch.float64)
    if not isinstance(source, RecordingWindows):
        return unknown.expand(len(ids), -1).clone()
    train = data.splits["train"].numpy()
    first = np.cumsum([0, *source.lengths])
    parts = {}
    for recording in np.unique(source.recording[train]).tolist():
        starts = source.start[train[source.recording[train] == recording]]
        low, high = first[recording] + starts.min(), first[recording] + starts.max() + source.window + source.horizon
        parts[recording] = source.values[int(low) : int(high), :count]
    pooled = scaled_errors.naive_errors(list(parts.values()), season)
    pooled = unknown if pooled is None else pooled
    scales = {k: error for k, x in parts.items() if (error := scaled_errors.naive_errors([x], season)) is not None}
    return torch.stack([scales.get(k, pooled) for k in source.recording[ids.numpy()].tolist()])
