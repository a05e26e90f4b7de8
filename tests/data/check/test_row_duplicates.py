"""Equal samples of tables and arrays: cases table-duplicate-rows and table-conflicting-duplicates, and their kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snellen
from snellen.api import RunOptions
from snellen.core.errors import DataError
from snellen.data.dataset import Dataset, Labelled

QUICK = RunOptions(device="cpu", report=False)


def kinds(data: Dataset[Labelled]) -> dict[str, str]:
    return {finding.kind: finding.severity for finding in data.findings}


def splits_of_equal_rows(data: Dataset[Labelled]) -> list[set[str]]:
    """The splits that hold each distinct row."""
    rows = data.samples("train").source.read(np.arange(len(data.source)), data.preprocessing).flatten(1).numpy()
    _, inverse = np.unique(rows, axis=0, return_inverse=True)
    found: list[set[str]] = [set() for _ in range(inverse.max() + 1)]
    for name, ids in data.splits.items():
        for id in ids.tolist():
            found[int(inverse.reshape(-1)[id])].add(name)
    return found


def repeated(count: int = 30, times: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Rows of noise with random labels, each several times, shuffled."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count, 3)), rng.integers(0, 2, count)
    order = rng.permutation(np.repeat(np.arange(count), times))
    return x[order], y[order]


def write(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    if path.suffix == ".csv":
        lines = [",".join([*(repr(float(v)) for v in row), "ab"[label]]) for row, label in zip(x, y, strict=True)]
        path.write_text("p,q,r,label\n" + "\n".join(lines) + "\n")
    elif path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = x, y
    return path


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".h5"])
def test_copies_of_a_row_stay_in_one_split(suffix: str, tmp_path: Path) -> None:
    data = snellen.dataset(write(tmp_path / f"rows{suffix}", *repeated()))
    assert kinds(data)["copies"] == "warning"
    (finding,) = (finding for finding in data.findings if finding.kind == "copies")
    assert finding.count == 150
    assert all(len(splits) == 1 for splits in splits_of_equal_rows(data))
    metric = snellen.train(data, "knn", k=1, out=tmp_path / "run", options=QUICK).metrics["accuracy"]
    assert metric.value is not None
    assert metric.value < 0.85  # 100 % where copies of test rows are in the training split


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_rows_under_two_labels_are_said(suffix: str, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(40, 3))
    data = snellen.dataset(write(tmp_path / f"rows{suffix}", np.concatenate([x, x]), np.repeat([0, 1], 40)))
    (finding,) = (finding for finding in data.findings if finding.kind == "two-labels")
    assert "(40)" in finding.message
    assert finding.count == 80


def test_rows_that_coincide_by_chance_are_no_copies(tmp_path: Path) -> None:
    """Three columns of few whole numbers: 200 rows cannot all differ, and must not be forced into few groups."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, size=(200, 3)).astype(float)
    data = snellen.dataset(write(tmp_path / "rows.csv", x, rng.integers(0, 2, 200)))
    assert not {"copies", "two-labels"} & set(kinds(data))
    assert [len(ids) for ids in data.splits.values()] == pytest.approx([140, 30, 30], abs=2)


def test_whole_numbers_that_repeat_too_often_are_copies(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = np.repeat(rng.integers(0, 1000, size=(30, 3)).astype(float), 5, axis=0)
    data = snellen.dataset(write(tmp_path / "rows.csv", x, np.repeat(rng.integers(0, 2, 30), 5)))
    assert kinds(data)["copies"] == "warning"


def test_copies_across_given_splits_are_leakage_and_nothing_contradicts_it(tmp_path: Path) -> None:
    """B9: copies in given splits do not "stay in one split"."""
    x, y = repeated(60, 1)
    lines = [",".join([*(repr(float(v)) for v in row), "ab"[label]]) for row, label in zip(x, y, strict=True)]
    rows = [f"{line},train" for line in lines] + [f"{line},test" for line in lines[:10]]
    (tmp_path / "rows.csv").write_text("p,q,r,label,split\n" + "\n".join(rows) + "\n")
    data = snellen.dataset(tmp_path / "rows.csv")
    assert "leakage" in kinds(data)
    assert not any("stay in one split" in finding.text for finding in data.findings)


@pytest.mark.parametrize(
    ("rows", "empty"), [(["1,2,a", "2,3,b", "3,4,b"], "val or the test"), (["1,2,1.5", "2,3,2.5"], "test")]
)
def test_an_empty_split_is_refused_before_training(rows: list[str], empty: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("p,q,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=rf"none is in the {empty}|of which none"):
        snellen.train(tmp_path / "rows.csv", "baseline", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_categories_and_doses_that_coincide_by_chance_are_no_copies(tmp_path: Path) -> None:
    """Categories are one column each, however many numbers encode them; a dose of three levels is a level too."""
    rng = np.random.default_rng(4)
    rows = [f"{a},{b},{'pq'[c]}" for a, b, c in rng.integers(0, (10, 10, 2), size=(1000, 3))]
    (tmp_path / "codes.csv").write_text(
        "p,q,label\n" + "\n".join(f"k{row.replace(',', ',m', 1)}" for row in rows) + "\n"
    )
    assert not {"copies", "two-labels"} & set(kinds(snellen.dataset(tmp_path / "codes.csv")))
    doses = [f"{s},{d},{rng.normal():.3f}" for s in ("VC", "OJ") for d in (0.5, 1, 2) for _ in range(10)]
    (tmp_path / "tooth.csv").write_text("supp,dose,len\n" + "\n".join(doses) + "\n")
    data = snellen.dataset(tmp_path / "tooth.csv")
    assert "copies" not in kinds(data)
    assert [len(ids) for ids in data.splits.values()] == pytest.approx([42, 9, 9], abs=1)
