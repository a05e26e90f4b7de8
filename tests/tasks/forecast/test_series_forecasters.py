"""Forecasters of time series in tables: seasonal naive, scaled errors, other inputs, trees on lags, new files."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.api.trained_run import TrainedRun
from snellen.cli import predict as predict_verb
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Input, Preprocessing, Spec, TimeSteps
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import assemble, dataset
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.data.source import BadSamples
from snellen.metrics import scaled_errors
from snellen.modalities.modality import MalformedJSON
from snellen.modalities.series_files import read_series_json
from snellen.modalities.step_lines import read_steps
from snellen.nn.trees import TreeEnsemble
from snellen.serving.limits import Limits
from snellen.serving.request import inputs
from snellen.tasks.forecast.lag_features import LagFeatures
from snellen.tasks.forecast.level import Level
from snellen.tasks.forecast.naive_scale import naive_scale

QUIET = RunOptions(threads=1, report=False)
STEPS, WINDOW, HORIZON = 260, 16, 4
FIRST = date(2022, 5, 2)


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    t = np.arange(STEPS)
    holiday = (rng.random(STEPS) < 0.1).astype(float)
    clicks = rng.normal(size=STEPS)
    noise = rng.normal(size=STEPS)
    sales = (50 + 0.05 * t + 8 * np.sin(2 * np.pi * t / 7) + np.roll(clicks, 1)) * (1 - 0.4 * holiday) + noise
    return {"sales": np.round(sales, 3), "clicks": np.round(clicks, 3), "holiday": holiday}


def rows_of(table: dict[str, np.ndarray], stop: int = STEPS) -> list[str]:
    """Rows up to `stop` steps; of the steps after it, those of known columns."""
    return [
        f"{FIRST + timedelta(days=k)},"
        + (f"{table['sales'][k]},{table['clicks'][k]}" if k < stop else ",")
        + f",{table['holiday'][k]:g}"
        for k in range(STEPS)
    ]


def series(
    path: Path, calendar: bool = False, known: tuple[str, ...] = ("holiday",), window: int = WINDOW
) -> Dataset[Labelled]:
    path.write_text("\n".join(["date,sales,clicks,holiday", *rows_of(columns())]) + "\n")
    options = OpenOptions(
        future=True, target=("sales",), known=known, horizon=HORIZON, window=window, calendar=calendar
    )
    return dataset(path, options=options)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedRun, Dataset[Labelled]]:
    folder = tmp_path_factory.mktemp("linear")
    data = series(folder / "s.csv", calendar=True)
    return snellen.train(data, "linear-autoregression", out=folder / "run", options=QUIET), data


def test_seasonal_naive_is_the_value_one_season_before() -> None:
    past = torch.arange(1.0, 11.0)[None, :, None]  # 1 … 10, the last season is 8, 9, 10
    assert scaled_errors.seasonal_naive(past, 7, 3)[0, :, 0].tolist() == [8, 9, 10, 8, 9, 10, 8]


def test_scaled_errors_of_a_worked_example() -> None:
    """Hyndman and Koehler 2006, by hand: differences one season (2) apart are 2, 2, 2, 4, so the scale is 2.5."""
    training = torch.tensor([[10.0], [20.0], [12.0], [22.0], [14.0], [26.0]])
    scale = scaled_errors.naive_errors([training], 2)
    assert scale is not None
    assert scale.tolist() == [2.5]
    error = torch.tensor([[[5.0], [-2.5]]])
    metric = scaled_errors.mean_absolute_scaled_error(error, scale[None], torch.zeros(1, dtype=torch.int64))
    assert metric.value == 1.5
    truth = torch.tensor([[[10.0], [25.0]]])
    percentage = scaled_errors.mean_absolute_percentage_error(error, truth, torch.zeros(1, dtype=torch.int64))
    assert percentage is not None
    assert percentage.value == 30.0
    assert scaled_errors.mean_absolute_percentage_error(error, truth - 10, torch.zeros(1, dtype=torch.int64)) is None


def test_the_unit_of_scaled_errors_is_that_of_each_series_up_to_the_last_training_step() -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(40, 1)), 100 * rng.normal(size=(50, 1))]
    source = RecordingWindows(torch.from_numpy(np.concatenate(values)), [40, 50], ["a", "b"], window=6, horizon=3)
    given = split_in_time(source, (0.6, 0.2, 0.2))
    raw = RawDataset(
        source=source,
        inputs={"sequence": Input(modality="sequence", shape=(6, 1), dtype="float64")},
        target=Future(names=("y",), steps=3, season=4),
        truth=source.future(np.arange(len(source))),
        given_splits=given,
        recognised_as="two series",
    )
    data = assemble(raw, "series", 0, None)
    scale = naive_scale(data, data.splits["test"]).numpy()
    for k, length in enumerate((24, 30)):  # 60 % of the steps
        training = values[k][:length, 0]
        expected = np.abs(training[4:] - training[:-4]).mean()
        rows = source.recording[data.splits["test"].numpy()] == k
        np.testing.assert_allclose(scale[rows], expected, rtol=1e-12)


@pytest.mark.parametrize(("known", "window"), [(("holiday",), WINDOW), ((), WINDOW), ((), HORIZON - 1)])
def test_linear_autoregression_with_inputs_equals_numpys_least_squares(
    tmp_path: Path, known: tuple[str, ...], window: int
) -> None:
    data = series(tmp_path / "s.csv", known=known, window=window)
    run = snellen.train(data, "linear-autoregression", out=tmp_path / "run", options=QUIET)
    table, source = columns(), data.source
    assert isinstance(source, RecordingWindows)

    def design(split: str, h: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        t = source.start[data.splits[split].numpy()] + window - 1  # last step of each window
        sales, holiday = table["sales"], table["holiday"]
        level = np.stack([sales[t - k] for k in range(min(7, window))]).mean(0)
        past = np.stack([sales[t - k] - sales[t] for k in range(window - 1, 0, -1)], 1) / level[:, None]
        events = [holiday[t + h], holiday[t], holiday[t + h - 7]] if known else [holiday[t]]
        x = np.concatenate([past, np.stack([np.ones(len(t)), table["clicks"][t], *events], 1)], 1)
        return x, sales[t + h], sales[t], level

    for h in range(1, HORIZON + 1):
        x, y, last, level = design("train", h)
        weights, *_ = np.linalg.lstsq(x, (y - last) / level, rcond=None)
        x, y, last, level = design("test", h)
        forecast = run.predictions("test")["said"][:, h - 1, 0].numpy()
        np.testing.assert_allclose(forecast, last + level * (x @ weights), rtol=1e-5)


def test_lag_features_are_those_of_the_raw_series(tmp_path: Path) -> None:
    data = series(tmp_path / "s.csv")
    table, source = columns(), data.source
    assert isinstance(source, RecordingWindows)
    features = LagFeatures(data.spec)
    x = source.read(np.array([30]), Preprocessing())
    t = 30 + WINDOW - 1
    sales, holiday, clicks = (table[name] for name in ("sales", "holiday", "clicks"))
    level = sales[t - 6 : t + 1].mean()
    for h in range(1, HORIZON + 1):
        seasonal = [sales[t + h - 7] - level, sales[t + h - 14] - level]
        expected = [
            h,
            *(sales[t - WINDOW + 1 : t + 1] - level),
            *seasonal,
            np.mean(seasonal),
            sales[t - 13 : t - 6].mean() - level,
            sales[t - WINDOW + 1 : t + 1].mean() - level,
            holiday[t + h],
            holiday[t + h - 7],
            clicks[t],
            clicks[t - 6 : t + 1].mean(),
        ]
        np.testing.assert_allclose(features(x, 0)[0, h - 1].numpy(), expected, rtol=1e-5, atol=1e-5)
    assert features(x, 0).shape[2] == features.count


def test_boosted_trees_forecast_what_scikit_learn_does(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    data = series(tmp_path / "s.csv", calendar=True)
    run = snellen.train(data, "boosted-trees", out=tmp_path / "run", options=QUIET, max_iter=8)
    model = run.model
    trees = model.trees[0]
    assert isinstance(trees, TreeEnsemble)
    train, test = (data.source.read(data.splits[split].numpy(), Preprocessing()) for split in ("train", "test"))
    level, unit = model.features.level(train)
    y = (data.truth[data.splits["train"]][..., 0].double() - level) / unit
    peer = HistGradientBoostingRegressor(loss="absolute_error", max_iter=trees.rounds, min_samples_leaf=20)
    peer.set_params(early_stopping=False)
    peer.fit(model.features(train, 0).flatten(0, 1).numpy(), y.flatten().numpy())
    level, unit = model.features.level(test)
    expected = peer.predict(model.features(test, 0).flatten(0, 1).numpy()).reshape(-1, HORIZON)
    forecast = run.predictions("test")["said"][..., 0]
    np.testing.assert_allclose(forecast.numpy(), (level + unit * torch.from_numpy(expected)).numpy(), rtol=1e-9)


def test_units_are_levels_of_series_that_are_never_negative(tmp_path: Path) -> None:
    data = series(tmp_path / "s.csv")
    level = Level(data.spec)
    level.fit(data.samples("train"))
    x = data.source.read(np.array([3]), Preprocessing())
    values, units = level(x)
    assert float(values[0, 0]) == pytest.approx(columns()["sales"][12:19].mean(), rel=1e-6)
    assert bool((values == units).all())
    signed = Spec(
        name="s",
        inputs={"x": Input(modality="sequence", shape=(4, 1))},
        target=Future(names=("a",), steps=2, time_steps=TimeSteps()),
    )
    assert Level(signed)(torch.full((1, 4, 1), 5.0))[1].tolist() == [[1.0]]


def test_a_new_file_has_the_forecast_of_its_last_window_and_the_dates(
    linear: tuple[TrainedRun, Dataset[Labelled]], tmp_path: Path
) -> None:
    run, data = linear
    stop = STEPS - HORIZON
    path = tmp_path / "new.csv"
    path.write_text("\n".join(["date,sales,clicks,holiday", *rows_of(columns(), stop)]) + "\n")
    (record,) = run.predict_files([path])
    expected = run.model.forecast(data.source.read(np.array([stop - WINDOW]), Preprocessing()))[0, :, 0]
    np.testing.assert_allclose(record["forecast"]["sales"], expected.detach().numpy(), rtol=1e-6)
    assert record["time"] == [str(FIRST + timedelta(days=stop + h)) for h in range(HORIZON)]
    assert record["input"] == str(path)
    rows = predict_verb._csv_rows(record)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert {key: value for key, value in rows[1].items() if not key.startswith("intervals")} == {
        "input": str(path),
        "step": 2,
        "time": record["time"][1],
        "forecast[sales]": record["forecast"]["sales"][1],
    }
    plain: dict[str, Any] = {"date": [str(FIRST + timedelta(days=k)) for k in range(STEPS)]}
    for name, values in columns().items():
        plain[name] = [None if k >= stop and name != "holiday" else v for k, v in enumerate(values.tolist())]
    ((name, x),) = read_series_json("body", [json.loads(json.dumps(plain))], run.spec)
    assert run.predict_records([name], torch.from_numpy(x)[None])[0] == {**record, "input": "body[0]"}
    with pytest.raises(MalformedJSON, match="columns of 260 and of 3 cells"):
        list(read_series_json("body", [{**plain, "holiday": [0, 1, 0]}], run.spec))
    for body in (b"{}", b'{"series": []}', b'{"sequences": []}', b"[", b'{"series": [[1]]}'):
        with pytest.raises(MalformedJSON) as error:
            list(inputs(body, "application/json", run.spec, run.record.preprocessing, Limits()))
        assert error.value.remedy.startswith(
            'Send {"series": [{"date": [...], "sales": [...], "clicks": [...], "holiday": [...]}, ...]}'
        )


def test_lines_have_nothing_in_advance(linear: tuple[TrainedRun, Dataset[Labelled]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holiday, week sin 1") as error:
        next(read_steps([], linear[0].spec))
    assert error.value.remedy.startswith("Train with --no-calendar and without --known")
    plain = series(tmp_path / "s.csv", known=())
    lines = [f"{sales},{clicks},0" for sales, clicks, _ in zip(*columns().values(), strict=True)]
    assert len(list(read_steps(["sales,clicks,holiday", *lines], plain.spec))) == STEPS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-2], r"known in advance \(holiday\) is missing at 2 of the 4 steps"),
        (lambda rows: rows[-WINDOW:], "has 12 steps with sales, a forecast is made from the last 16"),
        (lambda rows: [row for k, row in enumerate(rows) if k != 200], "goes from 2022-11-17 to 2022-11-19"),
        (lambda rows: [r.replace(",", ",x", 1) if k == 9 else r for k, r in enumerate(rows)], "not a finite number"),
        (lambda rows: rows[::7], "has steps of 7 d, the model was trained on steps of 1 d"),
    ],
)
def test_a_new_file_that_lacks_something_is_an_error(
    linear: tuple[TrainedRun, Dataset[Labelled]], tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("\n".join(["date,sales,clicks,holiday", *change(rows_of(columns(), STEPS - HORIZON))]) + "\n")
    with pytest.raises((BadSamples, DataError), match=message):
        list(linear[0].predict_files([path]))
