"""Integers beyond 2^53, of which several are equal as float64: never taken for one in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snellen.core.errors import DataError
from snellen.core.spec import Classes
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

BASE = 2**60
CAUSE = f"{BASE} and {BASE + 1}, which are equal as 64-bit floats"


def write(folder: Path, header: str, rows: list[tuple[object, ...]]) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    return path


def test_a_column_of_identifiers_that_rounding_makes_equal_is_not_used_with_a_warning(tmp_path: Path) -> None:
    """Read as an input, it would make the rows of each pair duplicates, under two labels."""
    data = dataset(write(tmp_path, "id,a,y", [(BASE + k, k // 2, "pq"[k % 3 == 0]) for k in range(40)]))
    assert [column.name for column in data.spec.input.columns] == ["a"]
    (finding,) = [f for f in data.findings if f.kind == "ignored-column"]
    assert finding.message == f"Column 'id' is not used: {BASE} and {BASE + 1} are equal as 64-bit floats."
    assert finding.severity == "warning"


def test_long_integers_that_stay_distinct_are_inputs(tmp_path: Path) -> None:
    """As times in nanoseconds do."""
    data = dataset(write(tmp_path, "time,y", [(BASE + 1000 * k, k * k / 7) for k in range(40)]))
    assert [column.name for column in data.spec.input.columns] == ["time"]
    assert len(np.unique(data.source.values.numpy())) == 40  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["", ":classes", ":numbers"])
@pytest.mark.parametrize("distinct", [2, 30])
def test_a_target_that_rounding_makes_equal_is_refused(tmp_path: Path, kind: str, distinct: int) -> None:
    path = write(tmp_path, "a,y", [(k, BASE + k % distinct) for k in range(60)])
    with pytest.raises(DataError, match=CAUSE):
        dataset(path, options=OpenOptions(target=(f"y{kind}",)))


def test_class_names_of_long_integers_are_exact(tmp_path: Path) -> None:
    names = (str(BASE + 1), str(2 * BASE + 1))
    data = dataset(write(tmp_path, "a,y", [(k, names[k % 2]) for k in range(40)]))
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == names


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_arrays_of_long_integers_are_exact_classes_or_refused(tmp_path: Path, dtype: type) -> None:
    path, x = tmp_path / "a.npz", np.arange(80.0).reshape(40, 2)
    y = (BASE + np.arange(40) % 2).astype(dtype)
    np.savez(path, x=x, y=y)
    data = dataset(path)
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == (str(BASE), str(BASE + 1))
    assert data.truth.tolist() == [0, 1] * 20
    with pytest.raises(DataError, match=CAUSE):
        dataset(path, options=OpenOptions(target=("y:numbers",)))
    np.savez(path, x=np.stack([np.arange(40), BASE + np.arange(40)], 1).astype(dtype), y=x[:, 0])
    with pytest.raises(DataError, match=f"{BASE} and {BASE + 1} in column 2, which are equal"):
        dataset(path)
    np.savez(path, x=np.stack([np.arange(40), BASE + 1000 * np.arange(40)], 1).astype(dtype), y=x[:, 0])
    assert len(dataset(path)) == 40


def test_samples_of_an_hdf5_file_that_differ_beyond_rounding_are_no_duplicates(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    x = np.stack([np.zeros(40), np.zeros(40)], 1).astype(np.int64) + BASE
    x[:, 1] += np.arange(40)
    x[39] = x[38]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, np.arange(40) // 2 % 2
    (finding,) = [f for f in dataset(tmp_path / "a.h5").findings if f.kind == "copies"]
    assert finding.message == "Exact duplicates (1): sample 38 = sample 39"
