"""New rows of a table, for a model that was trained on one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, suggest_name
from snellen.core.spec import Column, Spec
from snellen.data.cache import LineCallback, ignore_line
from snellen.data.check.number_range import LARGEST
from snellen.data.formats.file_names import is_image_name
from snellen.data.formats.number_text import number_text_finding
from snellen.data.formats.table_columns import TableProblems, encode_columns, parse_numbers
from snellen.data.formats.table_text import NotText, TableText, read_table


def read_rows(path: Path | TextIO, spec: Spec, announce: LineCallback = ignore_line) -> tuple[list[str], Tensor]:
    """Read new rows for a model that was trained on a table, in the order of the file.

    Args:
        path: a CSV or JSONL file, or an open text file; the target may be absent, other columns are ignored.
        spec: of the training data.
        announce: receives a line about each column whose numbers could be read in two ways.
    Returns:
        names of the rows, and (N, D) values encoded as in training.
    Raises:
        DataError: a missing column, a bad or missing cell, a category unseen in training.
    """
    columns = spec.input.columns
    if not columns:
        raise DataError(
            f"The model reads {spec.modality}, not tables", "Give it the kind of data that it was trained on."
        )
    needed = [column.name for column in columns]
    try:
        table = read_table(path, needed)
    except NotText as error:
        fractions = " (fractions of width and height, 0 to 1)" if spec.input.grid else ""
        names = ", ".join(map(repr, needed[:8])) + (f" and {len(needed) - 8} more" if len(needed) > 8 else "")
        where = getattr(path, "name", "") if not isinstance(path, Path) else str(path)
        what = f"{where} is an image" if is_image_name(where) else error.cause
        raise DataError(
            f"{what}: the model reads a table of the columns {names}{fractions}",
            "Give such a table, as UTF-8 CSV with a header row, or JSONL.",
        ) from error
    if not table.header and len(table.names) == len(needed) and all(name.startswith("column ") for name in needed):
        table = dataclasses.replace(table, names=tuple(needed))  # columns are counted without the absent target
    absent_columns = [name for name in needed if name not in table.names]
    if absent_columns:
        raise DataError(
            f"{table.where} has no column {', '.join(map(repr, absent_columns[:5]))}"
            + (f" and {len(absent_columns) - 5} more" if len(absent_columns) > 5 else ""),
            suggest_name(absent_columns[0], list(table.names)),
        )
    values = encode_rows(table, spec, announce)
    return [f"row {k}" for k in range(1, len(values) + 1)], values


def encode_rows(table: TableText, spec: Spec, announce: LineCallback = ignore_line) -> Tensor:
    """(N, D) values of the rows of a table that has all columns of the input, encoded as in training.

    Raises:
        DataError: a bad or missing cell, a category unseen in training.
    """
    columns = spec.input.columns
    for column in columns:
        if column.name in table.number_text and table.number_text[column.name].other:
            announce(f"{table.where}: {number_text_finding(column.name, table.number_text[column.name]).text}")
    values = encode_columns(table, columns)
    _check_range(table, columns, spec)
    return values.to(getattr(torch, spec.input.dtype))


def _check_range(table: TableText, columns: Sequence[Column], spec: Spec) -> None:
    """Raise DataError naming each cell that is too large to compute with, as `check_number_range` in training."""
    problems = TableProblems(table)
    limit = min(LARGEST, torch.finfo(getattr(torch, spec.input.dtype)).max)
    for column in columns:
        if column.categories is None:
            values = parse_numbers(table.column(column.name)).values
            assert values is not None
            too_large = np.nonzero(np.abs(values) > limit)[0].tolist()  # NaN, a cell to impute, is not
            if too_large:
                message = f"{{}} exceeds {limit:.3g}, too large to compute with in {spec.input.dtype}"
                problems.cells(column.name, too_large, message, "Correct the cells: compare their unit with training.")
    problems.finish()
