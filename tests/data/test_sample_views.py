"""Values of single rows in reports are those of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import snellen
from snellen.core.views import Table
from snellen.data.formats import OpenOptions
from snellen.modalities.sample_views import MAX_COLUMNS, row_cells, samples_view

ROWS = [  # a category before a number, a missing number, decimals of a large number
    ("red", "7028.77", "", "left", "1"),
    ("green", "987867.2", "0.25", "right", "0"),
    ("blue", "-3", "4", "left", "1"),
]


def write(path: Path) -> Path:
    lines = ["colour,size,gap,side,y", *(",".join(row) for row in ROWS * 10)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_cells_are_those_of_the_file_and_imputed_ones_are_missing(tmp_path: Path) -> None:
    data = snellen.dataset(write(tmp_path / "t.csv"), options=OpenOptions(target=("y",), impute="median"))
    for id in range(30):
        expected = [cell or "missing" for cell in ROWS[id % 3][:-1]]
        assert row_cells(data, id, data.spec.input.columns) == expected
    view = samples_view(data, [4, 0], ["a", "b"], "Worst", "First.")
    assert isinstance(view, Table)
    assert view.columns == ["sample", "error", "colour", "size", "gap", "side"]
    assert view.rows[1][1:] == ["b", "red", "7028.77", "missing", "left"]


def test_positions_of_pixels_have_as_few_digits_as_their_dtype_needs(tmp_path: Path) -> None:
    Image.fromarray(np.arange(96 * 10, dtype=np.uint8).reshape(10, 96)).save(tmp_path / "photo.png")
    data = snellen.dataset(tmp_path / "photo.png", options=OpenOptions(format="image-surface"))
    assert row_cells(data, 50, data.spec.input.columns) == ["0.5260417", "0.05"]


def test_a_wide_table_shows_its_first_columns_and_says_so(tmp_path: Path) -> None:
    names = [f"c{k}" for k in range(40)]
    lines = [
        ",".join([*names, "y"]),
        *(",".join([str(100 * row + k) for k in range(40)] + [str(row % 2)]) for row in range(40)),
    ]
    (tmp_path / "w.csv").write_text("\n".join(lines) + "\n")
    data = snellen.dataset(tmp_path / "w.csv")
    view = samples_view(data, [3], ["a"], "Worst", "First.")
    assert isinstance(view, Table)
    assert view.columns[2:] == names[:MAX_COLUMNS]
    assert view.rows[0][2:] == [str(300 + k) for k in range(MAX_COLUMNS)]
    assert f"the first {MAX_COLUMNS} of 40" in view.caption
