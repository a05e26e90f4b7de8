"""Learning curves from a history."""

from __future__ import annotations

import numpy as np
import pytest

from snellen.api import TrainedRun
from snellen.core.views import Metric, Plot
from snellen.report.learning_curves import MAX_POINTS, learning_curves, running_mean, validation_score
from snellen.tasks import TASKS


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


@pytest.mark.parametrize(
    ("values", "score", "title", "axis"),
    [
        ((-30.0, -20.0), ("MPJPE", "mm"), "Validation MPJPE", "MPJPE [mm] (lower is better)"),
        ((0.5, 0.9), ("accuracy", ""), "Validation accuracy", "accuracy (higher is better)"),
        ((-3.0, -2.0), ("", ""), "Validation loss", "loss (lower is better)"),
        ((0.5, 0.9), ("", ""), "Validation score", "score (higher is better)"),
    ],
)
def test_the_validation_score_is_named_by_its_metric(
    values: tuple[float, float], score: tuple[str, str], title: str, axis: str
) -> None:
    (plot,) = learning_curves([{"loop": "train", "step": k, "score": v} for k, v in enumerate(values)], *score)
    assert isinstance(plot, Plot)
    assert (plot.title, plot.y) == (title, axis)
    assert plot.series[0].y == [abs(v) for v in values]


def test_the_metric_of_the_score_is_that_of_the_objective(digits_run: TrainedRun) -> None:
    assert TASKS["forecast"].validation_score is TASKS["forecast"].headline
    assert TASKS["regress"].validation_score(digits_run.spec) == ""  # minus the training loss
    assert validation_score(digits_run.task, digits_run.spec, digits_run.metrics) == ("accuracy", "")
    named = {"mean IoU": Metric(value=20.0, unit="mm")}
    assert validation_score(TASKS["segment"], digits_run.spec, named) == ("mean IoU", "mm")
    assert "Validation accuracy" in digits_run._repr_html_()
