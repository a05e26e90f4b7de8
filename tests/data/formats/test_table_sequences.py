"""Tables whose rows are the steps of sequences."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Preprocessing
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

OPTIONS = OpenOptions(sequence_id="id", time="time", target=("label",))
HEADER = "id,time,y,kind,label"


def steps(count: int = 40) -> list[str]:
    """Shuffled rows of sequences of 4 to 9 steps, rising or falling; "time" is irregular."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(count):
        length, rising = int(rng.integers(4, 10)), k % 2
        times = np.cumsum(rng.random(length) + 0.1)
        y = np.arange(length) * (1 if rising else -1) + 0.1 * rng.normal(size=length)
        label = "up" if rising else "down"
        values = zip(times, y, strict=True)
        rows += [f"s{k},{t:.3f},{v:.3f},{'ab'[i % 2]},{label}" for i, (t, v) in enumerate(values)]
    rng.shuffle(rows)
    return rows


def write(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_rows_of_one_id_are_a_sequence_in_the_order_of_the_times(tmp_path: Path) -> None:
    rows = steps()
    data = dataset(write(tmp_path / "steps.csv", rows), options=OPTIONS)
    (one,) = data.spec.inputs.values()
    assert (one.modality, one.shape, len(data)) == ("sequence", (None, 3), 40)
    assert "40 sequences of 4 to 9 steps, by column 'id' in the order of column 'time'" in data.recognised_as
    for k in range(40):
        own = [row.split(",") for row in rows if row.startswith(f"{data.name(k)[3:]},")]
        expected = sorted((float(t), float(y), kind, label) for _, t, y, kind, label in own)
        x = data.source.read(np.array([k]), Preprocessing())[0]
        x = x[~x.isnan().any(1)]
        assert x[:, 0].tolist() == pytest.approx([y for _, y, _, _ in expected])
        assert x[:, 1].tolist() == [float(kind == "a") for _, _, kind, _ in expected]
        assert ("down", "up")[int(data.truth[k])] == expected[0][3]


def test_dates_order_the_steps(tmp_path: Path) -> None:
    rows = ["a,2024-02-01,3,x", "a,2023-12-31,1,x", "a,2024-01-15,2,x", "b,2024-01-02,5,y", "b,2024-01-01,4,y"]
    rows += [f"c{k},2024-01-01,{k},{'xy'[k % 2]}" for k in range(8)]
    data = dataset(write(tmp_path / "d.csv", rows, "id,time,v,label"), options=OPTIONS)
    x = data.source.read(np.arange(2), Preprocessing())[:, :, 0]
    assert x[0].tolist() == [1, 2, 3]
    assert x[1, :2].tolist() == [4, 5]


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (["s1,1,1,a,up"], {}, "in the lines"),
        ([",1,1,a,up"], {}, "the id of the sequence is missing"),
        (["s1,soon,1,a,up"], {}, "line 269, column 'time': 'soon' is neither"),
        (["s1,99,1,a,down"], {}, "'label' is 'up' in line"),
        ([], {"target": ("y",)}, "'y' is "),
        ([], {"group": "kind"}, "'kind' is "),
    ],
)
def test_steps_that_fit_no_sequence_are_errors_with_their_lines(
    tmp_path: Path, rows: list[str], options: dict[str, object], words: str
) -> None:
    added = ["s1,1,0,b,up", *rows] if rows == ["s1,1,1,a,up"] else rows
    path = write(tmp_path / "steps.csv", [*steps(), *added])
    given = {"sequence_id": "id", "time": "time", "target": ("label",), **options}
    with pytest.raises(DataError) as error:
        dataset(path, options=OpenOptions(**given))  # type: ignore[arg-type]
    assert words in error.value.cause


def test_the_columns_must_exist_and_belong_together(tmp_path: Path) -> None:
    path = write(tmp_path / "steps.csv", steps())
    with pytest.raises(UsageError, match="has no column 'who'"):
        dataset(path, options=OpenOptions(sequence_id="who"))
    with pytest.raises(UsageError, match="--sequence-id is missing"):
        dataset(path, options=OpenOptions(time="time"))
    with pytest.raises(UsageError, match="has no columns"):
        dataset("digits", options=OpenOptions(sequence_id="id"))


def test_a_run_predicts_tables_of_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = steps()
    path = write(tmp_path / "steps.csv", rows)
    data = dataset(path, options=OPTIONS)
    run = snellen.train(data, out=tmp_path / "run", options=RunOptions(threads=1, report=False), epochs=2)
    assert main(["predict", str(run.folder), str(path)]) == 0
    predicted = {(one := json.loads(line))["input"]: one for line in capsys.readouterr().out.splitlines()}
    direct = run.predict_batch(data.source.read(np.arange(40), Preprocessing()))
    assert len(predicted) == 40
    for k in range(40):
        assert predicted[data.name(k)]["probabilities"] == pytest.approx(direct[k]["probabilities"], abs=1e-5)
    lacking = write(tmp_path / "lacking.csv", ["s1,1,2"], "id,time,y")
    assert main(["predict", str(run.folder), str(lacking)]) == 3
    assert "has no column 'kind'" in capsys.readouterr().err
    assert torch.equal(dataset(path, options=OPTIONS).splits["test"], data.splits["test"])


def test_the_order_of_dates_does_not_depend_on_the_time_zone_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = ("01:30", "02:30", "03:00", "04:00")  # in Berlin, the clock skips the hour from 2 to 3 on this day
    rows = [f"s{k},2024-03-31T{hour},{i},{'xy'[k % 2]}" for k in range(12) for i, hour in enumerate(hours)]
    path = write(tmp_path / "d.csv", rows, "id,time,v,label")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        x = dataset(path, options=OPTIONS).source.read(np.array([0]), Preprocessing())
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert x[0, :, 0].tolist() == [0, 1, 2, 3]


def test_ids_are_compared_by_their_value(tmp_path: Path) -> None:
    rows = [f"{k if i % 2 else float(k)},{i},{i},{'xy'[k % 2]}" for k in range(12) for i in range(4)]
    data = dataset(write(tmp_path / "d.csv", rows, "id,time,v,label"), options=OPTIONS)
    assert len(data) == 12


def test_columns_of_tables_do_not_apply_to_recordings(tmp_path: Path) -> None:
    np.save(path := tmp_path / "d.npy", np.arange(180.0).reshape(90, 2))
    for options in ({"sequence_id": "id"}, {"time": "time"}, {"inputs": ("v",)}):
        with pytest.raises(UsageError, match="does not apply to these recordings"):
            dataset(path, options=OpenOptions(horizon=3, **options))  # type: ignore[arg-type]
