"""Forecasters: closed forms, columns without change, and the commands on recordings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.core.errors import DataError, UsageError
from snellen.core.run import Run
from snellen.core.settings import flatten
from snellen.core.spec import Future, Input, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks import LEARNERS
from snellen.tasks.forecast.objective import ForecastNetwork, ForecastObjective, ForecastSettings, fit_scale
from snellen.tasks.forecast.task import errors

QUIET = RunOptions(threads=1, report=False)


def series_data(values: np.ndarray, window: int = 8, horizon: int = 3) -> Dataset[Labelled]:
    """One recording (T, D), split in time."""
    source = RecordingWindows(torch.from_numpy(values), [len(values)], ["a"], window, horizon)
    raw = RawDataset(
        source=source,
        inputs={"sequence": Input(modality="sequence", shape=(window, values.shape[1]), dtype="float64")},
        target=Future(names=tuple("abcdefgh"[: values.shape[1]]), steps=horizon, season=4),
        truth=source.future(np.arange(len(source))),
        given_splits=split_in_time(source, (0.6, 0.2, 0.2)),
        recognised_as="a recording",
    )
    return assemble(raw, "series", 0, None)


def autoregressive(steps: int = 400) -> np.ndarray:
    rng = np.random.default_rng(1)
    x = np.zeros((steps, 2))
    for t in range(3, steps):
        x[t] = 0.6 * x[t - 1] + 0.5 * x[t - 2] - [0.3, 0.2] * x[t - 3] + rng.normal(size=2)
    return x


def test_linear_autoregression_equals_numpys_least_squares(tmp_path: Path) -> None:
    data = series_data(autoregressive())
    run = snellen.train(data, "linear-autoregression", out=tmp_path / "run", options=QUIET)
    ids = data.splits["train"].numpy()
    x, y = data.source.read(ids, Preprocessing()).numpy(), data.truth[ids].numpy()
    new = data.source.read(data.splits["test"].numpy()[:5], Preprocessing())
    forecast = run.model.forecast(new)
    for feature in range(2):
        last = x[:, -1:, feature]
        w, *_ = np.linalg.lstsq(x[:, :-1, feature] - last, y[:, :, feature] - last, rcond=None)
        inputs = new.numpy()[:, :, feature]
        expected = inputs[:, -1:] + (inputs[:, :-1] - inputs[:, -1:]) @ w
        np.testing.assert_allclose(forecast[:, :, feature].numpy(), expected, rtol=1e-8, atol=1e-10)


def test_a_forecast_follows_a_constant_that_is_added(tmp_path: Path) -> None:
    data = series_data(autoregressive(200))
    x = data.source.read(np.arange(6), Preprocessing())
    for name, learner in LEARNERS["forecast"].items():
        torch.manual_seed(0)
        model = learner.build(learner.settings(), data.spec).eval()
        with torch.inference_mode():
            shifted = model.forecast(x + 1000) - 1000
            torch.testing.assert_close(shifted, model.forecast(x), rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("name", LEARNERS["forecast"])
def test_columns_that_never_change_have_finite_errors(name: str, tmp_path: Path) -> None:
    """One is constant; one changes in the test part only."""
    t = np.arange(300)
    late = np.where(t > 270, 5.0, 1.0) + np.where(t > 270, np.sin(t), 0)
    data = series_data(np.stack([np.sin(t / 7), np.full(300, 3.0), late], 1))
    names = {setting.name for setting in flatten(LEARNERS["forecast"][name].settings, help=False)}
    settings = {"epochs": 2} if "epochs" in names else {"max_iter": 5} if "max_iter" in names else {}
    run = snellen.train(data, name, out=tmp_path / "run", options=QUIET, **settings)
    predictions = run.predictions("test")
    assert bool(predictions["said"].isfinite().all())
    assert bool((predictions["said"][..., 1] == 3).all())
    assert all(metric.value is not None and math.isfinite(metric.value) for metric in run.metrics.values())


def test_the_loss_is_the_mean_absolute_error_in_units_of_the_typical_change(tmp_path: Path) -> None:
    data = series_data(np.concatenate([autoregressive(120), np.ones((120, 1))], 1))
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 3, 3 * 3))
    model = ForecastNetwork(Network(Standardize(data.spec.input), body), data.spec, "last-value")
    fit_scale(model, data)
    batch = data.samples("train").take(torch.arange(10))
    every = data.samples("train").take(torch.arange(len(data.splits["train"])))
    change = (every.y - every.x[:, -1:]).numpy()
    scale = np.sqrt((change**2).mean((0, 1)))
    np.testing.assert_allclose(model.scale.numpy(), scale)
    error = (model.forecast(batch.x) - batch.y).detach().numpy()[..., :2] / scale[:2]
    losses = {"absolute": np.abs(error), "squared": error**2}
    losses["huber"] = np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5)
    for loss, expected in losses.items():
        objective = ForecastObjective(ForecastSettings(loss=loss), Run(tmp_path, resume=None))  # type: ignore[arg-type]
        assert objective.loss(model, batch).item() == pytest.approx(expected.mean(), rel=1e-5)


def test_predict_forecasts_after_the_last_window_of_a_file(tmp_path: Path) -> None:
    t = np.arange(200)
    values = np.stack([3 * t + 1, 5 - t], 1)
    rows = [f"{0.1 * k:.3f},{a},{b}" for k, (a, b) in enumerate(values)]
    (tmp_path / "line.csv").write_text("\n".join(["time,up,down", *rows]))
    run = snellen.train(
        tmp_path / "line.csv", "constant-velocity", task="forecast", out=tmp_path / "run", options=QUIET
    )
    expected = {"up": pytest.approx(3 * np.arange(200, 210) + 1), "down": pytest.approx(5 - np.arange(200, 210))}
    assert run.predict(tmp_path / "line.csv")["forecast"] == expected  # type: ignore[call-overload]
    (tmp_path / "other.csv").write_text("\n".join(["down,up", *(f"{b},{a}" for a, b in values[:50])]))  # other order
    assert run.predict(tmp_path / "other.csv")["forecast"]["up"][0] == pytest.approx(151)  # type: ignore[call-overload]
    np.save(tmp_path / "line.npy", values)
    assert run.predict(tmp_path / "line.npy")["forecast"] == expected  # type: ignore[call-overload]
    (tmp_path / "short.csv").write_text("up,down\n1,2\n3,4\n")
    with pytest.raises(DataError, match="has 2 steps, a forecast is made from the last 20"):
        run.predict(tmp_path / "short.csv")
    (tmp_path / "renamed.csv").write_text("\n".join(["up,low", *("1,2" for _ in range(30))]))
    with pytest.raises(DataError, match="has no column 'down'"):
        run.predict(tmp_path / "renamed.csv")


def test_a_comparison_resamples_blocks(tmp_path: Path) -> None:
    t = np.arange(1200)
    data = series_data(np.stack([np.sin(t / 7), np.cos(t / 11)], 1) + 0.05 * autoregressive(1200))
    names = ("baseline", "linear-autoregression")
    runs = [snellen.train(data, name, out=tmp_path / name, options=QUIET) for name in names]
    comparison = snellen.compare(*runs)
    windows = len(data.splits["test"])
    assert comparison.samples == windows // 11 < windows
    assert comparison.noun == "blocks of overlapping windows"
    assert "linear-autoregression is significantly better" in comparison.verdict
    values = [run.metrics["mean absolute error"].value for run in runs]
    assert values[0] is not None
    assert values[1] is not None
    assert comparison.pairs[0].difference.value == pytest.approx(values[0] - values[1])


def test_the_report_shows_the_error_against_the_horizon(tmp_path: Path) -> None:
    run = snellen.train(
        series_data(autoregressive()), "linear-autoregression", out=tmp_path / "run", options=RunOptions(threads=1)
    )
    page = (run.folder / "report.html").read_text()
    for text in ("Error against horizon", "constant velocity", "Worst predictions", "predicts the last value"):
        assert text in page
    table = next(view for view in run.summary().views if getattr(view, "title", "") == "Error against horizon")
    errors = (run.predictions("test")["said"] - run.predictions("test")["truth"]).abs().mean((0, 2))
    assert table.series[0].y == pytest.approx(errors.tolist())  # type: ignore[union-attr]


def test_a_window_of_one_step_and_a_wrong_horizon_are_named(tmp_path: Path) -> None:
    data = series_data(autoregressive(), window=1)
    with pytest.raises(UsageError, match="at least 2 steps"):
        snellen.train(data, "constant-velocity", out=tmp_path / "no", options=QUIET)
    run = snellen.train(data, "baseline", out=tmp_path / "run", options=RunOptions(threads=1))
    with pytest.raises(DataError, match="a horizon of 2 steps, the model forecasts 3"):
        run.evaluate(series_data(autoregressive(), window=1, horizon=2))


def test_other_sources_are_recordings_of_one_window_each() -> None:
    spec = Spec(
        name="a",
        inputs={"x": Input(modality="sequence", shape=(4, 1))},
        target=Future(names=("y",), steps=2),
        sizes={"test": 3},
    )
    predictions = {
        "said": torch.zeros(3, 2, 1, dtype=torch.float64),
        "truth": torch.tensor([[[1.0], [2]], [[3], [4]], [[5], [6]]], dtype=torch.float64),
        "recording": torch.arange(3),
        "start": torch.zeros(3, dtype=torch.int64),
        "ids": torch.arange(3),
    }
    assert errors(predictions, spec).tolist() == [1.5, 3.5, 5.5]


def test_linear_autoregression_of_a_lower_order_reads_the_last_steps(tmp_path: Path) -> None:
    data = series_data(autoregressive(), window=8)
    run = snellen.train(data, "linear-autoregression", out=tmp_path / "run", options=QUIET, order=3)
    x = data.samples("test").take(torch.arange(4)).x
    early, late = x.clone(), x.clone()
    early[:, :5] += 7
    late[:, 5] += 7
    assert torch.equal(run.model.forecast(early), run.model.forecast(x))
    assert not torch.allclose(run.model.forecast(late), run.model.forecast(x))
