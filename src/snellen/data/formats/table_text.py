"""The text of a table, CSV or JSONL, as columns of cells. What the cells mean is said in `columns`."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from snellen.core.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # in lower case
PICTURES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
    ".pbm",
    ".pnm",
    ".avif",
    ".jp2",
)
_DELIMITERS = (",", ";", "\t")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_LOOKED_AT = 200  # rows from which delimiter and header are judged
_SAVE_AS = "Save the table as CSV in UTF-8 with one row of names first."


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as text.

    Args:
        where: the file, as messages name it.
        names: one per column, all different.
        columns: the cells of each column, without white space around them; a missing JSONL entry is "".
        lines: the line of the file on which each row starts, counted from 1.
        header: whether the names stood in the file; else they are "column 1", "column 2" ...
        commas: whether decimal commas were read as points.
    """

    where: str
    names: tuple[str, ...]
    columns: tuple[Sequence[str], ...]
    lines: Sequence[int]
    header: bool = True
    commas: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> Sequence[str]:
        return self.columns[self.names.index(name)]


def read_grid(file: Path | TextIO, names: Sequence[str] = ()) -> Grid:
    """Reads a CSV (comma, semicolon or tab; with or without names) or JSONL file whole.

    Args:
        file: a path, or a text file that is open (standard input).
        names: columns that are known to be wanted; a first row that holds them all is the header.
    Raises:
        DataError: not UTF-8, empty, ragged, a header name twice, a line that is no JSON object.
    """
    if isinstance(file, Path):
        where, text = str(file), _text(file)
        lines = file.suffix.lower() in (".jsonl", ".ndjson")
    else:
        where = getattr(file, "name", "the table")
        try:
            text = file.read().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(f"{where} is not UTF-8: byte {error.object[error.start]:#04x}", _SAVE_AS) from error
        lines = False
    if not text.strip():
        raise DataError(f"{where} is empty", _SAVE_AS)
    if lines or text.lstrip().startswith("{"):
        return _json_grid(where, text)
    return _csv_grid(where, text, names)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read: {reason}", "Check the path and its permissions.") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is UTF-16, not UTF-8", _SAVE_AS)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8", _SAVE_AS) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: holds a zero byte, so it is no text", _SAVE_AS)
    return text


def _csv_grid(where: str, text: str, names: Sequence[str]) -> Grid:
    delimiter = sniff(text)
    rows: list[list[str]] = []
    lines: list[int] = []
    # Strict, for else a quote that is never closed would swallow the rest of the table.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    before = 0
    try:
        for row in reader:
            if row:  # an empty line is no row
                rows.append(row)
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{where}, line {reader.line_num}: {error}", "Close every quote, and write a quote within quotes twice."
        ) from error
    width = len(rows[0])
    ragged = [place for place, row in enumerate(rows) if len(row) != width]
    if ragged:
        shown = ", ".join(f"row {lines[place]} has {len(rows[place])}" for place in ragged[:5])
        more = f" and {len(ragged) - 5} more" if len(ragged) > 5 else ""
        raise DataError(
            f"{where}: the first row has {width} cells, {shown}{more}",
            "Give every row the same number of cells; quote cells that hold the delimiter.",
        )
    header = has_header(rows, names)
    heads = (
        [cell.strip() or f"column {k + 1}" for k, cell in enumerate(rows[0])]
        if header
        else [f"column {k + 1}" for k in range(width)]
    )
    _check_names(where, heads)
    start = int(header)
    if len(rows) == start:
        raise DataError(f"{where} has names but no rows", "Add the rows, one sample each.")
    columns = tuple(tuple(map(str.strip, column)) for column in zip(*rows[start:], strict=True))
    pointed = columns if delimiter == "," else tuple(map(_with_points, columns))
    return Grid(
        where=where,
        names=tuple(heads),
        columns=pointed,
        lines=lines[start:],
        header=header,
        commas=any(a is not b for a, b in zip(columns, pointed, strict=True)),
    )


def _with_points(cells: tuple[str, ...]) -> tuple[str, ...]:
    """A column of numbers with decimal commas, as spreadsheets of many countries write them, with points."""
    if not any("," in cell for cell in cells):
        return cells
    if all(_COMMA.fullmatch(cell) or is_number(cell) or cell.lower() in MISSING for cell in cells):
        return tuple(cell.replace(",", ".") for cell in cells)
    return cells


def sniff(text: str) -> str:
    """The delimiter that cuts the first rows into the same number of cells, and into most of them."""
    start = text[: 1 << 16]
    if len(start) < len(text):
        start = start[: start.rfind("\n") + 1] or start
    best = (False, 1, ",")
    for delimiter in _DELIMITERS:
        try:
            rows = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter, skipinitialspace=True)
            widths = [len(row) for row, _ in zip(rows, range(_LOOKED_AT), strict=False) if row]
        except csv.Error:
            continue
        common = Counter(widths).most_common(1)[0][0] if widths else 1
        found = (common > 1 and len(set(widths)) == 1, common, delimiter)
        if found[:2] > best[:2]:
            best = found
    return best[2]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def has_header(rows: Sequence[Sequence[str]], names: Sequence[str] = ()) -> bool:
    """Whether the first row holds names.

    It does where none of its cells is a number and none names a picture. Where some are numbers, they must be whole
    (years, pixels) and a name must stand over a column of numbers.
    """
    first = [cell.strip() for cell in rows[0]]
    if names and set(names) <= set(first):
        return True
    numbers = [is_number(cell) for cell in first]
    if not any(numbers):
        return not any(map(is_picture, first))
    if not all(cell.isdecimal() for cell, number in zip(first, numbers, strict=True) if number):
        return False
    below = rows[1:_LOOKED_AT]
    return bool(below) and any(
        not number and cell.lower() not in MISSING and all(is_number(row[place].strip()) for row in below)
        for place, (cell, number) in enumerate(zip(first, numbers, strict=True))
    )


def is_picture(cell: str) -> bool:
    return cell.lower().endswith(PICTURES)


def _check_names(where: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{where}: the header has {', '.join(map(repr, twice[:5]))} more than once",
            "Give every column a name of its own; without names, the first row must hold a number.",
        )


def _json_grid(where: str, text: str) -> Grid:
    objects: list[dict[str, str]] = []
    lines: list[int] = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            entry = json.loads(content, object_pairs_hook=_object, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}, line {line}: {error}", "JSONL has one JSON object on each line.") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where}, line {line}: holds no object", "JSONL has one JSON object on each line.")
        objects.append({key.strip(): _cell(where, line, key, value) for key, value in entry.items()})
        lines.append(line)
    names = tuple(dict.fromkeys(key for entry in objects for key in entry))
    if not names:
        raise DataError(f"{where} holds only empty objects", "JSONL has one JSON object on each line.")
    columns = tuple(tuple(entry.get(name, "") for entry in objects) for name in names)
    return Grid(where=where, names=names, columns=columns, lines=lines)


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("a name stands twice in the object")
    return entry


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not strict JSON")


def _cell(where: str, line: int, key: str, value: Any) -> str:
    """A JSON value as a cell of text; a list of texts is several labels."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int) and abs(value) < sys.maxsize:
        return str(value)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return ";".join(value) or ";"
    raise DataError(
        f"{where}, line {line}: {key!r} is {json.dumps(value)[:60]}, which is no cell",
        "A cell is a text, a number, true, false, null, or a list of texts (labels).",
    )
