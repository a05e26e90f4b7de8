"""Prediction intervals of forecasters: calibration, quantile loss, commands, report, and runs without intervals."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_pinball_loss
from torch import nn

import snellen
from snellen.api import RunOptions
from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Future, Input, Preprocessing, Spec
from snellen.core.views import Metric, Plot, Text
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.metrics.prediction_intervals import conformal_rank
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.forecast import TASK
from snellen.tasks.forecast.baseline import LastValue
from snellen.tasks.forecast.calibration import calibrate, with_intervals
from snellen.tasks.forecast.interval_views import agreement
from snellen.tasks.forecast.intervals import PredictionIntervals
from snellen.tasks.forecast.objective import ForecastNetwork
from snellen.tasks.forecast.objective import mean_pinball_loss as loss_of_quantiles
from snellen.tasks.forecast.task import predict_batch

QUIET = RunOptions(threads=1, report=False)


def ar1(steps: int, features: int = 1, phi: float = 0.8, seed: int = 0) -> np.ndarray:
    """(steps, features) x(t) = φ x(t − 1) + e."""
    rng = np.random.default_rng(seed)
    x = np.zeros((steps, features))
    for t in range(1, steps):
        x[t] = phi * x[t - 1] + rng.normal(size=features)
    return x


def series_data(
    values: np.ndarray, window: int = 4, horizon: int = 3, fractions: tuple[float, float, float] = (0.4, 0.3, 0.3)
) -> Dataset[Labelled]:
    """One recording (T, D), split in time."""
    source = RecordingWindows(torch.from_numpy(values), [len(values)], ["a"], window, horizon)
    raw = RawDataset(
        source=source,
        inputs={"sequence": Input(modality="sequence", shape=(window, values.shape[1]), dtype="float64")},
        target=Future(names=tuple("abcdefgh"[: values.shape[1]]), steps=horizon),
        truth=source.future(np.arange(len(source))),
        given_splits=split_in_time(source, fractions),
        recognised_as="a recording",
    )
    return assemble(raw, "series", 0, None)


def test_margins_on_ar1_data_are_the_exact_quantiles(tmp_path: Path) -> None:
    """Windows overlap: the error of the quantiles is at most that of as many windows as there are disjoint ones."""
    data = series_data(ar1(12_000))
    run = snellen.train(data, "linear-autoregression", out=tmp_path / "run", options=QUIET, levels=(90.0, 50.0))
    margin = run.model.intervals.margin[..., 0].numpy()  # type: ignore[union-attr, index]
    spread = np.sqrt((1 - 0.8 ** (2 * np.arange(1, 4))) / (1 - 0.8**2))
    disjoint = len(data.splits["val"]) / 7
    for k, level in enumerate((0.5, 0.9)):
        exact = 2 * stats.norm.cdf(margin[k] / spread) - 1
        assert np.abs(exact - level).max() < 5 * math.sqrt(level * (1 - level) / disjoint)
        coverage = run.metrics[f"coverage of the {level:.0%} intervals".replace("%", " %")]
        assert coverage.value == pytest.approx(level, abs=5 * math.sqrt(2 * level * (1 - level) / disjoint))
    predictions = run.predictions("test")
    error = (predictions["truth"] - predictions["said"]).abs().numpy()[..., 0]
    expected = (error[:, None] <= margin).mean((0, 2))
    for level, value in zip((50, 90), expected, strict=True):
        assert run.metrics[f"coverage of the {level} % intervals"].value == pytest.approx(value)
        assert "fitted to these windows" in run.evaluate(split="val")[f"coverage of the {level} % intervals"].reason


def quantile_network(data: Dataset[Labelled], levels: tuple[float, ...] = (50.0, 90.0)) -> ForecastNetwork:
    features = len(data.spec.target.names)  # type: ignore[union-attr]
    outputs = 3 * features * (1 + 2 * len(levels))
    body = nn.Sequential(nn.Flatten(), nn.Linear(4 * features, outputs))
    model = ForecastNetwork(Network(Standardize(data.spec.input), body), data.spec, "last-value", levels=levels)
    model.scale.copy_(torch.arange(1, features + 1))
    return model


class Constant(nn.Module):
    """Network that returns given numbers."""

    def __init__(self, y: torch.Tensor) -> None:
        super().__init__()
        self.y = y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.y


def test_the_quantile_loss_equals_scikit_learn_and_its_gradient_equals_differences() -> None:
    data = series_data(ar1(100, 2))
    model = quantile_network(data)
    batch = data.samples("train").take(torch.arange(3))
    y = torch.randn(3, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    truth = torch.randn(3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model.network = Constant(y)
    median, below, above = (part.detach() for part in model.quantile_changes(batch.x))
    quantiles = {0.5: median, 0.25: median - below[:, 0], 0.05: median - below[:, 1]}
    quantiles |= {0.75: median + above[:, 0], 0.95: median + above[:, 1]}
    each = [mean_pinball_loss(truth.flatten(), q.flatten(), alpha=tau) for tau, q in quantiles.items()]
    assert loss_of_quantiles(model, batch.x, truth).item() == pytest.approx(2 * np.mean(each), rel=1e-6)

    def loss(values: torch.Tensor) -> torch.Tensor:
        model.network = Constant(values)
        return loss_of_quantiles(model, batch.x, truth)

    assert torch.autograd.gradcheck(loss, (y,), eps=1e-6, atol=1e-6)


def test_the_ends_of_quantiles_are_widened_until_enough_validation_windows_lie_inside(tmp_path: Path) -> None:
    """The ends below and above the forecast differ: exactly the windows of the conformal rank lie inside."""
    rng = np.random.default_rng(3)
    data = series_data(np.cumsum(rng.exponential(size=(400, 1)), 0))
    model = quantile_network(data)
    model.add_module("intervals", PredictionIntervals([50.0, 90.0], 3, 1))
    with torch.no_grad():
        model.network.body[1].bias.normal_(generator=torch.Generator().manual_seed(0))
    calibrate(model, data, Run(tmp_path / "run", seed=0))
    x, y = data.samples("val").take(torch.arange(len(data.splits["val"]))).x, data.truth[data.splits["val"]][...]
    median, below, above = model.forecast_quantiles(x)
    below, above = model.intervals.widened(below, above)  # type: ignore[operator, union-attr]
    error = y - median
    for k, level in enumerate((50.0, 90.0)):
        inside = ((error >= -below[:, k] - 1e-9) & (error <= above[:, k] + 1e-9)).sum(0)
        assert (inside == conformal_rank(len(y), level)).all()


def test_quantiles_do_not_cross_and_intervals_are_nested() -> None:
    data = series_data(ar1(100, 2))
    model = quantile_network(data)
    for weights in model.network.parameters():
        nn.init.normal_(weights, std=5, generator=torch.Generator().manual_seed(0))
    x = data.samples("train").take(torch.arange(20)).x
    forecast, below, above = model.forecast_quantiles(x)
    ends = torch.cat([-below.flip(1), torch.zeros_like(forecast)[:, None], above], 1)
    assert bool((ends.diff(dim=1) >= 0).all())
    torch.testing.assert_close(forecast, model.forecast(x))
    learner = with_intervals(
        Learner(
            name="wide",
            summary="",
            source="",
            task=TASK,
            accepts=frozenset({"sequence"}),
            settings=NoSettings,
            build=lambda c, spec: model,
            fit=lambda c, data, model, run: None,
        )
    )
    built = learner.build(learner.settings(), data.spec)
    built.intervals.margin[0], built.intervals.margin[1] = 2.0, -1e6  # the outer interval narrower than the inner one
    for plain in predict_batch(built, x, data.spec):
        for name, values in plain["forecast"].items():
            inner, outer = (plain["intervals"][level][name] for level in ("50 %", "90 %"))
            assert outer["low"] <= inner["low"] <= values <= inner["high"] <= outer["high"]
            assert all(a < b for a, b in zip(inner["low"], inner["high"], strict=True))


@settings
class NoSettings:
    """Settings of a learner without any."""


def test_a_learner_of_a_user_gets_levels_and_intervals(tmp_path: Path) -> None:
    plain = Learner[NoSettings, Dataset[Labelled], LastValue](
        name="last",
        summary="",
        source="",
        task=TASK,
        accepts=frozenset({"sequence"}),
        settings=NoSettings,
        build=lambda c, spec: LastValue(3, 2),
        fit=lambda c, data, model, run: None,
    )
    data = series_data(ar1(600, 2))
    without = snellen.train(data, plain, out=tmp_path / "without", options=QUIET)
    x = data.source.read(np.arange(2), Preprocessing())
    assert list(without.predict(x)[0]) == ["forecast"]  # type: ignore[index]
    run = snellen.train(data, with_intervals(plain), out=tmp_path / "with", options=QUIET, levels=(80.0,))
    assert list(run.predict(x)[0]["intervals"]) == ["80 %"]  # type: ignore[index]
    with pytest.raises(UsageError, match="--levels has 80 twice"):
        snellen.train(data, "baseline", out=tmp_path / "twice", levels=(80.0, 50.0, 80.0))
    with pytest.raises(UsageError, match="--levels cannot be"):
        snellen.train(data, "baseline", out=tmp_path / "fraction", levels=(0.9,))


def test_a_module_of_a_user_learns_quantiles(tmp_path: Path) -> None:
    data = series_data(ar1(1500))
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3 * 5))
    run = snellen.train(data, module, loss="quantile", out=tmp_path / "run", options=QUIET, epochs=3)
    x = data.source.read(np.arange(2), Preprocessing())
    bounds = run.predict(x)[0]["intervals"]["90 %"]["a"]  # type: ignore[index]
    assert bounds["low"] < bounds["high"]
    with pytest.raises(UsageError, match=r"returns shape \(2, 15\) for 2 samples, not \(2, 9\)"):
        snellen.train(data, module, loss="quantile", levels=(90.0,), out=tmp_path / "no", options=QUIET)
    with pytest.raises(UsageError, match="--loss quantile needs levels"):
        snellen.train(data, "mlp", loss="quantile", levels=(), out=tmp_path / "none", options=QUIET)


def write_table(path: Path, values: np.ndarray) -> Path:
    path.write_text("\n".join(["up,down", *(f"{a},{b}" for a, b in values)]))
    return path


def test_files_are_predicted_and_exported_with_intervals(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", ar1(300, 2))
    run = snellen.train(table, "mlp", task="forecast", out=tmp_path / "run", options=QUIET, epochs=2, loss="quantile")
    plain = run.predict(table)
    assert isinstance(plain, dict)
    exported = run.task.export(run.model, run.spec)
    assert [o.name for o in exported.outputs] == ["forecast", "low_50", "high_50", "low_90", "high_90"]
    with torch.no_grad():
        tensors = exported.module(torch.from_numpy(np.loadtxt(table, delimiter=",", skiprows=1)[None, -20:]))
    outputs = [tensors[end].numpy() for end in ("forecast", "low_90", "high_90")]
    for d, name in enumerate(("up", "down")):
        bounds = plain["intervals"]["90 %"][name]
        for expected, values in zip((plain["forecast"][name], bounds["low"], bounds["high"]), outputs, strict=True):
            np.testing.assert_allclose(values[0, :, d], expected, rtol=1e-6)
    assert "(90 %: " in TASK.display.lines(plain, run.spec)[0]


def test_a_run_folder_from_before_there_were_intervals_predicts_and_is_compared(tmp_path: Path) -> None:
    data = series_data(ar1(600, 2))
    run = snellen.train(data, "linear-autoregression", out=tmp_path / "new", options=QUIET)
    old = tmp_path / "old"
    shutil.copytree(run.folder, old)
    hashes = {}
    for name, removed in (
        ("model", ("intervals.margin",)),
        ("predictions/test", ("below", "above", "levels", "calibrated_on")),
    ):
        tensors, _ = file_io.read_tensors(old / f"{name}.safetensors")
        kept = {key: value for key, value in tensors.items() if key not in removed}
        hashes[f"{name}.safetensors"] = file_io.write_tensors(old / f"{name}.safetensors", kept)
    record = json.loads((old / "run.json").read_text())
    record["files"] |= hashes
    record["settings"].pop("levels")
    record["sources"].pop("levels")
    (old / "run.json").write_text(json.dumps(record))
    x = data.source.read(np.arange(2), Preprocessing())
    loaded = snellen.load(old, data=data)
    new, former = run.predict(x), loaded.predict(x)
    assert former == [{"forecast": one["forecast"]} for one in new]  # type: ignore[index, union-attr]
    assert len(loaded.task.export(loaded.model, loaded.spec).outputs) == 1
    loaded.report()
    for pair in ((run, loaded), (loaded, run)):
        assert snellen.compare(*pair).pairs[0].difference.value == 0
    other = snellen.train(data, "linear-autoregression", out=tmp_path / "other", options=QUIET, levels=(80.0,))
    assert snellen.compare(run, other).pairs[0].difference.value == 0


def test_too_few_windows_for_a_level_give_no_interval_of_it(tmp_path: Path) -> None:
    data = series_data(ar1(100), fractions=(0.5, 0.1, 0.4))
    assert 1 < len(data.splits["val"]) < 9
    run = snellen.train(data, "baseline", out=tmp_path / "run", options=QUIET)
    x = data.source.read(np.arange(1), Preprocessing())
    assert list(run.predict(x)[0]["intervals"]) == ["50 %"]  # type: ignore[index]
    metric = run.metrics["coverage of the 90 % intervals"]
    assert str(metric) == "undefined: the validation split has fewer than 9 windows"
    assert run.metrics["coverage of the 50 % intervals"].value is not None
    assert "50 % interval" in str(run.summary().views)


def test_the_report_shows_coverage_by_horizon_and_fans(tmp_path: Path) -> None:
    constant = np.concatenate([ar1(1000, 2), np.ones((1000, 1))], 1)  # a column that never changes is not counted
    run = snellen.train(series_data(constant), "linear-autoregression", out=tmp_path / "run", options=QUIET)
    views = run.summary().views
    plots = {view.title: view for view in views if isinstance(view, Plot)}
    predictions = run.predictions("test")
    error = (predictions["truth"] - predictions["said"]).numpy()[..., :2]
    margin = run.model.intervals.margin.numpy()[..., :2]  # type: ignore[union-attr, operator]
    by_horizon = plots["Coverage of the intervals by horizon"].series
    for k in range(2):
        expected = 100 * (np.abs(error) <= margin[k]).mean((0, 2))
        np.testing.assert_allclose(by_horizon[k].y, expected)  # type: ignore[arg-type]
    assert [line.y for line in by_horizon[2:]] == [[50.0, 50.0], [90.0, 90.0]]
    quantiles = np.quantile(np.abs(np.concatenate([error, 0 * error[..., :1]], 2)).mean(2), [0.1, 0.9], axis=0)
    past = plots["Past errors by horizon"].series[0]
    np.testing.assert_allclose([past.low, past.high], quantiles)  # type: ignore[arg-type]
    fan = next(plot for title, plot in plots.items() if title.startswith("Worst: "))
    wide, narrow, truth, forecast = fan.series
    assert [s.name for s in fan.series] == ["90 % interval", "50 % interval", "truth", "forecast"]
    assert list(wide.low) <= list(narrow.low) <= list(forecast.y)  # type: ignore[type-var]
    assert truth.y[3] == forecast.y[0] == wide.low[0] == wide.high[0]
    assert any(isinstance(view, Text) and "90 % intervals cover" in view.lines[1] for view in views)


def test_the_agreement_of_coverages_is_a_sentence() -> None:
    def sentence(value: float, low: float | None = None, high: float | None = None) -> str:
        return agreement(90.0, Metric(value=value, low=low, high=high, percent=True))

    assert sentence(0.88, 0.84, 0.92).endswith("which agrees with 90 %.")
    assert "significantly fewer than 90 %" in sentence(0.8, 0.75, 0.85)
    assert "significantly more than 90 %" in sentence(0.97, 0.95, 0.99)
    assert "too few blocks" in sentence(0.88)
    assert agreement(90.0, Metric(value=None, reason="why")).endswith("is not measured: why.")


def test_a_network_without_quantiles_refuses_their_loss() -> None:
    spec = series_data(ar1(100)).spec

    def build(c: object, spec: Spec) -> ForecastNetwork:
        return quantile_network(series_data(ar1(100)), ())

    learner = Learner(
        name="steps",
        summary="",
        source="",
        task=TASK,
        accepts=frozenset({"sequence"}),
        settings=WithLoss,
        build=build,
        fit=lambda c, data, model, run: None,
    )
    with pytest.raises(UsageError, match="steps forecasts no quantiles"):
        with_intervals(learner).build(WithLoss(), spec)


@settings
class WithLoss:
    """Settings of a learner with losses."""

    loss: str = "quantile"
    """Loss."""
    levels: tuple[float, ...] = (50.0,)
    """Levels."""
