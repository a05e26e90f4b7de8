"""Runs from before version 2 of the rounding of splits: they keep their splits, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import snellen
from snellen.core.errors import DataError
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.sample_identity import FILE
from snellen.model_selection.cross_validation import cross_validate
from snellen.model_selection.ladder import ladder


def as_former(path: Path) -> None:
    """Remove the version of the rounding from a JSON file, as if it had been written before there was one."""
    plain = json.loads(path.read_text())
    plain.pop("rounding", None)
    if isinstance(plain.get("data"), dict) and "options" in plain["data"]:
        plain["data"]["options"].pop("rounding", None)
    path.write_text(json.dumps(plain))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = "".join(f"{k * 0.5},{k % 3},{'abc'[k % 3]}\n" for k in range(90))
    (tmp_path / "rows.csv").write_text(f"u,v,y\n{rows}")
    return tmp_path / "rows.csv"


def former_run(data: str, folder: Path) -> Path:
    """A run of version 1 of the rounding, without a list of its samples."""
    opened = dataset(data, options=OpenOptions(rounding=1))
    snellen.train(opened, model="baseline", out=folder)
    as_former(folder / "run.json")
    (folder / FILE).unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize("name", ["digits", "table"])
def test_a_former_run_keeps_its_splits(name: str, table: Path, tmp_path: Path) -> None:
    data = str(table) if name == "table" else name
    former, present = dataset(data, options=OpenOptions(rounding=1)), dataset(data)
    assert not torch.equal(former.splits["test"], present.splits["test"])
    run = snellen.load(former_run(data, tmp_path / "run"))
    assert torch.equal(run.data.splits["test"], former.splits["test"])
    stored = run.metrics["accuracy"].value
    assert run.evaluate().get("accuracy").value == stored
    assert run.evaluate(dataset(data)).get("accuracy").value == stored  # the same data, opened anew


def test_a_present_run_records_its_rounding(table: Path, tmp_path: Path) -> None:
    run = snellen.train(str(table), model="baseline", out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["options"]["rounding"] == 2
    (tmp_path / "run" / FILE).unlink()
    assert torch.equal(snellen.load(run.folder).data.splits["test"], dataset(table).splits["test"])


def test_a_former_ladder_is_not_continued_with_other_splits(tmp_path: Path) -> None:
    options = {"learners": ["baseline"], "budget": 60.0, "out": tmp_path / "ladder"}
    ladder("digits", **options)  # type: ignore[arg-type]
    ladder("digits", **options)  # type: ignore[arg-type]
    as_former(tmp_path / "ladder" / "ladder.json")
    with pytest.raises(DataError, match="rounded the splits of digits differently"):
        ladder("digits", **options)  # type: ignore[arg-type]


def test_former_folds_are_not_continued(tmp_path: Path) -> None:
    cross_validate("digits", model="baseline", folds=2, out=tmp_path / "folds")
    as_former(tmp_path / "folds" / "folds.json")
    with pytest.raises(DataError, match="rounded the splits of digits differently"):
        cross_validate("digits", model="baseline", folds=2, out=tmp_path / "folds")
