"""Numbers written as text: with a currency or percent sign, thousands separators, a decimal comma, or in brackets.

A column is read so only if all its cells are written in one way. What looks like numbers or dates and is not read so
gets a warning: as categories, each value would be a column of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from snellen.core.views import Finding

_CURRENCY = r"[$€£¥₹]|\b(?:usd|eur|gbp|chf|jpy)\b"
_DIGITS = r"\d+(?:\.\d+)?|[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?:['’\u00a0\u202f ]\d{3})+(?:\.\d+)?"
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[+−–-]?)\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[+−–-]?)"
    rf"(?P<digits>{_DIGITS})\s*(?P<after>%|{_CURRENCY})?(?P<close>\))?",
    re.IGNORECASE,
)
_MINUS = "-−–"  # with the minus sign and the dash of typeset tables
_MARKS = (*"$€£¥₹%,'’(−– \u00a0\u202f", "USD", "EUR", "GBP", "CHF", "JPY")  # one of them is in every number text
_SWAPPED = str.maketrans(",.", ".,")
_UNIT = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s*([^\W\d_]{1,6}|°[CF]?|\w{1,4}/\w{1,4})")
_TIME = r"\d{1,2}:\d{2}(:\d{2}\S*)?"
_DATE = re.compile(
    rf"(\d{{4}}[-/.]\d{{1,2}}([-/.]\d{{1,2}})?|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}})([T ]{_TIME})?|{_TIME}"
)
_YEAR = re.compile(r"\d{4}")
_ISO_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?(?!\d)")
_POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
_RATIO = re.compile(r"\d+\s*/\s*\d+")
_CODE = re.compile(r"0\d{2,}")  # a number would not begin with 0
_MAX_LENGTH = 40  # characters of a number or date
_MIN_DISTINCT = 5  # distinct cells that look like numbers with a unit; fewer may be categories (2D, 3D)


class NumberColumn(NamedTuple):
    """A column read as numbers. cells: with a decimal point. example: a cell as written and as read.

    other: how the example would be read with comma and point exchanged, if the whole column could be; else "".
    """

    cells: tuple[str, ...]
    example: tuple[str, str]
    other: str = ""


def read_numbers(cells: Sequence[str], missing: Collection[str], decimal_comma: bool) -> NumberColumn | None:
    """The cells as plain numbers if all that are not missing are numbers with signs or separators of one kind.

    Args:
        missing: words of missing cells, in lower case.
        decimal_comma: whether a comma is more likely the decimal point than a thousands separator.
    """
    text = "\n".join(cells)
    if not any(mark in text for mark in _MARKS):
        return _points_for_thousands(cells, missing) if decimal_comma and "." in text else None
    readings = [_read(cells, missing, comma) for comma in (decimal_comma, not decimal_comma)]
    column = readings[0] or readings[1]
    if readings[0] is None or readings[1] is None or readings[0].cells == readings[1].cells:
        return column
    place = next(k for k, cell in enumerate(readings[0].cells) if cell != readings[1].cells[k])
    return NumberColumn(readings[0].cells, (cells[place], readings[0].cells[place]), readings[1].cells[place])


def _points_for_thousands(cells: Sequence[str], missing: Collection[str]) -> NumberColumn | None:
    """Cells such as 11.420, where commas are decimal: with two points (1.300.000) thousands, else doubtful."""
    pointed = [cell for cell in cells if "." in cell and cell.lower() not in missing]
    if not pointed or not all(_match(_POINTED, cell) for cell in pointed):
        return None
    if any(cell.count(".") > 1 for cell in pointed):
        return _read(cells, missing, True)
    return NumberColumn(tuple(cells), (pointed[0], pointed[0]), pointed[0].replace(".", ""))


def _read(cells: Sequence[str], missing: Collection[str], decimal_comma: bool) -> NumberColumn | None:
    plain: dict[str, str] = {}
    signs: set[str] = set()
    example = None
    bracketed = numbers = 0
    for cell in cells:
        if cell in plain:
            continue
        plain[cell] = cell
        if cell.lower() in missing:
            continue
        match = _match(_NUMBER, cell.translate(_SWAPPED) if decimal_comma else cell)
        if match is None or bool(match["open"]) != bool(match["close"]) or (match["before"] and match["after"]):
            return None
        signs.add((match["before"] or match["after"] or "").lower())
        minus = any(sign in _MINUS for sign in match["sign"] + match["inner"])
        if match["open"] and minus:  # neither -5 nor 5 for sure
            return None
        negative = bool(match["open"]) or minus
        bracketed += bool(match["open"])
        numbers += 1
        plain[cell] = ("-" if negative else "") + re.sub(r"[^\d.]", "", match["digits"])
        example = example or ((cell, plain[cell]) if plain[cell] != cell.lstrip("+") else None)
    if bracketed == numbers:  # labels such as (1), (2): a column of losses only would be no reason to write brackets
        return None
    if example is None or len(signs - {""}) > 1 or ("%" in signs and "" in signs):
        return None
    return NumberColumn(tuple(plain[cell] for cell in cells), example)


def _match(pattern: re.Pattern[str], cell: str) -> re.Match[str] | None:
    """The match of a whole cell; a long one is no number, and would take long to tell."""
    return pattern.fullmatch(cell) if len(cell) <= _MAX_LENGTH else None


def number_text_finding(name: str, column: NumberColumn) -> Finding:
    """The note that a column was read as numbers; a warning if comma and point could be exchanged."""
    message = f"Column {name!r} is read as numbers: {column.example[0]!r} as {column.example[1]}"
    if not column.other:
        return Finding(kind="number-text", severity="note", where=(name,), message=f"{message}.")
    return Finding(
        kind="number-text",
        where=(name,),
        message=f"{message}, though it could be {column.other}.",
        remedy="Write numbers with a decimal point and without thousands separators.",
    )


def has_leading_zeros(cells: Sequence[str]) -> bool:
    """Whether an integer among the cells is written with leading zeros."""
    return any(len(cell) > 1 and cell[0] == "0" and cell.isdecimal() for cell in cells)


def code_finding(name: str, cells: Sequence[str]) -> Finding | None:
    """The warning that a column of numbers has leading zeros, as postal codes do; else None."""
    code = next((cell for cell in cells if _match(_CODE, cell)), None)
    if code is None:
        return None
    return Finding(
        kind="number-text",
        where=(name,),
        message=f"Column {name!r} is read as numbers, and {code!r} has leading zeros, as codes have.",
        remedy="Take out a column of codes, or write them with a letter to make them categories.",
    )


def forecast_hint(name: str, cells: Sequence[str], missing: Collection[str]) -> str:
    """How a table with a column of days, months or times of a day is read as time series; "" of other columns."""
    given = [cell for cell in cells if cell.lower() not in missing]
    if len(given) < 2 or not all(_match(_DATE, cell) and _YEAR.search(cell) for cell in given):
        return ""
    several = " --sequence-id COLUMN" if len(set(given)) < len(given) else ""
    written = "" if all(map(_ISO_DATE.match, given)) else ", with dates as 2024-03-01"
    return f"A time series is forecast with --task forecast --time {shlex.quote(name)}{several}{written}."


def looks_like_finding(name: str, cells: Sequence[str], missing: Collection[str]) -> Finding | None:
    """The warning that a column of text looks like dates, or like numbers that were not read as such; else None."""
    distinct = [cell for cell in dict.fromkeys(cells) if cell.lower() not in missing]
    if len(distinct) < 2:
        return None
    units = {match[1] if (match := _match(_UNIT, cell)) else "" for cell in distinct}
    if all(_match(_DATE, cell) for cell in distinct):
        what, remedy = "dates or times", "Write numbers, such as days since a first day, or year, month and day."
        remedy = f"{remedy} {forecast_hint(name, cells, missing)}".rstrip()
    elif len(distinct) >= _MIN_DISTINCT and all(_match(_RATIO, cell) for cell in distinct):
        what, remedy = "fractions or dates", "Write fractions as numbers (0.43), dates as year, month and day."
    elif 2 * sum(any(_match(_NUMBER, text) for text in (cell, cell.translate(_SWAPPED))) for cell in distinct) > len(
        distinct
    ):
        what = "numbers with signs or separators that are not all written in one way"
        remedy = "Write plain numbers with a decimal point."
    elif len(distinct) >= _MIN_DISTINCT and len(units) == 1 and "" not in units:
        what, remedy = "numbers with a unit", "Write plain numbers, and the unit into the header: name [unit]."
    else:
        return None
    return Finding(
        kind="number-text",
        where=(name,),
        message=f"Column {name!r} looks like {what} ({distinct[0]!r}, {distinct[1]!r}), and is read as text.",
        remedy=remedy,
    )
