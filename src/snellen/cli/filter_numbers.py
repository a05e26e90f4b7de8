"""Files of numbers for `snellen filter`: a grid, a row or a column, with or without a header."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snellen.cli.filter_options import parse_number
from snellen.core.errors import DataError, counted, short_repr
from snellen.core.input_files import read_bytes

MAX_NUMBERS = 1 << 24  # of a file
_COMMA = re.compile(r"[-+−]?\d+,\d+(?:[eE][-+]?\d+)?")
_MISSING = frozenset(("na", "nan", "null", "none", "inf", "infinity"))
_SAVE = "Give rows of plain numbers, as many in each, separated by commas, semicolons, tabs or spaces, as UTF-8."


def read_numbers(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """The numbers (rows, columns) of a text file, and what was assumed: a header, decimal commas.

    Raises:
        DataError: unreadable, no text, no numbers, a missing or infinite one, rows of different length.
    """
    text = _text(path)
    delimiter = next((mark for mark in ";\t," if mark in text), " ")
    rows: list[tuple[int, list[str]]] = []
    count = 0
    try:
        for number, line in enumerate(text.splitlines(), start=1):
            cells = line.split() if delimiter == " " else next(csv.reader([line], delimiter=delimiter, strict=True), [])
            if line.strip():
                rows.append((number, [cell.strip() for cell in cells]))
                count += len(cells)
    except csv.Error as error:
        raise DataError(f"{path}, line {number}: {error}", _SAVE) from error
    if count > MAX_NUMBERS:
        raise DataError(f"{path} has {count:,} cells", f"Give at most {MAX_NUMBERS:,}.")
    notes = []
    if rows and all(_is_name(cell) for cell in rows[0][1]):
        notes.append(f"the first row is a header: {', '.join(rows[0][1][:3])}")
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} holds no numbers", _SAVE)
    width = len(rows[0][1])
    values = np.empty((len(rows), width))
    commas = False
    for k, (number, cells) in enumerate(rows):
        if len(cells) != width:
            raise DataError(
                f"{path}: line {rows[0][0]} has {counted(width, 'cell')}, line {number} has {len(cells)}", _SAVE
            )
        for column, cell in enumerate(cells):
            is_comma = delimiter != "," and _COMMA.fullmatch(cell) is not None
            commas |= is_comma
            value = parse_number(cell.replace(",", ".") if is_comma else cell)
            if value is None:
                raise DataError(f"{path}, line {number}: {short_repr(cell)} is not a finite number", _SAVE)
            values[k, column] = value
    if commas:
        notes.append("decimal commas are read as points")
    return values, notes


def _is_name(cell: str) -> bool:
    """Whether a cell may stand in a header."""
    return cell[:1].isalpha() and cell.lower() not in _MISSING


def _text(path: Path) -> str:
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", "Check the path and its permissions."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {content[error.start]:#04x} at {error.start:,}", _SAVE) from error
    if "\0" in text or not text.strip():
        raise DataError(f"{path} {'holds a zero byte: it is not text' if text.strip() else 'is empty'}", _SAVE)
    return text
