"""Table reader: CSV or JSONL text as columns of string cells. `table_columns` parses the cells."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from snellen.core.errors import DataError
from snellen.core.input_files import read_bytes
from snellen.data.decode.audio import SUFFIXES as AUDIO_SUFFIXES
from snellen.data.decode.audio import UNREAD_SUFFIXES
from snellen.data.formats.number_text import NumberColumn, read_numbers

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
MISSING = frozenset(("", "na", "n/a", "nan", "null", "?", "#n/a", "#na", "<na>", "nat"))  # in lower case
# Missing among numbers only: "none" or "-" may be a category.
MISSING_NUMBERS = MISSING | {
    *("-", "--", "---", "–", "—", ".", "none", "nil", "missing", "unknown", "undefined", "not available"),
    *("#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"),
}
IMAGE_SUFFIXES = (
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
    ".heic",
    ".heif",
)
RECORDING_SUFFIXES = tuple(sorted(AUDIO_SUFFIXES | UNREAD_SUFFIXES))
_DELIMITERS = (",", ";", "\t")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_SNIFF_ROWS = 200  # rows used to detect delimiter and header
_MAX_SPARSITY, _HARMLESS_CELLS = 100, 10_000_000  # cells of JSONL for each value given, and cells of any table
_SAVE_AS = "Save the table as UTF-8 CSV with a header row."


class NotText(DataError):
    """A table that is no text in UTF-8."""


@dataclass(frozen=True, kw_only=True)
class TableText:
    """A table of string cells.

    Args:
        where: the name of the file in messages.
        names: one for each column, all distinct.
        columns: the cells of each column, stripped; a missing JSONL entry is "".
        lines: the line of the file on which each row starts, counted from 1.
        header: whether the file has a header; else the names are "column 1", "column 2" ...
        commas: whether decimal commas were read as points.
        number_text: by name, the columns whose cells were numbers with a sign or separators, and an example.
    """

    where: str
    names: tuple[str, ...]
    columns: tuple[Sequence[str], ...]
    lines: Sequence[int]
    header: bool = True
    commas: bool = False
    number_text: Mapping[str, NumberColumn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    @functools.cached_property
    def _column_of(self) -> dict[str, Sequence[str]]:
        return dict(zip(self.names, self.columns, strict=True))

    def column(self, name: str) -> Sequence[str]:
        return self._column_of[name]


def rows_of(table: TableText, rows: Sequence[int]) -> TableText:
    """Some rows of a table, with their lines."""
    columns = tuple([column[k] for k in rows] for column in table.columns)
    return dataclasses.replace(table, columns=columns, lines=[table.lines[k] for k in rows])


def read_table(file: Path | TextIO, names: Sequence[str] = ()) -> TableText:
    """Read a CSV (comma, semicolon or tab; with or without header) or JSONL file.

    Args:
        file: a path, or an open text file (standard input).
        names: known column names; a first row that contains them all is the header.
    Raises:
        DataError: not UTF-8, empty, ragged, a duplicate header name, a line that is not a JSON object.
    """
    if isinstance(file, Path):
        where, text = str(file), _text(file)
        lines = file.suffix.lower() in (".jsonl", ".ndjson")
    else:
        where = getattr(file, "name", "the table")
        try:
            text = file.read().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise NotText(f"{where} is not UTF-8: byte {error.object[error.start]:#04x}", _SAVE_AS) from error
        lines = False
    if not text.strip():
        raise DataError(f"{where} is empty", _SAVE_AS)
    if lines or text.lstrip().startswith("{"):
        return _parse_jsonl(where, text)
    return _parse_csv(where, text, names)


def _text(path: Path) -> str:
    try:
        content = read_bytes(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read: {reason}", "Check the path and its permissions.") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotText(f"{path} is UTF-16, not UTF-8", _SAVE_AS)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotText(f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8", _SAVE_AS) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise NotText(f"{path}, line {line}: holds a zero byte: it is not text", _SAVE_AS)
    return text


def _parse_csv(where: str, text: str, names: Sequence[str]) -> TableText:
    delimiter = sniff_delimiter(text)
    if delimiter == " ":
        text = "\n".join(line.strip() for line in text.splitlines())
    rows: list[list[str]] = []
    lines: list[int] = []
    # Strict: otherwise an unclosed quote would take in the rest of the table.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    last_line = 0
    try:
        for row in reader:
            if row:  # skip empty lines
                rows.append(row)
                lines.append(last_line + 1)
            last_line = reader.line_num
    except csv.Error as error:
        line, limit = last_line + 1, csv.field_size_limit()
        if "field limit" in str(error):
            raise DataError(
                f"{where}, line {line}: a cell has more than {limit:,} characters, to line {reader.line_num}",
                "Close every quote; if the cell is that long, take out its column.",
            ) from error
        if "expected after" in str(error):
            raise DataError(
                f"{where}, line {line}: a quoted cell is not followed by the delimiter {delimiter!r}",
                "Separate cells by commas, semicolons or tabs, and double each quote inside quotes.",
            ) from error
        raise DataError(
            f"{where}, line {line}: {error}", "Close every quote, and double each quote inside quotes."
        ) from error
    width = len(rows[0])
    ragged = [place for place, row in enumerate(rows) if len(row) != width]
    if ragged:
        shown = ", ".join(f"line {lines[place]} has {len(rows[place])}" for place in ragged[:5])
        more = f" and {len(ragged) - 5} more" if len(ragged) > 5 else ""
        raise DataError(
            f"{where}: line {lines[0]} has {width} cells, {shown}{more}",
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
        raise DataError(f"{where} has a header but no rows", "Add one row for each sample.")
    columns = tuple(tuple(map(str.strip, column)) for column in zip(*rows[start:], strict=True))
    normalised = columns if delimiter == "," else tuple(map(_decimal_points, columns))
    plain, number_text = _plain_numbers(heads, normalised, delimiter == ";")
    return TableText(
        where=where,
        names=tuple(heads),
        columns=plain,
        lines=lines[start:],
        header=header,
        commas=any(a is not b for a, b in zip(columns, normalised, strict=True)),
        number_text=number_text,
    )


def _plain_numbers(
    names: Sequence[str], columns: Sequence[tuple[str, ...]], decimal_comma: bool
) -> tuple[tuple[tuple[str, ...], ...], dict[str, NumberColumn]]:
    """The columns with numbers written as text made plain, and by name those that were."""
    readings = (read_numbers(cells, MISSING_NUMBERS, decimal_comma) for cells in columns)
    number_text = {name: column for name, column in zip(names, readings, strict=True) if column is not None}
    return tuple(
        number_text[name].cells if name in number_text else cells for name, cells in zip(names, columns, strict=True)
    ), number_text


def _decimal_points(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Replace decimal commas by points in a numeric column; other columns are unchanged."""
    if not any("," in cell for cell in cells):
        return cells
    if all(_COMMA.fullmatch(cell) or is_number(cell) or cell.lower() in MISSING_NUMBERS for cell in cells):
        return tuple(cell.replace(",", ".") for cell in cells)
    return cells


def sniff_delimiter(text: str) -> str:
    """The delimiter that splits the first rows into equally many cells, and into the most."""
    start = text[: 1 << 16]
    if len(start) < len(text):
        start = start[: start.rfind("\n") + 1] or start
    best_score = (False, 1, ",")
    for delimiter in _DELIMITERS:
        try:
            rows = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter, skipinitialspace=True)
            widths = [len(row) for row, _ in zip(rows, range(_SNIFF_ROWS), strict=False) if row]
        except csv.Error:
            continue
        common = Counter(widths).most_common(1)[0][0] if widths else 1
        score = (common > 1 and len(set(widths)) == 1, common, delimiter)
        if score[:2] > best_score[:2]:
            best_score = score
    return best_score[2] if best_score[1] > 1 or not _lists_images_by_spaces(start) else " "


def _lists_images_by_spaces(text: str) -> bool:
    """Whether every line is an image name and equally many other words, as in lists of files and labels."""
    lines = [line.strip() for line in text.splitlines()[:_SNIFF_ROWS] if line.strip()]
    try:
        rows = list(csv.reader(lines, delimiter=" ", skipinitialspace=True, strict=True))
    except csv.Error:
        return False
    return len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and all(is_sample_name(row[0]) for row in rows)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def has_header(rows: Sequence[Sequence[str]], names: Sequence[str] = ()) -> bool:
    """Whether the first row is a header.

    It is if none of its cells is a number or an image name. If some are numbers, they must be integers (years,
    pixels), and a name must head a numeric column.
    """
    first = [cell.strip() for cell in rows[0]]
    if names and set(names) <= set(first):
        return True
    numbers = [is_number(cell) for cell in first]
    if not any(numbers):
        return not any(map(is_sample_name, first))
    if not all(cell.isdecimal() for cell, number in zip(first, numbers, strict=True) if number):
        return False
    below = rows[1:_SNIFF_ROWS]
    return bool(below) and any(
        not number and cell.lower() not in MISSING and all(is_number(row[place].strip()) for row in below)
        for place, (cell, number) in enumerate(zip(first, numbers, strict=True))
    )


def is_sample_name(cell: str) -> bool:
    """Whether a cell is the name of an image or of a recording."""
    return cell.lower().endswith((*IMAGE_SUFFIXES, *RECORDING_SUFFIXES))


def is_recording_name(cell: str) -> bool:
    """Whether a cell is the name of a recording, of any encoding."""
    return cell.lower().endswith(RECORDING_SUFFIXES)


def _check_names(where: str, names: Sequence[str]) -> None:
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise DataError(
            f"{where}: the header has {', '.join(map(repr, duplicates[:5]))} more than once",
            "Give every column a unique name; without a header, the first row must hold a number.",
        )


def _parse_jsonl(where: str, text: str) -> TableText:
    objects: list[dict[str, str]] = []
    lines: list[int] = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            entry = json.loads(content, object_pairs_hook=unique_names, parse_constant=reject_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}, line {line}: {error}", "Write one JSON object on each line.") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where}, line {line}: is not an object", "Write one JSON object on each line.")
        objects.append({key.strip(): _cell(where, line, key, value) for key, value in entry.items()})
        lines.append(line)
    names = tuple(dict.fromkeys(key for entry in objects for key in entry))
    if not names:
        raise DataError(f"{where} holds only empty objects", "Write one JSON object on each line.")
    given = sum(map(len, objects))
    if len(names) * len(objects) > max(_MAX_SPARSITY * given, _HARMLESS_CELLS):
        raise DataError(
            f"{where} has {len(names):,} names in {len(objects):,} objects, and only {given:,} values",
            "Give all objects the same names.",
        )
    columns = tuple(tuple(entry.get(name, "") for entry in objects) for name in names)
    plain, number_text = _plain_numbers(names, columns, False)
    return TableText(where=where, names=names, columns=plain, lines=lines, number_text=number_text)


def unique_names(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a duplicate name."""
    pairs = list(pairs)
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("the object has a duplicate name")
    return entry


def reject_constant(name: str) -> Any:
    """Raise ValueError for NaN and Infinity, which are not strict JSON."""
    raise ValueError(f"{name} is not strict JSON")


def _cell(where: str, line: int, key: str, value: Any) -> str:
    """A JSON value as a string cell; a list of strings is several labels."""
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
        f"{where}, line {line}: {key!r} is {json.dumps(value)[:60]}, which is not a valid cell",
        "A cell is a string, a number, true, false, null, or a list of strings (labels).",
    )
