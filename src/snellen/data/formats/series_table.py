"""Time series in a table: columns to forecast, other inputs, columns known in advance, series by an id, equal steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, UsageError, counted, short_repr, suggest_name
from snellen.core.input_files import open_regular
from snellen.core.spec import Column, TimeSteps
from snellen.data.formats import FUTURE, OpenOptions
from snellen.data.formats.series_steps import (
    SeriesRows,
    StepReport,
    equal_steps,
    in_time_order,
    resampled,
    without_gaps,
)
from snellen.data.formats.series_times import StepLength, is_compact_date, is_date, parse_times
from snellen.data.formats.table_columns import MAX_CATEGORIES, TableProblems, parse_cells, parse_numbers
from snellen.data.formats.table_sequences import by_value
from snellen.data.formats.table_text import MISSING, SUFFIXES, TableText, is_number

TIME_NAMES = frozenset({"time", "timestamp", "date", "datetime", "seconds", "time_s", "time_ms", "month", "day", "ds"})
_NUMERIC_TIMES = TIME_NAMES - {"month", "day"}  # names of columns of numbers that are times
_UNIT = re.compile(r"\s*[\[(]([^\])]{1,12})[\])]\s*$")
_SNIFFED = 16 << 10  # bytes in which a date is looked for


@dataclass(frozen=True, kw_only=True)
class SeriesColumns:
    """Columns of a table of time series.

    Args:
        id, time: columns of the id and of the times; "" without.
        targets, others, known: columns to forecast, inputs that are not forecast, inputs known in advance.
    """

    id: str
    time: str
    targets: tuple[Column, ...]
    others: tuple[Column, ...] = ()
    known: tuple[Column, ...] = ()

    @property
    def inputs(self) -> tuple[Column, ...]:
        """All columns of the input, in the order of its features."""
        return (*self.targets, *self.others, *self.known)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features: of a column of categories one for each."""
        return tuple(
            name
            for column in self.inputs
            for name in (
                [column.name] if column.categories is None else [f"{column.name}={c}" for c in column.categories]
            )
        )

    @property
    def unit(self) -> str:
        """Unit of times that are numbers, from the name of their column."""
        match = _UNIT.search(self.time)
        return match[1] if match else ""


def is_series_table(path: Path, options: OpenOptions) -> bool:
    """Whether a path is read as a table of time series: one table of which columns are named or that holds dates."""
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        return False
    is_named = options.target not in ((), (FUTURE,)) or options.inputs or options.sequence_id or options.time
    if is_named or any(value is not None for flag, value in options.of_series.items() if flag != "season"):
        return True
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return True
    try:
        with open_regular(path) as file:
            lines = file.read(_SNIFFED).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        return False
    head, first = ([cell.strip(' "') for cell in re.split("[,;\t]", line)] for line in [*lines, "", ""][:2])
    compact = (is_compact_date(cell) and name.lower() in TIME_NAMES for name, cell in zip(head, first, strict=False))
    return any(map(is_date, first)) or any(compact)


def choose_columns(table: TableText, options: OpenOptions) -> SeriesColumns:
    """The columns as the options name them; all other columns of numbers are forecast, or with --target are inputs.

    Raises:
        UsageError: a column that does not exist, or that is named twice. DataError: text where numbers are forecast.
    """
    id, time = options.sequence_id or "", options.time or _time_column(table, options)
    targets = () if options.target == (FUTURE,) else options.target
    roles: dict[str, str] = {}
    named = {"sequence-id": [id], "time": [time], "target": targets, "known": options.known, "inputs": options.inputs}
    for flag, names in named.items():
        for name in filter(None, names):
            if name not in table.names:
                raise UsageError(f"--{flag}: no column is called {name!r}", suggest_name(name, list(table.names)))
            if name in roles:
                raise UsageError(f"{name!r} is named by --{roles[name]} and by --{flag}", "Name it once.")
            roles[name] = flag
    rest = [name for name in table.names if name not in roles]
    cells = {name: parse_cells(table.column(name)) for name in rest}
    text = [name for name in rest if cells[name].values is None]
    if not targets and text:
        name = text[0]
        distinct = len(set(table.column(name)))
        raise DataError(
            f"{table.where}: the column {name!r} holds text, as {short_repr(table.column(name)[0])} in line "
            f"{table.lines[0]} ({distinct:,} different cells)",
            f"Name the columns to forecast with --target; if {name!r} tells several series apart, --sequence-id {name}."
            if id == ""
            else f"Name the columns to forecast with --target, as --target {_first_number(rest, text)}.",
        )
    chosen = list(targets) or rest
    others = list(options.inputs) or ([name for name in rest if name not in chosen] if targets else [])
    if not chosen:
        raise DataError(f"{table.where} has no column of numbers to forecast", "Add one, or name it with --target.")
    return SeriesColumns(
        id=id,
        time=time,
        targets=tuple(Column(name=name) for name in chosen),
        others=tuple(_input_column(table, name) for name in others),
        known=tuple(_input_column(table, name) for name in options.known),
    )


def _first_number(names: Sequence[str], text: Sequence[str]) -> str:
    return next((name for name in names if name not in text), "COLUMN")


def _time_column(table: TableText, options: OpenOptions) -> str:
    """The column of times: the first whose first cell is a date, else the first of numbers with such a name; or ""."""
    named = {options.sequence_id, *options.target, *options.known, *options.inputs}
    rest = [name for name in table.names if name not in named]
    for name in rest:
        if is_date(table.column(name)[0]):
            return name
    for name in rest:
        base, first = _UNIT.sub("", name).strip().lower(), table.column(name)[0]
        if (base in TIME_NAMES and is_compact_date(first)) or (base in _NUMERIC_TIMES and is_number(first)):
            return name
    return ""


def _input_column(table: TableText, name: str) -> Column:
    """A column of numbers, or of at most 64 categories. Raises DataError."""
    cells = parse_cells(table.column(name))
    if cells.values is not None:
        return Column(name=name)
    categories = sorted({cell for cell in table.column(name) if cell.lower() not in MISSING})
    if len(categories) > MAX_CATEGORIES:
        raise DataError(
            f"{table.where}: the column {name!r} holds text of {len(categories):,} different values, of which at most "
            f"{MAX_CATEGORIES} are read as categories",
            "Remove the column, or name the input columns with --inputs; an id of series with --sequence-id.",
        )
    return Column(name=name, categories=tuple(categories))


def encode(table: TableText, columns: SeriesColumns) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float64 features of the rows, NaN where a cell is missing, and (D,) whether each is of a category.

    Raises:
        DataError: cells that are no finite numbers, and categories that the columns do not have.
    """
    problems, blocks, held = TableProblems(table), [], []
    for column in columns.inputs:
        text = table.column(column.name)
        if column.categories is None:
            cells = parse_numbers(text)
            assert cells.values is not None
            if cells.bad:
                problems.cells(column.name, cells.bad, "{} is not a finite number", "Correct the cells.")
            blocks.append(cells.values[:, None])
            held.append(False)
            continue
        code_of = {category: k for k, category in enumerate(column.categories)}
        codes = np.array([code_of.get(cell, -1) for cell in text])
        missing = np.array([cell.lower() in MISSING and cell not in code_of for cell in text])
        unknown = np.nonzero((codes < 0) & ~missing)[0].tolist()
        if unknown:
            shown = ", ".join(column.categories[:8])
            problems.cells(column.name, unknown, "{} was not in the training data", f"In {column.name!r}: {shown}.")
        block = np.zeros((len(text), len(column.categories)))
        block[np.arange(len(text)), codes] = 1
        block[missing] = np.nan
        blocks.append(block)
        held += [True] * block.shape[1]
    problems.finish()
    return np.concatenate(blocks, 1), np.array(held)


def by_series(table: TableText, columns: SeriesColumns, values: np.ndarray) -> list[SeriesRows]:
    """The rows of each series, in the order of the table.

    Raises:
        DataError: a missing id, a time that is none.
    """
    lines = np.asarray(table.lines)
    times = parse_times(table.column(columns.time), table.where, columns.time, table.lines) if columns.time else None
    if not columns.id:
        return [SeriesRows(name="", values=values, lines=lines, times=times)]
    ids = table.column(columns.id)
    absent = next((k for k, id in enumerate(ids) if id.lower() in MISSING), None)
    if absent is not None:
        raise DataError(
            f"{table.where}, line {table.lines[absent]}: {columns.id}, the id of the series, is missing",
            "Fill the cell.",
        )
    members: dict[str, list[int]] = {}
    first_of: dict[str | Decimal, str] = {}
    for row, id in enumerate(ids):  # numbers by their value: 3 and 3.0 are one id
        members.setdefault(first_of.setdefault(by_value(id), id), []).append(row)
    whole = SeriesRows(name="", values=values, lines=lines, times=times)
    parts = ((id, whole.take(np.array(rows))) for id, rows in members.items())
    return [
        SeriesRows(name=f"{columns.id} {id}", values=part.values, lines=part.lines, times=part.times)
        for id, part in parts
    ]


def read_steps(
    table: TableText,
    columns: SeriesColumns,
    time_steps: TimeSteps,
    stored: tuple[float, str] | None,
    report: StepReport,
) -> tuple[list[SeriesRows], np.ndarray, StepLength | None]:
    """Series with one row for each step, NaN where a value is missing; (D,) features of categories; the step.

    Args:
        stored: duration of a step of the training data and its unit; None: it is found.
    Raises:
        DataError, UsageError: see `encode`, `by_series`, `series_steps.resampled` and `series_steps.equal_steps`.
    """
    values, held = encode(table, columns)
    series = in_time_order(by_series(table, columns, values), report)
    if time_steps.resample:
        if not columns.time:
            raise UsageError("--resample needs times, and the table has no column of them", "Name it with --time.")
        assert series[0].times is not None
        series = resampled(series, time_steps.resample, series[0].times.offset is not None, report)
    series, step = equal_steps(series, stored, time_steps, table.where, columns.time, columns.unit)
    return series, held, step


def read_series_table(
    table: TableText, options: OpenOptions, time_steps: TimeSteps
) -> tuple[list[SeriesRows], SeriesColumns, StepLength | None, StepReport]:
    """The series of a table for training, without gaps."""
    columns, report = choose_columns(table, options), StepReport()
    series, held, step = read_steps(table, columns, time_steps, None, report)
    targets = len(columns.targets)
    series = without_gaps(series, time_steps, targets, held, columns.features, table.where, report)
    return series, columns, step, report


def description(series: Sequence[SeriesRows], columns: SeriesColumns) -> str:
    """What the columns were recognised as."""
    text = "one time series" if len(series) == 1 else f"{counted(len(series), 'time series', 'time series')}"
    if columns.id:
        text += f" by the column {columns.id!r}"
    parts = [f"forecast: {_listed(columns.targets)}"]
    if columns.others:
        parts.append(f"inputs that are not forecast: {_listed(columns.others)}")
    if columns.known:
        parts.append(f"known in advance: {_listed(columns.known)}")
    return f"{text} ({'; '.join(parts)})"


def _listed(columns: Sequence[Column]) -> str:
    names = ", ".join(column.name for column in columns[:6])
    return names + (f" and {len(columns) - 6} more" if len(columns) > 6 else "")
