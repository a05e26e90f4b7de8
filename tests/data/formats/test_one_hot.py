"""One-hot tables of images: Roboflow's `_classes.csv`, and others with a column of zeros and ones for each class."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Classes
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.table import open_raw, recognises
from snellen.data.open_dataset import dataset

CLASSES = ("cat", "dog", "wild cat")
HEADER = "filename, cat, dog, wild cat\n"  # with the spaces of Roboflow's export


def roboflow(root: Path, **counts: int) -> Path:
    """Roboflow's layout: for each split a folder with its images and `_classes.csv`; classes in turn."""
    for split, count in counts.items():
        rows = ""
        for k in range(count):
            save(root / split / f"{split}{k}.jpg", scene(len(split) * 100 + k))
            rows += f"{split}{k}.jpg, {', '.join(str(int(j == k % 3)) for j in range(3))}\n"
        (root / split / "_classes.csv").write_text(HEADER + rows)
    (root / "README.roboflow.txt").write_text("exported")
    return root


def class_of(raw: RawDataset) -> dict[str, str]:
    assert isinstance(raw.target, Classes)
    assert raw.truth is not None
    return {raw.source.name(k): raw.target.names[int(label)] for k, label in enumerate(raw.truth)}


def test_the_splits_of_roboflow_are_read_together(tmp_path: Path) -> None:
    root = roboflow(tmp_path, train=12, valid=6, test=3)
    assert recognises(root)
    raw = open_raw(root, OpenOptions())
    assert raw.target == Classes(names=CLASSES)
    expected = {
        f"{split}/{split}{k}.jpg": CLASSES[k % 3]
        for split, count in {"train": 12, "valid": 6, "test": 3}.items()
        for k in range(count)
    }
    assert class_of(raw) == expected
    assert raw.given_splits is not None
    splits = {raw.source.name(k): int(split) for k, split in enumerate(raw.given_splits)}
    assert splits == {name: ("train", "valid", "test").index(name.partition("/")[0]) for name in expected}
    assert raw.files == {"found": 25, "used": 24, "set aside": 0, "no data": 1}
    assert "target 'class' (from 3 one-hot columns) as 3 classes; splits by column 'split'" in raw.recognised_as
    assert "--target" not in raw.recognised_as
    opened = dataset(root)
    assert opened.spec.sizes == {"train": 12, "val": 6, "test": 3}


def test_one_folder_and_one_file_are_read_alone(tmp_path: Path) -> None:
    folder = roboflow(tmp_path, train=12) / "train"
    for path in (folder, folder / "_classes.csv"):
        raw = open_raw(path, OpenOptions())
        assert raw.given_splits is None
        assert class_of(raw) == {f"train{k}.jpg": CLASSES[k % 3] for k in range(12)}


def test_a_class_that_one_table_lacks_and_classes_named_by_digits_are_read(tmp_path: Path) -> None:
    root = roboflow(tmp_path, train=6, valid=3)
    for split, header, count in (("train", "filename, 0, 1, 2\n", 6), ("valid", "filename, 0, 2\n", 2)):
        width = header.count(",")
        rows = "".join(
            f"{split}{k}.jpg,{','.join(str(int(j == k % width)) for j in range(width))}\n" for k in range(count)
        )
        (root / split / "_classes.csv").write_text(header + rows)
    assert class_of(open_raw(root, OpenOptions())) == {
        **{f"train/train{k}.jpg": str(k % 3) for k in range(6)},
        "valid/valid0.jpg": "0",
        "valid/valid1.jpg": "2",
    }


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ("train1.jpg,1,0,1", r"2 of 3 classes are 1 \(cat, wild cat\)"),
        ("train1.jpg,0,0,0", "none of 3 classes is 1"),
        ("train1.jpg,1,1,1", r"3 of 3 classes are 1 \(cat, dog, wild cat\)"),
    ],
)
def test_a_row_with_several_classes_or_none_is_named(tmp_path: Path, row: str, held: str) -> None:
    root = roboflow(tmp_path, train=4, valid=3)
    table = root / "train" / "_classes.csv"
    lines = table.read_text().splitlines()
    lines[2] = row
    table.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"train/_classes\.csv, line 3 \(train1\.jpg\): {held}") as error:
        dataset(root)
    assert "several labels" in error.value.remedy
    lines[4] = "train3.jpg,0,0,0"
    table.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"line 3 .*2 of 7 rows"):
        dataset(root)


def test_a_cell_that_is_neither_zero_nor_one_is_named(tmp_path: Path) -> None:
    root = roboflow(tmp_path, train=4)
    table = root / "train" / "_classes.csv"
    table.write_text(table.read_text().replace("train2.jpg, 0, 0, 1", "train2.jpg, 0, 0, 2"))
    with pytest.raises(DataError, match=r"train/_classes\.csv, line 4 \(train2\.jpg\): column 'wild cat' is '2'"):
        dataset(root)


def test_a_table_without_the_column_of_file_names_is_refused(tmp_path: Path) -> None:
    root = roboflow(tmp_path, train=4)
    (root / "train" / "_classes.csv").write_text("name,cat,dog\ntrain0.jpg,0,1\n")
    with pytest.raises(DataError, match=r"_classes\.csv has the columns 'name', 'cat', 'dog'"):
        dataset(root)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = roboflow(tmp_path, train=4, test=2)
    (root / "test" / "test1.jpg").unlink()
    with pytest.raises(DataError, match=r"'test/test1\.jpg' does not exist"):
        dataset(root)


@pytest.mark.parametrize(("zero", "one"), [("0", "1"), ("0.0", "1.0"), ("False", "True")])
def test_one_hot_columns_of_any_table_of_images_are_classes(tmp_path: Path, zero: str, one: str) -> None:
    """Read by its last column only, this would be a dataset of two classes, 0 and 1."""
    rows = ""
    for k in range(9):
        save(tmp_path / f"a{k}.png", scene(k))
        rows += f"a{k},{','.join((zero, one)[j == k % 3] for j in range(3))}\n"
    table = tmp_path / "truth.csv"
    table.write_text("image,MEL,NV,BCC\n" + rows)
    raw = open_raw(table, OpenOptions())
    assert class_of(raw) == {f"a{k}.png": ("MEL", "NV", "BCC")[k % 3] for k in range(9)}
    assert open_raw(table, OpenOptions(target=("NV",))).target != raw.target  # one column on request
    table.write_text("image,MEL,NV,BCC\n" + rows.replace(f"a4,{zero},{one},{zero}", f"a4,{one},{one},{zero}"))
    with pytest.raises(DataError, match=r"truth\.csv, line 6 \(a4\): 2 of 3 classes are 1 \(MEL, NV\)"):
        open_raw(table, OpenOptions())


@pytest.mark.parametrize(
    ("header", "cells", "target"),
    [
        ("image,day,indoors", "1,1 0,1 1,0 0,0", "indoors"),  # two properties
        ("image,day,indoors,label", "1,0,1 0,1,0 1,0,0 0,1,1", "label"),  # a column with a target name
        ("image,day,night,age", "1,0,31 0,1,42 1,0,53 0,1,64", "age"),
    ],
)
def test_other_columns_of_zeros_and_ones_keep_their_meaning(
    tmp_path: Path, header: str, cells: str, target: str
) -> None:
    rows = [f"{k}.png,{values}" for k, values in enumerate(cells.split() * 4)]
    for k in range(len(rows)):
        save(tmp_path / f"{k}.png", scene(k))
    table = tmp_path / "rows.csv"
    table.write_text("\n".join([header, *rows]))
    assert f"target {target!r}" in open_raw(table, OpenOptions()).recognised_as
