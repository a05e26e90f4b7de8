"""Table columns: parsing into numbers or categories, errors in cells, encoding as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Column
from snellen.data.formats.table_text import MISSING, MISSING_NUMBERS, TableText, is_number

MAX_CATEGORIES = 64
EXACT = 2.0**53  # from here on, float64 does not hold every integer
ABSENT = "missing"  # the category of an empty cell under --impute


@dataclass(frozen=True, kw_only=True)
class ColumnCells:
    """The parsed cells of a column.

    Args:
        values: (N,) float64 with NaN where a cell is missing or bad; None for a column of strings.
        missing: (N,) bool.
        bad: indices of cells in a numeric column that are not finite numbers.
    """

    values: np.ndarray | None
    missing: np.ndarray
    bad: tuple[int, ...] = ()


@dataclass
class TableProblems:
    """Errors of a table, collected to be reported together."""

    table: TableText
    messages: list[str] = field(default_factory=list)
    remedies: dict[str, None] = field(default_factory=dict)
    count: int = 0

    def cells(self, name: str, indices: Sequence[int], message: str, remedy: str) -> None:
        """Add an error for cells of a column. message: may hold {} for the cell's text."""
        cells = self.table.column(name)
        for index in indices[:5]:
            shown = repr(cells[index][:40])
            self.messages.append(f"line {self.table.lines[index]}, column {name!r}: {message.format(shown)}")
        self.count += len(indices)
        self.remedies[remedy] = None

    def missing(self, name: str, indices: Sequence[int], remedy: str, what: str = "missing") -> None:
        """Add an error for missing cells of a column, with the word that stands for them."""
        cells = self.table.column(name)
        for index in indices[:5]:
            word = f" ({cells[index]!r})" if cells[index] else ""
            self.messages.append(f"line {self.table.lines[index]}, column {name!r}: {what}{word}")
        self.count += len(indices)
        self.remedies[remedy] = None

    def column(self, message: str, remedy: str) -> None:
        self.messages.append(message)
        self.count += 1
        self.remedies[remedy] = None

    def finish(self) -> None:
        """Raise DataError if there are errors."""
        if not self.count:
            return
        more = f" (and {self.count - 5} more)" if self.count > 5 else ""
        raise DataError(f"{self.table.where}: {'; '.join(self.messages[:5])}{more}", " ".join(list(self.remedies)[:3]))


def parse_cells(cells: Sequence[str]) -> ColumnCells:
    """Parse a column as numbers if more than half of its non-missing cells are numbers, else as strings."""
    try:
        values = np.array(cells, dtype=np.float64)
        if bool(np.isfinite(values).all()) and "_" not in "".join(cells):
            return ColumnCells(values=values, missing=np.zeros(len(cells), dtype=bool))
    except ValueError:
        pass
    # Strings repeat, so each distinct cell is parsed once.
    distinct, inverse = np.unique(np.array(cells, dtype=object), return_inverse=True)
    is_missing = np.array([cell.lower() in MISSING_NUMBERS for cell in distinct])
    is_numeric = np.array([is_number(cell) for cell in distinct]) & ~is_missing
    missing = is_missing[inverse]
    if 2 * int(is_numeric[inverse].sum()) <= int((~missing).sum()):
        return ColumnCells(values=None, missing=np.array([cell.lower() in MISSING for cell in distinct])[inverse])
    parsed = np.array([float(cell) if ok else np.nan for cell, ok in zip(distinct, is_numeric, strict=True)])
    values = np.where(np.isfinite(parsed), parsed, np.nan)[inverse]
    return ColumnCells(values=values, missing=missing, bad=tuple(np.nonzero(np.isnan(values) & ~missing)[0].tolist()))


def equal_as_floats(text: Sequence[str], cells: ColumnCells) -> tuple[str, str] | None:
    """Two cells of different numbers that are equal as float64, as identifiers beyond 2⁵³ may be; None without such."""
    if cells.values is None:
        return None
    first: dict[float, str] = {}
    for k in np.flatnonzero(np.abs(cells.values) >= EXACT).tolist():
        other = first.setdefault(float(cells.values[k]), text[k])
        if other != text[k] and Decimal(other) != Decimal(text[k]):
            return other, text[k]
    return None


def add_bad_cells(name: str, cells: ColumnCells, problems: TableProblems, impute: bool = False) -> None:
    """Report the bad cells of a column and, without imputation, the missing ones."""
    if cells.bad:
        problems.cells(name, cells.bad, "{} is not a finite number", "Fix the cells, or remove the column.")
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing and not impute:
        problems.missing(name, missing, "Fill the cells, or train with --impute median.")


def fit_column(name: str, text: Sequence[str], cells: ColumnCells, rows: np.ndarray | None, impute: bool) -> Column:
    """The column as the model reads it.

    Args:
        rows: the training rows, if splits are given; the median is computed over them.
    """
    if cells.values is None:
        cells_by_name = {cell for cell, is_missing in zip(text, cells.missing, strict=True) if not is_missing}
        extra = (ABSENT,) if impute and bool(cells.missing.any()) and ABSENT not in cells_by_name else ()
        return Column(name=name, categories=(*sorted(cells_by_name), *extra))
    if not impute:
        return Column(name=name)
    training_values = cells.values if rows is None else cells.values[rows]
    training_values = training_values[~np.isnan(training_values)]
    training_values = training_values if len(training_values) else cells.values[~np.isnan(cells.values)]
    return Column(
        name=name, fill=2 * float(np.median(training_values / 2))
    )  # halved, because the sum of two middle values may overflow


def encode_columns(
    table: TableText, columns: Sequence[Column], cells_by_name: Mapping[str, ColumnCells] | None = None
) -> Tensor:
    """Encode rows as vectors: one number for each numeric column, one-hot categories.

    Args:
        known: parsed cells by column name, if available.
    Returns:
        (N, D) float32 where that is exact, else float64.
    Raises:
        DataError: cells that cannot be encoded (the first five by row and column).
    """
    problems = TableProblems(table)
    blocks: list[np.ndarray] = []
    for column in columns:
        text = table.column(column.name)
        if column.categories is not None:
            blocks.append(_one_hot(column, text, problems))
            continue
        cells = cells_by_name[column.name] if cells_by_name else parse_numbers(text)
        add_bad_cells(column.name, cells, problems, impute=column.fill is not None)
        assert cells.values is not None
        values = cells.values if column.fill is None else np.where(cells.missing, column.fill, cells.values)
        blocks.append(values[:, None])
    problems.finish()
    return to_exact(np.concatenate(blocks, 1))


def parse_numbers(text: Sequence[str]) -> ColumnCells:
    """Like `parse_cells`, for a column that must be numeric."""
    cells = parse_cells(text)
    if cells.values is not None:
        return cells
    values = np.array([float(cell) if is_number(cell) else np.nan for cell in text])
    values[~np.isfinite(values)] = np.nan
    return ColumnCells(
        values=values, missing=cells.missing, bad=tuple(np.nonzero(np.isnan(values) & ~cells.missing)[0].tolist())
    )


def _one_hot(column: Column, text: Sequence[str], problems: TableProblems) -> np.ndarray:
    assert column.categories is not None
    code_of = {category: k for k, category in enumerate(column.categories)}
    for mark in MISSING if ABSENT in code_of else ():
        code_of.setdefault(mark, code_of[ABSENT])
    codes = [code_of.get(cell, -1) for cell in text]
    if ABSENT in code_of:
        codes = [code_of.get(cell.lower(), -1) if k < 0 else k for cell, k in zip(text, codes, strict=True)]
    index = np.array(codes)
    invalid = np.nonzero(index < 0)[0].tolist()
    missing = [k for k in invalid if text[k].lower() in MISSING]
    if missing:
        problems.missing(column.name, missing, "Fill the cells, or train with --impute median.")
    unknown = [k for k in invalid if text[k].lower() not in MISSING]
    if unknown:
        shown = ", ".join(column.categories[:8]) + (" ..." if len(column.categories) > 8 else "")
        problems.cells(column.name, unknown, "{} was not in the training data", f"Known in {column.name!r}: {shown}.")
    block = np.zeros((len(text), len(column.categories)))
    block[np.arange(len(text)), index] = (
        1  # invalid rows set the last entry, but `problems.finish` raises before the block is used
    )
    return block


def to_exact(values: np.ndarray) -> Tensor:
    """A tensor in float32 where that is exact, else float64."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return torch.from_numpy(single if np.array_equal(single, values) else np.ascontiguousarray(values))
