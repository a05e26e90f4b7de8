"""Recordings in text files: one row of numbers for each step, with or without a header and a column of times."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, short_repr
from snellen.core.input_files import open_regular, read_text
from snellen.data.formats.table_text import MISSING, is_number

SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
JITTER = 0.1  # of the median step: times that differ by more are no equal steps
_TIME_NAMES = frozenset({"time", "timestamp", "date", "datetime", "seconds", "time_s", "time_ms"})
# Names of times and of counters, and of much else: they are one only if they grow in equal steps.
_COUNTER_NAMES = frozenset({"t", "frame", "index", "step", "row", "", "unnamed: 0"})
_UNIT = re.compile(r"\s*[\[(]([^\])]{1,12})[\])]\s*$")
_SNIFFED = 64 << 10  # characters in which the delimiter is looked for
_SAVE_AS = "Write one row of numbers for each step, separated by commas or spaces, all of the same number of columns."


@dataclass(frozen=True, kw_only=True)
class SeriesText:
    """A recording as read from text.

    Args:
        names: of the D features; "column 1" … without a header.
        values: (T, D) float64, finite.
        time: name of the column of times, which is no feature; "" without one.
        duration: of a step, in `unit` ("s" to "months" for dates, "" where unknown); None without times.
    """

    names: tuple[str, ...]
    values: np.ndarray
    has_header: bool
    time: str = ""
    duration: float | None = None
    unit: str = ""


def read_series(path: Path) -> SeriesText:
    """Read a recording from a text file.

    Raises:
        DataError: no rows of numbers, rows of several lengths, a cell that is missing or no number, times that do not
            grow in equal steps.
    """
    rows, lines = _rows(path, text_of(path))
    if not rows:
        raise DataError(f"{path} is empty", _SAVE_AS)
    if len(rows) == 1 and not any(map(is_number, rows[0])):
        raise DataError(f"{path} has a header but no rows", _SAVE_AS)
    header = rows.pop(0) if not any(map(is_number, rows[0])) and len(rows) > 1 else None
    lines = lines[1:] if header is not None else lines
    width = len(rows[0])
    ragged = next((k for k, row in enumerate(rows) if len(row) != width), None)
    if ragged is not None:
        raise DataError(
            f"{path}: line {lines[0]} has {width} cells, line {lines[ragged]} has {len(rows[ragged])}", _SAVE_AS
        )
    if header is not None and len(header) != width:
        raise DataError(f"{path}: the header has {len(header)} cells, line {lines[0]} has {width}", _SAVE_AS)
    names = [f"column {k + 1}" for k in range(width)] if header is None else header
    repeated = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if repeated is not None:
        raise DataError(f"{path}: two columns are called {short_repr(repeated)}", "Give each column a name of its own.")
    time = _time_column(path, names, rows, lines) if header is not None else None
    features = [k for k in range(width) if time is None or k != time.column]
    if not features:
        raise DataError(f"{path} has no column besides the time {names[0]!r}", "Add a column of numbers.")
    values = _numbers(path, [names[k] for k in features], [[row[k] for k in features] for row in rows], lines)
    return SeriesText(
        names=tuple(names[k] for k in features),
        values=values,
        has_header=header is not None,
        time="" if time is None else names[time.column],
        duration=None if time is None else time.duration,
        unit="" if time is None else time.unit,
    )


def sniff_width(path: Path) -> int | None:
    """The number of columns of a text file whose first rows are numbers; None for any other file. Reads its start."""
    rows = sniff_rows(path)
    return None if rows is None else rows.shape[1]


def sniff_rows(path: Path) -> np.ndarray | None:
    """(T, D) first rows of a text file of numbers without a header; None for any other file. Reads its start."""
    try:
        with open_regular(path) as file:
            start = file.read(_SNIFFED)
        rows, _ = _rows(path, start.decode("utf-8-sig", "replace"))
    except (OSError, DataError):
        return None
    rows = rows[:-1] if len(start) == _SNIFFED else rows  # the last one is cut off
    is_even = len({len(row) for row in rows}) == 1
    if not is_even or not all(is_number(cell) for row in rows for cell in row):
        return None
    return np.array([[float(cell) for cell in row] for row in rows])


def check_equal_columns(file: Path, one: SeriesText, first_file: Path, first: SeriesText) -> None:
    """Raise DataError unless two recordings have the same columns and equally long steps."""
    if len(one.names) != len(first.names):
        raise DataError(
            f"{file} has {len(one.names):,} column{'s' * (len(one.names) > 1)} of numbers, {first_file} has "
            f"{len(first.names):,}",
            "Give all recordings the same columns.",
        )
    if one.names != first.names:
        a, b = next((a, b) for a, b in zip(one.names, first.names, strict=True) if a != b)
        raise DataError(
            f"{file} has the column {a!r} where {first_file} has {b!r}", "Give all recordings the same columns."
        )
    if one.time != first.time or (
        one.duration is not None
        and first.duration is not None
        and abs(one.duration - first.duration) > JITTER * first.duration
    ):
        shown = [f"a step of {s.duration:g}" if s.duration is not None else "no times" for s in (one, first)]
        raise DataError(
            f"{file} has {shown[0]}, {first_file} has {shown[1]}", "Give all recordings steps of the same duration."
        )


def sniff_numbers(path: Path) -> bool:
    """Whether a text file holds rows of numbers, with or without a header and a column of times. Reads its start."""
    try:
        with open_regular(path) as file:
            start = file.read(_SNIFFED)
        rows, _ = _rows(path, start.decode("utf-8-sig", "replace"))
    except (OSError, DataError):
        return False
    rows = rows[1:-1] if len(start) == _SNIFFED else rows[1:] if len(rows) > 1 else rows
    cells = [cell for row in rows for cell in row]
    return len({len(row) for row in rows}) == 1 and 2 * sum(map(is_number, cells)) >= len(cells)


def text_of(path: Path) -> str:
    """The text of a file. Raises DataError."""
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {error.object[error.start]:#04x}", _SAVE_AS) from error
    if "\0" in text:
        raise DataError(f"{path} holds a zero byte: it is not text", _SAVE_AS)
    return text


def _rows(path: Path, text: str) -> tuple[list[list[str]], list[int]]:
    """The cells of each row that is neither empty nor a comment, stripped, and its line.

    The last comment before the first row is the header if it has as many cells.
    """
    delimiter = _delimiter(text[:_SNIFFED])
    rows: list[list[str]] = []
    lines: list[int] = []
    comment: tuple[list[str], int] | None = None
    if delimiter is None:
        parts = ((line.split(), number) for number, line in enumerate(text.splitlines(), 1))
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        parts = ((row, reader.line_num) for row in reader)
    try:
        for row, number in parts:
            cells = [cell.strip() for cell in row]
            if cells and cells[0].startswith("#"):
                cells = [cell for cell in (cells[0].lstrip("# "), *cells[1:]) if cell]
                comment = comment if rows else (cells, number)
            elif any(cells):
                rows.append(cells)
                lines.append(number)
    except csv.Error as error:
        raise DataError(f"{path}: {error}", _SAVE_AS) from error
    if comment is not None and rows and len(comment[0]) == len(rows[0]) and not any(map(is_number, comment[0])):
        rows.insert(0, comment[0])
        lines.insert(0, comment[1])
    if delimiter in (";", "\t"):
        rows = [[_decimal_point(cell) for cell in row] for row in rows]
    return rows, lines


def _delimiter(text: str) -> str | None:
    """The delimiter of the cells, None for spaces: the first of tab, semicolon and comma that the last lines have."""
    lines = [line for line in text.splitlines()[:50] if line.strip() and not line.lstrip().startswith("#")]
    last = lines[-2:-1] or lines
    return next((delimiter for delimiter in ("\t", ";", ",") if last and delimiter in last[0]), None)


def _decimal_point(cell: str) -> str:
    return cell.replace(",", ".") if re.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", cell) else cell


def _numbers(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[int]) -> np.ndarray:
    """(T, D) float64 of the cells. Raises DataError, which names the first cell that is no finite number."""
    values = None
    if not any("_" in cell for row in rows for cell in row):
        try:
            values = np.array(rows, dtype=np.float64)
        except ValueError:
            values = None
    if values is not None and bool(np.isfinite(values).all()):
        return values
    for row, line in zip(rows, lines, strict=True):
        for name, cell in zip(names, row, strict=True):
            if is_number(cell) and np.isfinite(float(cell)):
                continue
            what = "is missing" if cell.lower() in MISSING else f"is {short_repr(cell)}, not a number"
            raise DataError(
                f"{path}, line {line}: {name} {what}",
                "Fill missing steps by interpolation, or split the recording there into two files; take out columns "
                "that are no numbers.",
            )
    raise AssertionError("a cell that is no number was found above")


@dataclass(frozen=True, kw_only=True)
class _Time:
    column: int
    duration: float
    unit: str


def _time_column(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[int]) -> _Time | None:
    """The column of times, by its name. Raises DataError for times that do not grow in equal steps."""
    for k, name in enumerate(names):
        match = _UNIT.search(name)
        base = (name[: match.start()] if match else name).strip().lower()
        if base not in _TIME_NAMES | _COUNTER_NAMES:
            continue
        cells = [row[k] for row in rows]
        is_time = base in _TIME_NAMES
        try:
            times, unit = _times(cells)
        except ValueError:
            if is_time:
                bad = next(n for n, cell in enumerate(cells) if not _is_time(cell))
                raise DataError(
                    f"{path}, line {lines[bad]}: {name} is {short_repr(cells[bad])}, not a time",
                    "Write numbers, such as seconds, or dates as 2024-03-01T12:00:00; or rename a column that is none.",
                ) from None
            continue
        steps = np.diff(times)
        duration = float(np.median(steps)) if len(steps) else 1.0
        if unit and (months := _months(cells)) is not None:
            return _Time(column=k, duration=months, unit="month" if months == 1 else "months")
        bad_steps = np.nonzero(~(np.abs(steps - duration) <= JITTER * abs(duration)) | (steps <= 0))[0]
        if len(bad_steps) and is_time:
            first = int(bad_steps[0])
            where = f"{path}, line {lines[first + 1]}: {name} goes from {cells[first]} to {cells[first + 1]}"
            if steps[first] <= 0:
                raise DataError(f"{where}: it does not grow", "Sort the rows by time; give each recording a file.")
            raise DataError(
                f"{where}, a step of {_duration(steps[first], unit)}; most steps are {_duration(duration, unit)} "
                f"({len(bad_steps):,} of {len(steps):,} differ)",
                "Interpolate the recording at equal steps, or split it at each gap into files of one folder.",
            )
        if not len(bad_steps) and len(steps):
            size, longer = _in_longest_unit(duration, unit or (match[1] if match else ""))
            return _Time(column=k, duration=size, unit=longer)
    return None


def _in_longest_unit(duration: float, unit: str) -> tuple[float, str]:
    """Whole numbers of days, hours or minutes in place of seconds."""
    for seconds, longer in ((86400, "d"), (3600, "h"), (60, "min")):
        if unit == "s" and duration >= seconds and duration % seconds == 0:
            return duration / seconds, longer
    return duration, unit


def _duration(value: float, unit: str) -> str:
    size, longer = _in_longest_unit(value, unit)
    return f"{size:g} {longer}".rstrip()


def _times(cells: Sequence[str]) -> tuple[np.ndarray, str]:
    """(T,) numbers and "", or seconds since the first date and "s". Raises ValueError."""
    if is_number(cells[0]):
        values = np.array([float(cell) for cell in cells])
        if not np.isfinite(values).all():
            raise ValueError("a time is not finite")
        return values, ""
    moments = [datetime.fromisoformat(cell) for cell in cells]
    try:
        return np.array([(moment - moments[0]).total_seconds() for moment in moments]), "s"
    except TypeError as error:  # with and without a time zone
        raise ValueError(str(error)) from error


def _is_time(cell: str) -> bool:
    try:
        _times([cell])
    except ValueError:
        return False
    return True


def _months(cells: Sequence[str]) -> float | None:
    """The number of calendar months between two dates if it is the same for all, as on the first of each month."""
    moments = [datetime.fromisoformat(cell) for cell in cells]
    steps = np.diff([12 * moment.year + moment.month for moment in moments])
    same_day = len({(moment.day, moment.time()) for moment in moments}) == 1
    return float(steps[0]) if same_day and len(steps) and steps[0] > 0 and bool((steps == steps[0]).all()) else None
