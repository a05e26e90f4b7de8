"""Features of the input that are not forecast, and those that are known in advance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snellen.core.spec import Future, Input, Preprocessing, Spec
from snellen.data.recording_windows import RecordingWindows
from snellen.tasks.forecast.display import known_ahead, own


def test_a_window_has_known_features_a_horizon_early() -> None:
    values = torch.arange(30).reshape(10, 3).double()
    source = RecordingWindows(values, [10], ["a"], window=4, horizon=3, forecast=1, known=1)
    x = source.read(np.array([2]), Preprocessing())[0]
    torch.testing.assert_close(x[:, :2], values[2:6, :2])
    torch.testing.assert_close(x[:, 2], values[5:9, 2])
    torch.testing.assert_close(source.future(np.array([2]))[0], values[6:9, :1])

    target = Future(names=("a",), steps=3, inputs=("a", "b", "c"), known=1)
    spec = Spec(name="s", inputs={"x": Input(modality="sequence", shape=(4, 3))}, target=target)
    torch.testing.assert_close(own(x[None], spec), values[None, 2:6, :1])
    torch.testing.assert_close(known_ahead(x[None], spec), values[None, 6:9, 2:])


def test_a_window_shorter_than_the_horizon_cannot_hold_known_features() -> None:
    with pytest.raises(ValueError, match="window of 2 steps"):
        RecordingWindows(torch.zeros(9, 2), [9], ["a"], window=2, horizon=3, known=1)
