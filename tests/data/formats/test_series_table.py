"""Time series in a table: columns, equal steps, gaps, resampling, time zones, months, calendar, season, splits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.formats.calendar_features import calendar_features
from snellen.data.formats.season import season_by_autocorrelation
from snellen.data.formats.series_times import find_step, parse_times
from snellen.data.open_dataset import dataset
from snellen.data.recording_windows import RecordingWindows

DAYS = [date(2023, 1, 1) + timedelta(days=k) for k in range(200)]


def write(path: Path, head: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def opened(path: Path, **options: object) -> Dataset[Labelled]:
    return dataset(path, options=OpenOptions(future=True, **options))  # type: ignore[arg-type]


def values_of(data: Dataset[Labelled]) -> torch.Tensor:
    assert isinstance(data.source, RecordingWindows)
    return data.source.values


def target_of(data: Dataset[Labelled]) -> Future:
    assert isinstance(data.spec.target, Future)
    return data.spec.target


def stores(path: Path) -> Path:
    """Two stores, B from 40 days later, with rows by date, a category, a price known in advance and an input."""
    rows = []
    for k, day in enumerate(DAYS):
        for store in "AB":
            if store == "A" or k >= 40:
                rows.append(f"{day},{store},{100 * k + (store == 'B')},{k % 5},{'xy'[k % 2]},{k}")
    return write(path, "date,store,sales,price,kind,clicks", rows)


def test_series_of_an_id_have_targets_first_and_known_columns_a_horizon_early(tmp_path: Path) -> None:
    path = stores(tmp_path / "s.csv")
    data = opened(path, target=("sales",), known=("price",), sequence_id="store", horizon=3, window=5, calendar=False)
    target = target_of(data)
    assert target.names == ("sales",)
    assert target.input_names == ("sales", "kind=x", "kind=y", "clicks", "price")
    assert (target.known, target.season, target.duration, target.duration_unit) == (1, 7, 1.0, "d")
    assert isinstance(data.source, RecordingWindows)
    assert data.source.recordings == ("store A", "store B")
    assert data.source.lengths == (200, 160)
    x = data.source.read(np.array([2]), Preprocessing())[0]
    k = np.arange(2, 7)
    np.testing.assert_array_equal(x.numpy(), np.stack([100 * k, k % 2 == 0, k % 2 == 1, k, (k + 3) % 5], 1))
    assert data.truth[2].flatten().tolist() == [700, 800, 900]
    assert data.name(2) == "store A, 2023-01-03 to 2023-01-07"


def test_inputs_names_the_columns_that_are_read_and_not_forecast(tmp_path: Path) -> None:
    path = stores(tmp_path / "s.csv")
    data = opened(path, target=("sales",), inputs=("clicks",), sequence_id="store", horizon=3, calendar=False)
    assert target_of(data).input_names == ("sales", "clicks")
    np.savetxt(tmp_path / "plain.txt", np.random.default_rng(0).normal(size=(90, 2)))
    with pytest.raises(UsageError, match="--inputs does not apply to these recordings"):
        opened(tmp_path / "plain.txt", inputs=("clicks",), horizon=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-3] + rows[-2:], "line 360, store B: date goes from 2023-07-17 to 2023-07-19"),
        (lambda rows: [*rows, rows[-1]], "line 362, store B: date is 2023-07-19 again, as in line 361"),
        (lambda rows: [*rows[:-3], rows[-3].replace(",4,", ",,").replace(",3,", ",,"), *rows[-2:]], "store B: price"),
    ],
)
def test_errors_of_steps_name_the_series(tmp_path: Path, change: Any, message: str) -> None:
    path = stores(tmp_path / "s.csv")
    head, *rows = path.read_text().splitlines()
    write(path, head, change(rows))
    with pytest.raises(DataError, match=message):
        opened(path, target=("sales",), sequence_id="store", horizon=3)


def test_all_series_are_split_at_the_same_dates(tmp_path: Path) -> None:
    data = opened(stores(tmp_path / "s.csv"), target=("sales",), sequence_id="store", horizon=3, window=5)
    day = (data.truth[..., 0] // 100).long()  # of each step of each future
    bounds = {split: (int(day[ids].min()), int(day[ids].max())) for split, ids in data.splits.items()}
    assert bounds["train"][1] < bounds["val"][0] <= bounds["val"][1] < bounds["test"][0]
    assert {int(v) for v in data.truth[data.splits["test"]][..., 0].flatten() % 100} == {0, 1}  # both stores


@pytest.mark.parametrize("missing", ["rows", "cells"])
def test_short_gaps_are_interpolated_as_numpy_does_and_counted(tmp_path: Path, missing: str) -> None:
    y, gone = np.sin(np.arange(200.0)) * 10, [50, 51, 90, *range(120, 135)]
    rows = [f"{day},{'' if k in gone else float(y[k])}" for k, day in enumerate(DAYS)]
    rows = [row for k, row in enumerate(rows) if missing == "cells" or k not in gone]
    path = write(tmp_path / "a.csv", "date,a", rows)
    with pytest.raises(DataError, match=r"line 52: .*18 (steps missing in 3 gaps|missing cells)") as raised:
        opened(path, horizon=2)
    assert "--gaps interpolate" in str(raised.value.remedy)
    left = np.setdiff1d(np.arange(200), gone)
    filled = np.interp(np.arange(200), left, y[left])
    data = opened(path, horizon=2, gaps="interpolate", max_gap=15, calendar=False)
    np.testing.assert_allclose(values_of(data)[:, 0].double().numpy(), filled, rtol=1e-6)
    assert "18 steps interpolated" in data.recognised_as
    data = opened(path, horizon=2, gaps="interpolate", max_gap=3, calendar=False)
    expected = np.delete(filled, np.arange(120, 135))
    np.testing.assert_allclose(values_of(data)[:, 0].double().numpy(), expected, rtol=1e-6)
    assert isinstance(data.source, RecordingWindows)
    assert data.source.lengths == (120, 65)
    assert any("3 steps interpolated; 15 steps of longer gaps left out" in f.message for f in data.findings)
    split = opened(path, horizon=2, gaps="split", calendar=False)
    assert isinstance(split.source, RecordingWindows)
    assert split.source.lengths == (50, 38, 29, 65)


def test_irregular_times_are_averaged_by_period(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.choice(200 * 3600, 3000, replace=False))
    y = rng.normal(size=3000)
    start = datetime(2024, 1, 1)
    rows = [
        f"{(start + timedelta(seconds=int(s))).isoformat()},{v!r}" for s, v in zip(seconds, y.tolist(), strict=True)
    ]
    path = write(tmp_path / "a.csv", "time,a", rows)
    with pytest.raises(DataError, match="differ by a part of a step") as raised:
        opened(path, horizon=2)
    assert "--resample" in str(raised.value.remedy)
    data = opened(path, horizon=2, resample="2h", calendar=False)
    expected = [y[seconds // 7200 == k].mean() for k in range(100)]
    np.testing.assert_allclose(values_of(data)[:, 0].double().numpy(), expected, rtol=1e-6)
    assert (target_of(data).duration, target_of(data).duration_unit) == (2.0, "h")


def test_rows_are_sorted_and_a_repeated_time_is_an_error(tmp_path: Path) -> None:
    rows = [f"{day},{k * k}" for k, day in enumerate(DAYS)]
    data = opened(write(tmp_path / "a.csv", "date,a", rows[::-1]), horizon=2, calendar=False)
    assert values_of(data)[:, 0].tolist() == [k * k for k in range(200)]
    assert "rows sorted by time in 1 series" in data.recognised_as
    with pytest.raises(DataError, match="line 202: date is 2023-01-04 again, as in line 5"):
        opened(write(tmp_path / "b.csv", "date,a", [*rows, f"{DAYS[3]},0"]), horizon=2)


def test_days_have_23_hours_and_hours_one_in_times_with_an_offset() -> None:
    """Central Europe, 26 March 2023: days are equal as written, hours in UTC."""
    days = [f"2023-03-{day}T00:00:00+0{1 + (day > 26)}:00" for day in range(20, 32)]
    times = parse_times(days, "f", "time", range(12))
    step = find_step([times])
    assert step is not None
    assert step.duration() == (1.0, "d")
    np.testing.assert_allclose(step.count(times), 1)
    after = step.after(times, 11, 2)
    assert [after.text(k) for k in range(2)] == ["2023-04-01T00:00:00+02:00", "2023-04-02T00:00:00+02:00"]
    hours = ["2023-03-26T00:00+01:00", "2023-03-26T01:00+01:00", "2023-03-26T03:00+02:00", "2023-03-26T04:00+02:00"]
    times = parse_times(hours, "f", "time", range(4))
    step = find_step([times])
    assert step is not None
    np.testing.assert_allclose(step.count(times), 1)


def test_months_are_equal_steps_to_the_last_day() -> None:
    ends = [(date(2023 + (k + 1) // 12, (k + 1) % 12 + 1, 1) - timedelta(days=1)).isoformat() for k in range(14)]
    for cells, following in (
        (ends, ["2024-03-31", "2024-04-30"]),
        ([f"2023-{month:02d}" for month in range(1, 13)], ["2024-01-01", "2024-02-01"]),
    ):
        times = parse_times(cells, "f", "month", range(len(cells)))
        step = find_step([times])
        assert step is not None
        assert step.duration() == (1.0, "month")
        after = step.after(times, len(cells) - 1, 2)
        assert [after.text(k) for k in range(2)] == following


def test_calendar_features_are_sines_of_the_elapsed_fraction() -> None:
    cells = ["2024-02-29T18:00:00", "2023-12-31T00:00:00", "1969-07-20T20:17:00"]
    times = parse_times(cells, "f", "time", range(3))
    names = ["day sin 1", "day cos 2", "week cos 1", "year sin 3"]
    expected = []
    for cell in cells:
        moment = datetime.fromisoformat(cell)
        day = (moment.hour * 60 + moment.minute) / 1440
        week = (moment.weekday() + day) / 7
        first, last = datetime(moment.year, 1, 1), datetime(moment.year + 1, 1, 1)
        year = (moment - first) / (last - first)
        angles = 2 * np.pi * np.array([day, 2 * day, week, 3 * year])
        expected.append([np.sin(angles[0]), np.cos(angles[1]), np.cos(angles[2]), np.sin(angles[3])])
    np.testing.assert_allclose(calendar_features(times, names), expected, atol=1e-9)


def test_a_season_is_the_lag_of_the_highest_autocorrelation() -> None:
    rng = np.random.default_rng(1)
    t = np.arange(400)
    y = 0.05 * t + np.sin(2 * np.pi * t / 12) + 0.3 * rng.normal(size=400)
    changes = np.diff(y) - np.diff(y).mean()
    correlation = np.correlate(changes, changes, "full")[len(changes) - 1 :] / (changes @ changes)
    assert season_by_autocorrelation([y[:, None]], 20) == 12 == 2 + int(np.argmax(correlation[2:20]))
    assert season_by_autocorrelation([y[:, None]], 40) == 12  # not the multiples 24 and 36
    assert season_by_autocorrelation([rng.normal(size=(400, 2)).cumsum(0)], 40) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ("nope",)}, "--target: no column is called 'nope'"),
        ({"target": ("sales",), "known": ("sales",)}, "named by --target and by --known"),
        ({"target": ("sales",), "sequence_id": "store", "known": ("price",), "window": 2, "horizon": 3}, "--window 2"),
        ({"target": ("sales",), "sequence_id": "store", "resample": "3x"}, "--resample 3x is no period"),
        ({"target": ("sales",), "sequence_id": "store", "max_gap": 3}, "--max-gap applies to --gaps interpolate"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(stores(tmp_path / "s.csv"), **options)


def test_text_columns_are_categories_or_name_the_remedy(tmp_path: Path) -> None:
    path = stores(tmp_path / "s.csv")
    with pytest.raises(DataError, match="'store' holds text") as raised:
        opened(path)
    assert "--sequence-id store" in str(raised.value.remedy)
    rows = [f"{day},{k},name {k}" for k, day in enumerate(DAYS)]
    with pytest.raises(DataError, match="text of 200 different values"):
        opened(write(tmp_path / "b.csv", "date,a,c", rows), target=("a",))
