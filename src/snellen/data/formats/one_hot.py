"""One-hot tables: a column of zeros and ones for each class, as Roboflow exports them with the images of each split.

Roboflow's tables are called `_classes.csv`: one beside the images, or one in each of train, valid and test. Their rows
have `filename` and one column per class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError
from snellen.data.dataset import SPLITS
from snellen.data.formats.file_names import split_index
from snellen.data.formats.object_datasets import list_names
from snellen.data.formats.table_targets import TARGET_NAMES, TargetColumns, split_unit
from snellen.data.formats.table_text import TableText, read_table

CLASSES_FILE = "_classes.csv"
CLASS = "class"  # the column that replaces those of the classes
FILE_NAME = "filename"
_VALUES = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
_MIN_COLUMNS = 3  # of zeros and ones that are a target together; two may be properties


def classes_files(path: Path) -> list[Path]:
    """Roboflow's tables at a path: the file, that of the folder, or those of its split folders."""
    if path.is_file():
        return [path] if path.name == CLASSES_FILE else []
    if (path / CLASSES_FILE).is_file():
        return [path / CLASSES_FILE]
    folders = sorted(name for name in list_names(path) if split_index(name) is not None)
    return [path / name / CLASSES_FILE for name in folders if (path / name / CLASSES_FILE).is_file()]


def read_classes_files(root: Path, files: Sequence[Path]) -> TableText:
    """Roboflow's tables as one: names of files relative to the root, the classes, and the split of each file.

    Raises:
        DataError: a table cannot be read, or its first column is not `filename`.
    """
    tables = [read_table(file, (FILE_NAME,)) for file in files]
    for table in tables:
        if table.names[0] != FILE_NAME or len(table.names) < 2:
            raise DataError(
                f"{table.where} has the columns {', '.join(map(repr, table.names[:5]))}",
                f"A table {CLASSES_FILE} has the column {FILE_NAME} first, and one for each class.",
            )
    if files[0].parent == root:
        return tables[0]
    classes = list(dict.fromkeys(name for table in tables for name in table.names[1:]))
    prefixes = [f"{file.parent.relative_to(root).as_posix()}/" for file in files]
    splits = [SPLITS[split_index(file.parent.name) or 0] for file in files]
    absent = {table.where: ["0"] * len(table) for table in tables}
    return TableText(
        where=str(root),
        names=(FILE_NAME, *classes, "split"),
        columns=(
            tuple(p + cell for p, table in zip(prefixes, tables, strict=True) for cell in table.columns[0]),
            *(
                tuple(
                    cell
                    for table in tables
                    for cell in (table.column(name) if name in table.names else absent[table.where])
                )
                for name in classes
            ),
            tuple(split for split, table in zip(splits, tables, strict=True) for _ in table.lines),
        ),
        lines=[line for table in tables for line in table.lines],
    )


def with_class_column(
    table: TableText, image: str, reserved: Sequence[str], is_one_hot: bool
) -> tuple[TableText, TargetColumns | None]:
    """The table of images with one column of classes in place of its one-hot columns; unchanged if it has none.

    Args:
        image: the column of image names. reserved: columns that are no target.
        is_one_hot: all other columns are of classes, whatever their names.
    Raises:
        DataError: rows with several classes or none.
    """
    names = [name for name in table.names if name != image and name not in reserved]
    codes = [[_VALUES.get(cell.lower(), -1) for cell in table.column(name)] for name in names]
    one_hot = np.array(codes, np.int64).reshape(len(names), -1)  # (K, N)
    if not is_one_hot and (
        len(names) < 2
        or bool((one_hot < 0).any())
        or any(split_unit(name)[0].lower() in TARGET_NAMES for name in names)
    ):
        return table, None
    if bool((one_hot < 0).any()):
        column, row = np.argwhere(one_hot < 0)[0].tolist()
        raise DataError(
            f"{_place(table, image, row)}: column {names[column]!r} is {table.column(names[column])[row][:40]!r}",
            "Write 1 in the column of the class, and 0 in the others.",
        )
    wrong = np.flatnonzero(one_hot.sum(0) != 1).tolist()
    if wrong and not is_one_hot and len(names) < _MIN_COLUMNS:
        return table, None
    if wrong:
        row = wrong[0]
        ones = [names[k] for k in np.flatnonzero(one_hot[:, row]).tolist()]
        held = f"{len(ones)} of {len(names)} classes are 1 ({', '.join(ones[:5])})"
        held = held if ones else f"none of {len(names)} classes is 1"
        more = f" ({len(wrong):,} of {len(table):,} rows have several classes or none)" if len(wrong) > 1 else ""
        raise DataError(
            f"{_place(table, image, row)}: {held}, and not exactly one{more}",
            "Correct the rows. For several labels an image, write one column of them, as cat;dog; for one column only, "
            f"give --target {names[0]!r}.",
        )
    remaining = [name for name in table.names if name not in names]
    columns = (*(table.column(name) for name in remaining), tuple(names[k] for k in one_hot.argmax(0).tolist()))
    chosen = TargetColumns((CLASS,), ("classes",), f"from {len(names)} one-hot columns")
    return dataclasses.replace(table, names=(*remaining, CLASS), columns=columns), chosen


def _place(table: TableText, image: str, row: int) -> str:
    name = table.column(image)[row]
    folder, _, file = name.rpartition("/")
    if Path(table.where).is_dir():  # several tables, one in each split folder
        return f"{Path(table.where) / folder / CLASSES_FILE}, line {table.lines[row]} ({file})"
    return f"{table.where}, line {table.lines[row]} ({name})"
