"""Columns of a table as numbers: which are numbers, which are categories, and what is wrong with their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Column
from snellen.data.formats.table_text import MISSING, Grid, is_number

MOST_CATEGORIES = 64
ABSENT = "missing"  # the category of an empty cell, where --impute asks for it


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What a column turns out to hold.

    Args:
        values: (N,) float64 with NaN where a cell is missing or bad; None for a column of text.
        missing: (N,) bool.
        bad: places of cells that are no finite number in a column of numbers.
    """

    values: np.ndarray | None
    missing: np.ndarray
    bad: tuple[int, ...] = ()


@dataclass
class Problems:
    """Collects what is wrong with a table, so that all of it is said at once."""

    grid: Grid
    found: list[str] = field(default_factory=list)
    remedies: dict[str, None] = field(default_factory=dict)
    count: int = 0

    def cells(self, name: str, places: Sequence[int], what: str, remedy: str) -> None:
        """Reports cells of a column; `what` may hold {} for the cell's text."""
        cells = self.grid.column(name)
        for place in places[:5]:
            shown = repr(cells[place][:40])
            self.found.append(f"row {self.grid.lines[place]}, column {name!r}: {what.format(shown)}")
        self.count += len(places)
        self.remedies[remedy] = None

    def column(self, what: str, remedy: str) -> None:
        self.found.append(what)
        self.count += 1
        self.remedies[remedy] = None

    def finish(self) -> None:
        """Raises DataError when anything was found."""
        if not self.count:
            return
        more = f" (and {self.count - 5} more)" if self.count > 5 else ""
        raise DataError(f"{self.grid.where}: {'; '.join(self.found[:5])}{more}", " ".join(list(self.remedies)[:3]))


def look(cells: Sequence[str]) -> Cells:
    """Decides between numbers and text. A column is one of numbers when more than half of its cells are."""
    try:
        values = np.array(cells, dtype=np.float64)
        if bool(np.isfinite(values).all()) and "_" not in "".join(cells):
            return Cells(values=values, missing=np.zeros(len(cells), dtype=bool))
    except ValueError:
        pass
    # Text repeats, so each different cell is looked at once.
    unique, inverse = np.unique(np.array(cells, dtype=object), return_inverse=True)
    gone = np.array([cell.lower() in MISSING for cell in unique])
    number = np.array([is_number(cell) for cell in unique]) & ~gone
    missing = gone[inverse]
    if 2 * int(number[inverse].sum()) <= int((~missing).sum()):
        return Cells(values=None, missing=missing)
    parsed = np.array([float(cell) if ok else np.nan for cell, ok in zip(unique, number, strict=True)])
    values = np.where(np.isfinite(parsed), parsed, np.nan)[inverse]
    return Cells(values=values, missing=missing, bad=tuple(np.nonzero(np.isnan(values) & ~missing)[0].tolist()))


def report(name: str, cells: Cells, problems: Problems, impute: bool = False) -> None:
    """Adds the bad cells of a column and, where nothing is to stand in for them, the missing ones."""
    if cells.bad:
        problems.cells(name, cells.bad, "{} is no finite number", "Mend the cells, or take out the column.")
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing and not impute:
        problems.cells(name, missing, "missing", "Fill the cells, or train with --impute median.")


def learn(name: str, text: Sequence[str], cells: Cells, rows: np.ndarray | None, impute: bool) -> Column:
    """The column as the model will see it.

    Args:
        rows: the rows of training, where they are given; the median is theirs.
    """
    if cells.values is None:
        known = {cell for cell, gone in zip(text, cells.missing, strict=True) if not gone}
        extra = (ABSENT,) if impute and bool(cells.missing.any()) and ABSENT not in known else ()
        return Column(name=name, categories=(*sorted(known), *extra))
    if not impute:
        return Column(name=name)
    seen = cells.values if rows is None else cells.values[rows]
    seen = seen[~np.isnan(seen)]
    seen = seen if len(seen) else cells.values[~np.isnan(cells.values)]
    return Column(name=name, fill=2 * float(np.median(seen / 2)))  # halved: the sum of two middles may overflow


def encode(grid: Grid, columns: Sequence[Column], known: Mapping[str, Cells] | None = None) -> Tensor:
    """Rows as the model sees them: one number a column, or one 0/1 entry a category.

    Args:
        known: what the columns hold, where that was looked at before.
    Returns:
        (N, D) float32 where that holds every value exactly, else float64.
    Raises:
        DataError: naming every cell that cannot be encoded (the first five by row and column).
    """
    problems = Problems(grid)
    blocks: list[np.ndarray] = []
    for column in columns:
        text = grid.column(column.name)
        if column.categories is not None:
            blocks.append(_one_hot(column, text, problems))
            continue
        cells = known[column.name] if known else look_for_numbers(text)
        report(column.name, cells, problems, impute=column.fill is not None)
        assert cells.values is not None
        values = cells.values if column.fill is None else np.where(cells.missing, column.fill, cells.values)
        blocks.append(values[:, None])
    problems.finish()
    return as_exact(np.concatenate(blocks, 1))


def look_for_numbers(text: Sequence[str]) -> Cells:
    """Like `look`, for a column that must be one of numbers."""
    cells = look(text)
    if cells.values is not None:
        return cells
    values = np.array([float(cell) if is_number(cell) else np.nan for cell in text])
    values[~np.isfinite(values)] = np.nan
    return Cells(
        values=values, missing=cells.missing, bad=tuple(np.nonzero(np.isnan(values) & ~cells.missing)[0].tolist())
    )


def _one_hot(column: Column, text: Sequence[str], problems: Problems) -> np.ndarray:
    assert column.categories is not None
    place = {category: k for k, category in enumerate(column.categories)}
    for mark in MISSING if ABSENT in place else ():
        place.setdefault(mark, place[ABSENT])
    found = [place.get(cell, -1) for cell in text]
    if ABSENT in place:
        found = [place.get(cell.lower(), -1) if k < 0 else k for cell, k in zip(text, found, strict=True)]
    index = np.array(found)
    wrong = np.nonzero(index < 0)[0].tolist()
    missing = [k for k in wrong if text[k].lower() in MISSING]
    if missing:
        problems.cells(column.name, missing, "missing", "Fill the cells, or train with --impute median.")
    unknown = [k for k in wrong if text[k].lower() not in MISSING]
    if unknown:
        shown = ", ".join(column.categories[:8]) + (" ..." if len(column.categories) > 8 else "")
        problems.cells(column.name, unknown, "{} was not in the training data", f"Known in {column.name!r}: {shown}.")
    block = np.zeros((len(text), len(column.categories)))
    block[np.arange(len(text)), index] = 1  # wrong rows set the last entry, but never leave this module
    return block


def as_exact(values: np.ndarray) -> Tensor:
    """float32 where it holds every value exactly, else float64."""
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return torch.from_numpy(small if np.array_equal(small, values) else np.ascontiguousarray(values))
