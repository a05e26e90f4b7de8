"""Sequences in files: one each in class folders, JSON lines, one in each row of a table; what is refused, and how."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError, SnellenError, UsageError
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.modalities import inputs

LENGTHS = {"slow": (5, 7, 6), "fast": (6, 4, 8)}


def recording(label: str, k: int) -> np.ndarray:
    rng = np.random.default_rng([len(label), ord(label[0]), k])
    return rng.normal(size=(LENGTHS[label][k % 3], 2)).round(3)


def as_text(values: np.ndarray, step: float = 0.5, header: str = "time,a,b") -> str:
    rows = [f"{step * k:g},{a},{b}" for k, (a, b) in enumerate(values)]
    return "\n".join([header, *rows]) + "\n"


def write_folder(root: Path) -> Path:
    for split, count in (("train", 6), ("test", 3)):
        for label in LENGTHS:
            for k in range(count):
                path = root / split / label / f"{split}_{k}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(as_text(recording(label, k + 10 * (split == "test"))))
    (root / "README.txt").write_text("Recordings.")
    return root


def test_class_folders_are_read_at_their_lengths(tmp_path: Path) -> None:
    data = dataset(write_folder(tmp_path / "moves"))
    assert data.spec.input.shape == (None, 2)
    assert [column.name for column in data.spec.input.columns] == ["a", "b"]
    assert data.spec.input.rate == 2
    assert data.spec.target is not None
    assert data.spec.target.names == ("fast", "slow")
    assert {name: len(ids) for name, ids in data.splits.items()}["test"] == 6
    assert "18 files of 4 to 8 steps and 2 features, a step of 0.5 (column 'time')" in data.recognised_as
    assert "--task forecast" in data.recognised_as
    for id in range(len(data.source)):
        _, label, name = data.name(id).split("/")
        k = int(name[:-4].split("_")[1]) + 10 * name.startswith("test")
        x = data.image(id)
        expected = recording(label, k)
        np.testing.assert_array_equal(x[: len(expected)].numpy(), expected)
        assert bool(x[len(expected) :].isnan().all())
        assert data.spec.target.names[int(data.truth[id])] == label
    forecast = dataset(tmp_path / "moves", options=OpenOptions(target=("future",), horizon=1, window=2))
    assert "recordings in text files" in forecast.recognised_as


def test_npy_files_and_groups_by_name(tmp_path: Path) -> None:
    for label in LENGTHS:
        (tmp_path / label).mkdir()
        for k in range(9):
            np.save(tmp_path / label / f"p{k % 5}_{k}.npy", recording(label, k))
    data = dataset(tmp_path, options=OpenOptions(group="{person}_*"))
    people = {name: {data.name(int(i)).split("/")[1][:2] for i in ids} for name, ids in data.splits.items()}
    assert not people["train"] & people["test"]
    assert not people["train"] & people["val"]


def drop_line(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:3], *lines[4:]])


@pytest.mark.parametrize(
    ("change", "cause", "remedy"),
    [
        (drop_line, "line 4: time goes from 0.5 to 1.5, a step of 1", "Interpolate"),
        (lambda _: as_text(recording("slow", 0), step=0.25), "a step of 0.25, .* has a step of 0.5", "same duration"),
        (lambda t: t.replace("time,a,b", "time,a,c"), "has the column 'c' where .* has 'b'", "same columns"),
        (
            lambda t: "\n".join(line.rpartition(",")[0] for line in t.splitlines()),
            "1 column of numbers",
            "same columns",
        ),
        (lambda t: t.replace("time,a,b", "when,a,b"), "has 3 columns of numbers", "same columns"),
        (lambda _: "", "is empty", "one row of numbers"),
        (lambda _: "time,a,b\n", "has a header but no rows", "one row of numbers"),
        (lambda t: t.replace("0.5,", "0.5,x"), "a is 'x.*', not a number", "Fill missing steps"),
        (lambda t: t.replace("0.5,", "0.5,1e300,", 1).replace("time,a,b", "time,a,b,c"), "cells", "one row of numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_named(change: object, cause: str, remedy: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "train/slow/train_0.csv"
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(
        DataError, match=rf"1 of 18 sequences cannot be used: train/slow/train_0.csv .*{cause}"
    ) as error:
        dataset(tmp_path)
    assert remedy in error.value.remedy
    assert "--quarantine" in error.value.remedy
    kept = dataset(tmp_path, options=OpenOptions(quarantine=True, allow_skipped=True))
    assert len(kept.source) == 17


def test_what_is_no_folder_of_sequences_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(UsageError, match="--target label does not apply"):
        dataset(tmp_path, options=OpenOptions(target=("label",)))
    named = OpenOptions(format="sequences")
    with pytest.raises(DataError, match=r"10 of 10|lie in no class folder"):
        dataset(tmp_path / "train" / "slow", options=named)
    (tmp_path / "train_5.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"1 of 19 sequences lie in no class folder, as train_5\.csv"):
        dataset(tmp_path, options=named)


def lines_of(count: int = 12) -> list[dict[str, object]]:
    return [
        {"x": recording(label, k).tolist(), "label": label, "person": f"p{k % 4}", "split": split}
        for split in ("train", "test")
        for label in LENGTHS
        for k in range(count)
    ]


def write_lines(path: Path, lines: list[object]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_json_lines_are_read_and_predicted(tmp_path: Path) -> None:
    lines = lines_of()
    data = dataset(write_lines(tmp_path / "moves.jsonl", [*lines]))
    assert "'x' as 48 sequences of 4 to 8 steps and 2 features; target 'label' as classes; splits by 'split'" in (
        data.recognised_as
    )
    assert len(data.splits["test"]) == 24
    for id, line in enumerate(lines):
        x = data.image(id)
        assert x[~x.isnan().any(1)].tolist() == line["x"]
    series = write_lines(tmp_path / "one.jsonl", [{"x": [1, 2.5, k], "y": k / 3} for k in range(30)])
    assert dataset(series).spec.input.shape == (3, 1)
    named = list(inputs([str(tmp_path / "moves.jsonl")], data.spec, data.preprocessing))
    names = [name for part, _ in named for name in part]
    assert names[:2] == [f"{tmp_path / 'moves.jsonl'}, line {k}" for k in (1, 2)]
    rows = [x for _, batch in named for x in batch]
    assert [row.tolist() for row in rows] == [line["x"] for line in lines]


FIRST = {"x": [[1, 2], [3, 4]], "label": "a"}


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ({"x": [[1, 2], [3]], "label": "b"}, "line 2: x: step 1 has 2 numbers, step 2 has 1"),
        ({"x": [[1, 2], 3], "label": "b"}, "line 2: x: step 1 has 2 numbers, step 2 has no list"),
        ({"x": [], "label": "b"}, r"line 2: x is \[\], not a list of steps"),
        ({"label": "b"}, "line 2: x is missing"),
        ({"x": [[1, True]], "label": "b"}, "line 2: x: step 1 is"),
        ({"x": [[1, None]], "label": "b"}, "line 2: x: step 1 is"),
        ({"x": [[1, [2]]], "label": "b"}, "line 2: x: step 1 is"),
        ('{"x": [[1, 1e999]], "label": "b"}', "line 2: x: step 1 is"),
        ('{"x": [[1, NaN]], "label": "b"}', "line 2: the JSON cannot be parsed: NaN"),
        ('{"x": [[1, 2]], "x": [[1, 2]], "label": "b"}', "line 2: the JSON cannot be parsed"),
        ("[[1, 2]]", "line 2 is no object"),
        ("x", "line 2: the JSON cannot be parsed"),
        ({"x": [[1]], "label": "b"}, "line 2 has 1 feature, line 1 has 2"),
        ({"x": [[1, 2]], "label": 3}, "'label' is 'a' in line 1 and 3 in line 2"),
        ({"x": [[1, 2]], "label": ["b"]}, "line 2: the target 'label' is"),
        ({"x": [[1, 2]]}, "line 2: the target 'label' is missing"),
    ],
)
def test_a_line_that_is_no_sequence_is_named(line: object, cause: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=cause) as error:
        dataset(write_lines(tmp_path / "odd.jsonl", [FIRST, line]))
    assert error.value.remedy


def test_options_that_do_not_fit_json_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moves.jsonl", [*lines_of()])
    for options, cause in (
        (OpenOptions(target=("nix",)), "has no key 'nix'"),
        (OpenOptions(group="nix"), "has no key 'nix', so it cannot be the group"),
        (OpenOptions(sequence_id="person"), "--sequence-id applies to tables"),
        (OpenOptions(row_steps=2), "--row-steps applies to tables"),
    ):
        with pytest.raises(UsageError, match=cause):
            dataset(path, options=options)
    bad = [{**FIRST, "split": "train"}, {**FIRST, "label": "b", "split": "some"}]
    with pytest.raises(DataError, match="line 2: 'some' is no split"):
        dataset(write_lines(tmp_path / "bad.jsonl", [*bad]))


def wide_table(path: Path, header: bool = True) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(60, 8)).round(3)
    text = ["label," + ",".join(f"v{k}" for k in range(8))] if header else []
    text += [f"{'ab'[k % 2]}," + ",".join(map(str, row)) for k, row in enumerate(values.tolist())]
    path.write_text("\n".join(text) + "\n")
    return values


def test_each_row_of_a_table_is_a_sequence(tmp_path: Path) -> None:
    values = wide_table(tmp_path / "wide.csv")
    options = OpenOptions(target=("label",), row_steps=4)
    data = dataset(tmp_path / "wide.csv", options=options)
    assert data.spec.input.shape == (4, 2)
    x = torch.stack([data.image(k) for k in range(60)]).double()
    np.testing.assert_allclose(x.numpy(), values.reshape(60, 4, 2), rtol=0, atol=1e-6)
    ((_, batch),) = inputs([str(tmp_path / "wide.csv")], data.spec, data.preprocessing)
    np.testing.assert_allclose(batch.double().numpy(), values.reshape(60, 4, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"row_steps": 3}, "8 columns of numbers are no multiple of --row-steps 3"),
        ({"row_steps": 1}, "--row-steps 1 is no number of steps"),
        ({"row_steps": 4, "target": ("v0",)}, "holds categories, --row-steps needs numbers"),
        ({"row_steps": 4, "sequence_id": "label"}, "--sequence-id and --row-steps exclude each other"),
    ],
)
def test_row_steps_that_do_not_fit(options: dict[str, object], cause: str, tmp_path: Path) -> None:
    wide_table(tmp_path / "wide.csv")
    with pytest.raises(SnellenError, match=cause):
        dataset(tmp_path / "wide.csv", options=OpenOptions(**{"target": ("label",), **options}))  # type: ignore[arg-type]
