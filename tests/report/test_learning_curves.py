"""Learning curves from a history."""

from __future__ import annotations

import numpy as np
import pytest

from snellen.core.views import Plot
from snellen.report.learning_curves import MAX_POINTS, learning_curves, running_mean


def test_smoothing_is_the_running_mean() -> None:
    values = np.random.default_rng(0).normal(size=50)
    expected = [values[max(0, k - 6) : k + 1].mean() for k in range(50)]
    assert running_mean(list(values), 7) == pytest.approx(expected)


def test_each_scalar_is_a_plot_known_scalars_first() -> None:
    history = [{"loop": "train", "step": k, "accuracy of the critic": 0.5, "loss": 5.0 - k / 1000} for k in range(4001)]
    history += [{"loop": "train", "step": 4000, "score": 0.9, "lr": 0.1}]
    plots = learning_curves(history)
    assert [view.title for view in plots] == [
        "Training loss",
        "Validation score",
        "Learning rate",
        "accuracy of the critic",
    ]
    loss = plots[0]
    assert isinstance(loss, Plot)
    assert len(loss.series[0].x) <= MAX_POINTS + 1
    assert loss.series[0].x[-1] == 4000, "the end is always shown"
    assert learning_curves([]) == []
