"""Target columns of a table: choice of columns, and parsing as classes, labels (several a row) or numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import UsageError, suggest_name
from snellen.core.spec import Classes, Labels, Numbers, Several, Target
from snellen.core.views import Finding
from snellen.data.formats.number_text import has_leading_zeros, looks_like_finding
from snellen.data.formats.table_columns import (
    ColumnCells,
    TableProblems,
    add_bad_cells,
    equal_as_floats,
    parse_cells,
    parse_numbers,
)
from snellen.data.formats.table_text import MISSING_NUMBERS, TableText

TARGET_NAMES = ("target", "label", "class", "y")
KINDS = ("classes", "labels", "numbers")
MAX_INTEGER_CLASSES = 20  # more distinct integers than this are regression targets
MIN_ROWS_PER_CLASS = 5  # mean rows for each distinct integer
_MISSING_REMEDY = "Fill the target, remove the rows, or give another --target; --impute fills inputs only."
_MAX_HEADER = 1000  # characters of a header that may have a unit
LAST_COLUMN = "the last column"  # reason of a target that nothing names
_MAX_LABEL_VALUES = 1 << 28  # rows times labels: 1 GiB
_UNIT = re.compile(r"^(.*\S)(?:\s*\[([^\]]+)\]|\s+\(([^)]+)\))$")


class TargetColumns(NamedTuple):
    """The target columns, the kind of each (None: inferred from the values), and the reason for the choice."""

    names: tuple[str, ...]
    kinds: tuple[str | None, ...]
    reason: str


def split_unit(header: str) -> tuple[str, str]:
    """Split "height [mm]" or "height (mm)" into name and unit; the unit is "" if there is none."""
    match = _UNIT.match(header) if len(header) <= _MAX_HEADER else None  # quadratic in the length
    return (match[1], match[2] or match[3]) if match else (header, "")


def choose_target(names: Sequence[str], options: Sequence[str], reserved: Sequence[str] = ()) -> TargetColumns:
    """Choose the target columns: the requested ones, else one with a target name, else the last.

    Args:
        options: headers, with or without their unit; each may end in ":classes", ":labels" or ":numbers".
        reserved: columns that are the target only on request (the split, the group).
    Raises:
        UsageError: a column does not exist, or is named twice.
    """
    if not options:
        free = [name for name in names if name not in reserved]
        named_targets = [name for word in TARGET_NAMES for name in free if split_unit(name)[0].lower() == word]
        if named_targets:
            return TargetColumns((named_targets[0],), (None,), "by its name")
        return TargetColumns((free[-1],) if free else (), (None,), LAST_COLUMN)
    kinds: list[str | None] = []
    matches: list[str] = []
    for option in options:
        base, colon, ending = option.rpartition(":")
        has_kind = bool(colon) and option not in names and ending in KINDS
        word = base if has_kind else option
        kinds.append(ending if has_kind else None)
        match = (
            [name for name in names if name == word]
            or [name for name in names if split_unit(name)[0] == word]
            or [name for name in names if name.lower() == word.lower()]
        )
        if not match:
            raise UsageError(f"No column is called {word!r}", suggest_name(word, list(names)))
        if match[0] in matches:
            raise UsageError(f"--target names the column {match[0]!r} twice", "Name each column once.")
        matches.append(match[0])
    return TargetColumns(tuple(matches), tuple(kinds), "by --target")


def label_input_findings(inputs: Sequence[str]) -> list[Finding]:
    """A warning about each input, where there is no target, that has the name of one. A y beside an x is a position."""
    words = [split_unit(name)[0].lower() for name in inputs]
    return [
        Finding(
            kind="label-input",
            message=f"Column {name!r} is an input, and has the name of a target",
            remedy="If it is a label, leave it out: give the other columns with --inputs, or name it with --target.",
            where=(name,),
        )
        for name, word in zip(inputs, words, strict=True)
        if word in TARGET_NAMES and not (word == "y" and "x" in words)
    ]


def is_guessed_number(table: TableText, chosen: TargetColumns) -> bool:
    """Whether the target is the last column for want of another, and holds numbers rather than classes."""
    if chosen.reason != LAST_COLUMN or not chosen.names:
        return False
    target = read_target(table, chosen, TableProblems(table))
    return target is None or isinstance(target[0], Numbers)


def read_target(table: TableText, chosen: TargetColumns, problems: TableProblems) -> tuple[Target, Tensor, str] | None:
    """The target, its truth for every row (see `RawDataset.truth`), and a description.

    Errors are added to `problems`; the result is None if there are any.
    """
    if len(chosen.names) == 1:
        return _read_one(table, chosen.names[0], chosen.kinds[0], problems)
    is_text = [
        name not in table.number_text and parse_cells(table.column(name)).values is None for name in chosen.names
    ]
    if not any(is_text) and set(chosen.kinds) <= {None, "numbers"}:
        return _numbers(table, chosen.names, problems)
    read = [_read_one(table, name, kind, problems) for name, kind in zip(chosen.names, chosen.kinds, strict=True)]
    parts: dict[str, Classes | Labels | Numbers] = {}
    columns, descriptions = [], []
    for header, one in zip(chosen.names, read, strict=True):
        if one is None:
            return None
        target, truth, description = one
        assert isinstance(target, Classes | Labels | Numbers)
        short = target.names[0] if isinstance(target, Numbers) else header
        parts[header if short in parts else short] = target
        columns.append(truth.double().reshape(len(truth), -1))
        descriptions.append(f"{header!r} as {description}")
    return Several(parts=parts), torch.cat(columns, 1), "several targets: " + ", ".join(descriptions)


def _read_one(
    table: TableText, name: str, requested: str | None, problems: TableProblems
) -> tuple[Target, Tensor, str] | None:
    text = table.column(name)
    cells = parse_cells(text)
    kind = requested or ("numbers" if name in table.number_text else _kind(text, cells))
    if requested is None and kind == "numbers" and _are_class_ids(table, cells):
        kind = "classes"
    if kind == "numbers":
        return _numbers(table, (name,), problems)
    if (equal := equal_as_floats(text, cells)) is not None:
        _add_equal(name, equal, problems)
        return None
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing:
        hint = " Write ';' where a row has no label." if kind == "labels" else ""
        problems.missing(name, missing, _MISSING_REMEDY + hint, "the target is missing")
        return None
    if kind == "labels":
        return _labels(name, text, problems)
    return _classes(name, text, cells, problems, requested is None)


def _add_equal(name: str, equal: tuple[str, str], problems: TableProblems) -> None:
    problems.column(
        f"the target {name!r} has {equal[0]} and {equal[1]}, which are equal as 64-bit floats",
        "Write classes with a letter (id123), which makes them text; of numbers, subtract a constant from all.",
    )


def _kind(text: Sequence[str], cells: ColumnCells) -> str:
    if cells.values is None:
        # A row of several labels, or ";" for none: text such as "q&amp;" is a class.
        return "labels" if any(cell == ";" or len(_labels_of(cell)) > 1 for cell in set(text)) else "classes"
    if cells.bad:
        return "numbers"
    values = cells.values[~cells.missing]
    distinct = np.unique(values)
    is_integer = bool((distinct == np.round(distinct)).all())
    is_few = len(distinct) <= 2 or len(distinct) <= min(MAX_INTEGER_CLASSES, len(values) / MIN_ROWS_PER_CLASS)
    return "classes" if is_integer and is_few else "numbers"


def _are_class_ids(table: TableText, cells: ColumnCells) -> bool:
    """Whether integers are classes: in a list (.txt) of image names and integers, all from 0 or 1 up to the largest."""
    if table.header or len(table.names) != 2 or cells.values is None or cells.bad or cells.missing.any():
        return False
    distinct = np.unique(cells.values)
    is_counted = distinct[0] in (0, 1) and np.array_equal(distinct, distinct[0] + np.arange(len(distinct)))
    return table.where.endswith(".txt") and is_counted and 2 * len(distinct) <= len(cells.values)


def _numbers(table: TableText, names: Sequence[str], problems: TableProblems) -> tuple[Target, Tensor, str] | None:
    columns = []
    problems_before = problems.count
    for name in names:
        cells = parse_numbers(table.column(name))
        add_bad_cells(name, cells, problems, impute=True)
        if cells.missing.any():
            problems.missing(name, np.nonzero(cells.missing)[0].tolist(), _MISSING_REMEDY, "the target is missing")
        assert cells.values is not None
        columns.append(cells.values)
        if (equal := equal_as_floats(table.column(name), cells)) is not None:
            _add_equal(name, equal, problems)
        if problems.count == problems_before and len(np.unique(cells.values)) == 1:
            problems.column(
                f"the target {name!r} is {columns[-1][0]:g} in every row",
                "Give another --target.",
            )
    if problems.count > problems_before:
        return None
    parts = [split_unit(name) for name in names]
    short = tuple(name for name, _ in parts)
    if len(set(short)) < len(short):
        parts, short = [(name, "") for name in names], tuple(names)
    units = tuple(unit for _, unit in parts)
    truth = torch.from_numpy(np.stack(columns, 1))  # (N, T)
    is_integer = bool((truth == truth.round()).all())
    description = "numbers" + (_otherwise(names[0], "classes") if len(names) == 1 and is_integer else "")
    return Numbers(names=short, units=units if any(units) else ()), truth, description


def _otherwise(name: str, kind: str) -> str:
    return f" ({kind}: --target {shlex.quote(name + ':' + kind)})"


def _labels_of(cell: str) -> set[str]:
    return {part for entry in cell.split(";") if (part := entry.strip())}


def _labels(name: str, text: Sequence[str], problems: TableProblems) -> tuple[Target, Tensor, str] | None:
    rows = [_labels_of(cell) for cell in text]
    names = sorted(set().union(*rows))
    if not names:
        problems.column(f"the target {name!r} holds no label in any row", "Give another --target.")
        return None
    if len(names) * len(rows) > _MAX_LABEL_VALUES:
        problems.column(
            f"the target {name!r} has {len(names):,} labels in {len(rows):,} rows", "Give another --target."
        )
        return None
    index_of = {label: k for k, label in enumerate(names)}
    truth = torch.zeros(len(rows), len(names))  # (N, K)
    for row, labels in enumerate(rows):
        for label in labels:
            truth[row, index_of[label]] = 1
    return Labels(names=tuple(names)), truth, f"{len(names)} labels, several for each row"


def _classes(
    name: str, text: Sequence[str], cells: ColumnCells, problems: TableProblems, inferred: bool
) -> tuple[Target, Tensor, str] | None:
    is_integer = cells.values is not None and not cells.bad and bool((cells.values == np.round(cells.values)).all())
    if is_integer:
        assert cells.values is not None
        _, first, truth = np.unique(cells.values, return_index=True, return_inverse=True)
        names = [str(int(Decimal(text[k]))) for k in first.tolist()]
        if has_leading_zeros(text) and len(set(text)) == len(names):  # codes: 007 is no number
            names = sorted(set(text), key=float)
    else:
        names = sorted(set(text))
        index_of = {label: k for k, label in enumerate(names)}
        truth = np.array([index_of[cell] for cell in text])
    if len(names) == 1:
        problems.column(
            f"the target {name!r} is {names[0]!r} in every row",
            "Add rows of a second class, or give another --target.",
        )
        return None
    numbers = looks_like_finding(name, text, MISSING_NUMBERS)
    if len(names) > MAX_INTEGER_CLASSES and 2 * len(names) > len(text) and numbers is not None:
        problems.column(f"the target: {numbers.message.removesuffix('.')}", numbers.remedy)
        return None
    if len(names) > MAX_INTEGER_CLASSES and 2 * len(names) > len(text):
        problems.column(
            f"the target {name!r} has {len(names):,} distinct values in {len(text):,} rows: "
            "neither classes nor numbers",
            "Give another --target.",
        )
        return None
    description = f"{len(names)} classes"
    if is_integer and inferred:
        description += _otherwise(name, "numbers")
    return Classes(names=tuple(names)), torch.from_numpy(truth.astype(np.int64)), description
