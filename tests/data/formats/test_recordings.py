"""Recordings to forecast: windows, splits without shared steps, times, and errors of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import FUTURE, OpenOptions
from snellen.data.formats.recordings import recognises
from snellen.data.open_dataset import dataset
from snellen.data.recording_windows import RecordingWindows


def write(path: Path, values: np.ndarray, header: Sequence[str] = (), delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [delimiter.join(header)] if header else []
    path.write_text("\n".join([*lines, *(delimiter.join(f"{v:.8g}" for v in row) for row in values)]) + "\n")


def recording(first: int, steps: int) -> np.ndarray:
    """(steps, 2) numbers that occur only once, so that a step is recognised in any window."""
    count = np.arange(first, first + steps)
    return np.stack([count, -count * 2], 1).astype(np.float64)


def forecast_data(path: Path, **options: int | str | None) -> Dataset[Labelled]:
    return dataset(path, options=OpenOptions(target=(FUTURE,), **options))  # type: ignore[arg-type]


def steps_of(data: Dataset[Labelled], split: str, what: str) -> set[float]:
    """The steps, by their first feature, in the windows or the futures of a split."""
    ids = data.splits[split]
    values = data.source.read(ids.numpy(), Preprocessing()) if what == "windows" else data.truth[ids]
    return set(values[..., 0].flatten().tolist())


@pytest.mark.parametrize(
    "layout", ["one file", "two files", "five files", "given test", "given test, one training file"]
)
def test_no_step_of_a_later_split_is_in_an_earlier_one(tmp_path: Path, layout: str) -> None:
    """Neither a target nor an input of validation and test occurs in any training window or its future."""
    if layout == "one file":
        write(path := tmp_path / "a.csv", recording(0, 300), ["x", "y"])
    else:
        path = tmp_path / "data"
        counts = {"two files": 2, "five files": 5, "given test": 4, "given test, one training file": 1}
        folder = path / "train" if "given" in layout else path
        for k in range(counts[layout]):
            write(folder / f"{k}.txt", recording(1000 * k, 200 + 10 * k))
        if "given" in layout:
            write(path / "test" / "9.txt", recording(9000, 120))
    data = forecast_data(path, window=8, horizon=4)
    assert all(len(data.splits[split]) > 0 for split in ("train", "val", "test"))
    used = {s: steps_of(data, s, "windows") | steps_of(data, s, "futures") for s in ("train", "val", "test")}
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]
    if layout == "one file":
        assert max(used["train"]) < min(used["val"]) <= max(used["val"]) < min(used["test"])


def test_windows_are_slices_of_their_recording(tmp_path: Path) -> None:
    for k, steps in enumerate((50, 11, 10, 40)):
        write(tmp_path / "data" / f"{k}.txt", recording(100 * k, steps), delimiter="  ")
    data = forecast_data(tmp_path / "data", window=7, horizon=4, stride=3)
    expected = [
        (100 * k + start, 100 * k + start + 7)
        for k, steps in enumerate((50, 11, 10, 40))
        for start in range(0, steps - 11 + 1, 3)
    ]
    x = data.source.read(np.arange(len(data.source)), Preprocessing())
    assert [(int(a[0, 0]), int(b[0, 0])) for a, b in zip(x, data.truth, strict=True)] == expected
    assert bool((x[:, 1:] - x[:, :-1] == torch.tensor([1.0, -2.0])).all())
    assert bool((data.truth[:, 1:] - data.truth[:, :-1] == torch.tensor([1.0, -2.0])).all())
    assert isinstance(data.source, RecordingWindows)
    assert data.name(0) == "0.txt, steps 1 to 7"
    assert any("2.txt (10 steps)" in finding.message for finding in data.findings)  # a short one is reported
    assert [skipped.path for skipped in data.skipped] == ["2.txt"]


def test_text_of_numbers_is_recognised_without_options_and_other_text_is_not(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / "data" / f"{k}.txt", recording(1000 * k, 80))
        write(tmp_path / "tables" / f"{k}.csv", recording(1000 * k, 80), ["x", "y"])
        write(tmp_path / "widths" / f"{k}.txt", np.ones((80, k + 1)))
        write(tmp_path / "labels" / f"{k}.txt", np.array([[0, 0.5, 0.5, 0.1, 0.1]] * 3), delimiter=" ")
    (tmp_path / "data" / "README.txt").write_text("Two columns.\n")
    assert isinstance(dataset(tmp_path / "data").spec.target, Future)
    assert not any(recognises(tmp_path / name) for name in ("tables", "widths", "labels"))
    assert isinstance(forecast_data(tmp_path / "tables").spec.target, Future)
    with pytest.raises(DataError, match=r"1\.txt has 2 columns of numbers, .*0\.txt has 1"):
        forecast_data(tmp_path / "widths")


def test_times_give_the_duration_of_a_step_and_are_no_feature(tmp_path: Path) -> None:
    days = np.datetime64("2023-12-30") + np.arange(90)
    months = np.datetime64("1990-01") + np.arange(90)
    columns = {
        "seconds.csv": ("time [ms]", [f"{0.5 * k:.6f}" for k in range(90)]),
        "days.csv": ("date", [str(day) for day in days]),
        "months.csv": ("Date", [f"{month}-01" for month in months]),
        "frames.csv": ("frame", [str(k) for k in range(90)]),
    }
    durations = {}
    for name, (head, times) in columns.items():
        rows = [f"{time},{np.sin(k):.6f},{k * k}" for k, time in enumerate(times)]
        (tmp_path / name).write_text("\n".join([f"{head},a,b", *rows]))
        target = forecast_data(tmp_path / name, window=4, horizon=2).spec.target
        assert isinstance(target, Future)
        assert target.names == ("a", "b")
        durations[name] = (target.duration, target.duration_unit)
    assert durations == {
        "seconds.csv": (0.5, "ms"),
        "days.csv": (1.0, "d"),
        "months.csv": (1.0, "month"),
        "frames.csv": (1.0, ""),
    }
    rows = [f"{day},{k}" for k, day in enumerate(days) if k != 40]
    (tmp_path / "gap.csv").write_text("\n".join(["date,a", *rows]))
    with pytest.raises(DataError, match=r"gap\.csv, line 42: date goes from 2024-02-07 to 2024-02-09, a step of 2 d"):
        forecast_data(tmp_path / "gap.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n1,2\n3\n", "line 2 has 2 cells, line 3 has 1"),
        ("a,b\n1,2\n3,\n", "line 3: b is missing"),
        ("a,b\n1,2\n3,nan\n", "line 3: b is missing"),
        ("a,b\n1,2\n3,high\n", "line 3: b is 'high', not a number"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("time,a\n3,2\n2,2\n1,2\n", "time goes from 3 to 2: it does not grow"),
        ("date,a\n01/02/24,2\n02/02/24,2\n", "line 2: date is '01/02/24', not a time"),
        ("a,b\n" + "1,2\n" * 99, "no column changes"),
        ("a,b\n" + "1,2\n3,1e200\n" * 99, r"b of r\.csv is 1e\+200 at step 2"),
        ("a,b\n1,2\n2,1\n1,2\n", "leaves no window of 2 steps and its future of 1, together 3 steps,"),
    ],
)
def test_unusable_files_are_errors_that_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        forecast_data(tmp_path / "r.csv")


def test_equal_recordings_are_in_one_split_or_reported_as_leakage(tmp_path: Path) -> None:
    for k in range(4):
        write(tmp_path / "data" / f"{k}.txt", recording(1000 * (k % 3), 100))
        write(tmp_path / "given" / ("test" if k == 3 else "train") / f"{k}.txt", recording(1000 * (k % 3), 100))
    data = forecast_data(tmp_path / "data", window=4, horizon=2)
    assert {f.kind for f in data.findings} >= {"copies"}
    assert not steps_of(data, "train", "windows") & steps_of(data, "test", "windows")
    given = forecast_data(tmp_path / "given", window=4, horizon=2)
    assert any(f.kind == "leakage" and "test/3.txt" in f.message for f in given.findings)


def test_arrays_of_recordings_end_at_their_length_or_padding(tmp_path: Path) -> None:
    x = np.stack([recording(1000 * k, 30) for k in range(6)])
    x[1, 20:] = np.nan
    np.savez(tmp_path / "padded.npz", x=x)
    np.savez(tmp_path / "lengths.npz", x=np.nan_to_num(x), lengths=np.array([30, 20, 30, 30, 30, 30]))
    padded, with_lengths = (forecast_data(tmp_path / n, window=4, horizon=2) for n in ("padded.npz", "lengths.npz"))
    assert len(padded.source) == 5 * 25 + 15
    assert torch.equal(padded.truth[...], with_lengths.truth[...])
    x[2, 5, 1] = np.nan
    np.savez(tmp_path / "hole.npz", x=x)
    with pytest.raises(DataError, match="recording 2 holds NaN or infinity at step 6"):
        forecast_data(tmp_path / "hole.npz")


def test_options_of_other_data_are_usage_errors(tmp_path: Path) -> None:
    write(path := tmp_path / "a.csv", recording(0, 100), ["x", "y"])
    for options in ({"impute": "median"}, {"modality": "image"}, {"format": "table"}):
        with pytest.raises(UsageError):
            forecast_data(path, **options)  # type: ignore[arg-type]
    np.save(tmp_path / "a.npy", recording(0, 100))
    with pytest.raises(UsageError, match="--target x does not apply"):
        dataset(tmp_path / "a.npy", options=OpenOptions(target=("x",), horizon=3))
    with pytest.raises(UsageError, match="built in"):
        dataset("moons", options=OpenOptions(horizon=3))


def test_one_recording_is_cut_into_the_usual_fractions_the_training_part_first(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_text("a,b\n" + "".join(f"{k % 17},{k % 5}\n" for k in range(400)))
    data = dataset(path, options=OpenOptions(window=6, horizon=3))
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    assert int(train.max()) < int(val.min()) <= int(val.max()) < int(test.min())
    total = len(train) + len(val) + len(test)
    assert len(train) / total == pytest.approx(0.7, abs=0.03)
    assert len(val) / total == pytest.approx(0.15, abs=0.03)
