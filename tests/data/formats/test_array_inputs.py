"""Several inputs in an NPZ file: sequences, clips and rows by the names of their arrays, NaN where they are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.several_tensors import SeveralTensors
from snellen.core.spec import Preprocessing
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

COUNT = 48
OPTIONS = OpenOptions(inputs=("track", "depth", "age"))


def arrays() -> dict[str, Any]:
    """Tracks that end after 3 to 6 steps, clips of which samples 4 and 8 lack one, ages."""
    rng = np.random.default_rng(0)
    track = rng.normal(size=(COUNT, 6, 2)).astype(np.float32)
    for k in range(COUNT):
        track[k, 3 + k % 4 :] = np.nan
    track[8] = np.nan
    depth = rng.normal(size=(COUNT, 6, 8, 8)).astype(np.float32)
    depth[4] = np.nan
    return {"track": track, "depth": depth, "age": rng.normal(size=COUNT), "y": np.arange(COUNT) % 2}


def save(path: Path, **changes: Any) -> Path:
    np.savez(path, **{name: values for name, values in {**arrays(), **changes}.items() if values is not None})
    return path


def test_inputs_are_those_of_the_arrays_and_missing_ones_are_nan(tmp_path: Path) -> None:
    data = dataset(save(tmp_path / "a.npz"), options=OPTIONS)
    assert {name: (one.modality, one.shape, one.optional) for name, one in data.spec.inputs.items()} == {
        "track": ("sequence", (None, 2), True),
        "depth": ("clip", (6, 1, 8, 8), True),
        "age": ("vector", (1,), False),
    }
    x: Any = data.source.read(np.arange(COUNT), Preprocessing())
    assert isinstance(x, SeveralTensors)
    for name, values in arrays().items():
        if name != "y":
            read = x.tensors[name].numpy()
            np.testing.assert_array_equal(read, values.reshape(read.shape))
    assert "end after 3 to 6 steps, missing in 1" in data.recognised_as


def test_splits_by_name_and_one_input_alone_without_the_samples_that_lack_it(tmp_path: Path) -> None:
    whole = arrays()
    parts = {"train": slice(0, 36), "test": slice(36, COUNT)}
    np.savez(
        tmp_path / "s.npz", **{f"{name}_{s}": values[at] for name, values in whole.items() for s, at in parts.items()}
    )
    data = dataset(tmp_path / "s.npz", options=OPTIONS)
    assert data.splits["test"].tolist() == list(range(36, COUNT))
    alone = dataset(save(tmp_path / "a.npz"), options=OpenOptions(inputs=("depth",)))
    assert list(alone.spec.inputs) == ["depth"]
    assert len(alone) == COUNT - 1
    assert alone.name(4) == "sample 5"
    assert "1 samples without depth are left out" in [finding.message for finding in alone.findings]


def changed(name: str, at: Any, value: float) -> dict[str, Any]:
    values = arrays()[name]
    values[at] = value
    return {name: values}


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"inputs": ("track", "face")}, "no array called 'face'"),
        ({}, {"inputs": ("track", "track")}, "twice"),
        ({}, {"inputs": ("track", "y")}, "'y' is the target|no array with a target name"),
        ({}, {"inputs": ("track:cloud", "age")}, "'cloud' is no modality"),
        ({}, {"inputs": ("track:clip", "age")}, "--modality clip needs inputs"),
        ({}, {"modality": "sequence"}, "is for one input"),
        (changed("track", (3, 1, 0), np.nan), {}, "'track' holds infinity, or NaN within a sample, in 1 sample: 3"),
        (changed("track", (3, 1), np.nan), {}, "NaN within a sample, in 1 sample: 3"),
        (changed("depth", (5, 2, 1, 1), np.inf), {}, "'depth' holds infinity"),
        (changed("depth", ..., np.nan), {}, "is NaN in all samples"),
        ({"age": np.zeros(7)}, {}, "their lengths differ"),
        ({"age": np.array(["old"] * COUNT)}, {}, "not numbers"),
        ({"y": None}, {}, "no array with a target name"),
    ],
)
def test_what_cannot_be_read_ends_with_its_place(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    path = save(tmp_path / "a.npz", **changes)
    with pytest.raises((DataError, UsageError), match=words):
        dataset(path, options=OpenOptions(**{"inputs": OPTIONS.inputs, **options}))


def test_equal_samples_stay_in_one_split(tmp_path: Path) -> None:
    whole = arrays()
    for values in whole.values():
        values[20] = values[30]
    data = dataset(save(tmp_path / "a.npz", **whole), options=OPTIONS)
    (split,) = [name for name, ids in data.splits.items() if 20 in ids.tolist()]
    assert 30 in data.splits[split].tolist()


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_a_run_predicts_arrays_and_answers_without_an_array_that_samples_lacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fusion: str
) -> None:
    path = save(tmp_path / "a.npz")
    run = snellen.train(
        dataset(path, options=OPTIONS),
        out=tmp_path / "run",
        options=RunOptions(threads=1, report=False),
        epochs=1,
        fusion=fusion,
    )
    assert main(["predict", str(run.folder), str(path)]) == 0
    predicted = [json.loads(line)["probabilities"]["0"] for line in capsys.readouterr().out.splitlines()]
    direct = run.predict_batch(run.data.source.read(np.arange(COUNT), Preprocessing()))
    np.testing.assert_allclose(predicted, [one["probabilities"]["0"] for one in direct], atol=1e-5)
    save(tmp_path / "b.npz", depth=None)
    assert main(["predict", str(run.folder), str(tmp_path / "b.npz")]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == COUNT
    assert captured.err == ""


def test_predict_names_what_is_wrong_with_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = snellen.train(
        dataset(save(tmp_path / "a.npz"), options=OPTIONS),
        "baseline",
        out=tmp_path / "run",
        options=RunOptions(threads=1, report=False),
    )
    for changes, words in (
        ({"age": None}, "has no age, which no sample lacked in training"),
        ({"depth": np.zeros((COUNT, 5, 8, 8))}, "the model reads (N, 6, 1, 8, 8)"),
        ({"age": np.zeros(5)}, "samples of different numbers"),
        ({"track": None, "depth": None, "age": None}, "has no array of inputs"),
        ({"depth": np.full((COUNT, 6, 8, 8), np.inf)}, "holds infinity"),
    ):
        assert main(["predict", str(run.folder), str(save(tmp_path / "b.npz", **changes))]) == 3  # type: ignore[arg-type]
        assert words in capsys.readouterr().err
    (tmp_path / "rows.csv").write_text("age\n3\n")
    assert main(["predict", str(run.folder), str(tmp_path / "rows.csv")]) == 3
    assert "is a table; the input track is an array of each sample" in capsys.readouterr().err


def test_torch_reads_no_more_than_the_named_arrays(tmp_path: Path) -> None:
    data = dataset(save(tmp_path / "a.npz"), options=OpenOptions(inputs=("age", "depth")))
    batch: Any = data.samples("train").take(torch.arange(3)).x
    assert list(batch.tensors) == ["age", "depth"]
