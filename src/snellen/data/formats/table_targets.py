"""The target columns of a table: classes, several labels a row, or numbers, and which of them was taken."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import UsageError, nearest
from snellen.core.spec import Classes, Labels, Numbers, Target
from snellen.data.formats.table_columns import Cells, Problems, look, look_for_numbers, report
from snellen.data.formats.table_text import Grid

USUAL = ("target", "label", "class", "y")
KINDS = ("classes", "labels", "numbers")
MOST_WHOLE_CLASSES = 20  # more different whole numbers than that are measured, not counted
FEWEST_A_CLASS = 5  # rows for each different whole number, on average
_UNIT = re.compile(r"^(.*\S)(?:\s*\[([^\]]+)\]|\s+\(([^)]+)\))$")


class Chosen(NamedTuple):
    """Which columns are the target, as which kind (None: by their look), and a clause that says why."""

    names: tuple[str, ...]
    kind: str | None
    why: str


def split_unit(header: str) -> tuple[str, str]:
    """ "height [mm]" or "height (mm)" to name and unit; without a unit the unit is ""."""
    match = _UNIT.match(header)
    return (match[1], match[2] or match[3]) if match else (header, "")


def choose(names: Sequence[str], options: Sequence[str], reserved: Sequence[str] = ()) -> Chosen:
    """The target columns: those asked for, else one with a usual name, else the last.

    Args:
        asked: headers, with or without their unit; the last may end in ":classes", ":labels" or ":numbers".
        reserved: columns that cannot be the target unless asked for (the split, the group).
    Raises:
        UsageError: a column that is not there.
    """
    if not options:
        free = [name for name in names if name not in reserved]
        typical_size = [name for word in USUAL for name in free if split_unit(name)[0].lower() == word]
        if typical_size:
            return Chosen((typical_size[0],), None, "by its name")
        return Chosen((free[-1],) if free else (), None, "the last column")
    wanted, kind = list(options), None
    found = []
    base, colon, ending = wanted[-1].rpartition(":")
    if colon and wanted[-1] not in names and ending in KINDS:
        wanted[-1], kind = base, ending
    for word in wanted:
        match = (
            [name for name in names if name == word]
            or [name for name in names if split_unit(name)[0] == word]
            or [name for name in names if name.lower() == word.lower()]
        )
        if not match:
            raise UsageError(f"No column is called {word!r}", nearest(word, list(names)))
        found.append(match[0])
    return Chosen(tuple(dict.fromkeys(found)), kind, "as asked")


def read_target(grid: Grid, chosen: Chosen, problems: Problems) -> tuple[Target, Tensor, str] | None:
    """The target, its truth for every row as `RawDataset.truth`, and what was taken for what.

    Problems are added to `problems`; None where they leave nothing to read.
    """
    if len(chosen.names) > 1:
        if chosen.kind not in (None, "numbers"):
            raise UsageError(f"Several target columns are numbers, not {chosen.kind}", "Name one column.")
        return _numbers(grid, chosen.names, problems)
    name = chosen.names[0]
    text = grid.column(name)
    cells = look(text)
    kind = chosen.kind or _kind(text, cells)
    if kind == "numbers":
        return _numbers(grid, chosen.names, problems)
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing:
        write = "; Write ';' where a row has no label." if kind == "labels" else ""
        problems.cells(name, missing, "the target is missing", "Fill the target, or remove the rows." + write[1:])
        return None
    if kind == "labels":
        return _labels(name, text, problems)
    return _classes(name, text, cells, problems, chosen.kind is None)


def _kind(text: Sequence[str], cells: Cells) -> str:
    if cells.values is None:
        return "labels" if any(";" in cell for cell in text) else "classes"
    if cells.bad:
        return "numbers"
    values = cells.values[~cells.missing]
    different = np.unique(values)
    whole = bool((different == np.round(different)).all())
    few = len(different) <= 2 or len(different) <= min(MOST_WHOLE_CLASSES, len(values) / FEWEST_A_CLASS)
    return "classes" if whole and few else "numbers"


def _numbers(grid: Grid, names: Sequence[str], problems: Problems) -> tuple[Target, Tensor, str] | None:
    columns = []
    before = problems.count
    for name in names:
        cells = look_for_numbers(grid.column(name))
        report(name, cells, problems)
        assert cells.values is not None
        columns.append(cells.values)
        if problems.count == before and len(np.unique(cells.values)) == 1:
            problems.column(
                f"the target {name!r} is {columns[-1][0]:g} in every row",
                "There is nothing to learn: give another --target.",
            )
    if problems.count > before:
        return None
    parts = [split_unit(name) for name in names]
    short = tuple(name for name, _ in parts)
    if len(set(short)) < len(short):
        parts, short = [(name, "") for name in names], tuple(names)
    units = tuple(unit for _, unit in parts)
    truth = torch.from_numpy(np.stack(columns, 1))  # (N, T)
    whole = bool((truth == truth.round()).all())
    said = "numbers" + (_otherwise(names[0], "classes") if len(names) == 1 and whole else "")
    return Numbers(names=short, units=units if any(units) else ()), truth, said


def _otherwise(name: str, kind: str) -> str:
    return f" ({kind}: --target {shlex.quote(name + ':' + kind)})"


def _labels(name: str, text: Sequence[str], problems: Problems) -> tuple[Target, Tensor, str] | None:
    rows = [{part for entry in cell.split(";") if (part := entry.strip())} for cell in text]
    names = sorted(set().union(*rows))
    if not names:
        problems.column(f"the target {name!r} holds no label in any row", "Give another --target.")
        return None
    place = {label: k for k, label in enumerate(names)}
    truth = torch.zeros(len(rows), len(names))  # (N, K)
    for row, labels in enumerate(rows):
        for label in labels:
            truth[row, place[label]] = 1
    return Labels(names=tuple(names)), truth, f"{len(names)} labels, several a row"


def _classes(
    name: str, text: Sequence[str], cells: Cells, problems: Problems, guessed: bool
) -> tuple[Target, Tensor, str] | None:
    whole = cells.values is not None and not cells.bad and bool((cells.values == np.round(cells.values)).all())
    if whole:
        assert cells.values is not None
        different, truth = np.unique(cells.values, return_inverse=True)
        names = [str(int(value)) for value in different]
    else:
        names = sorted(set(text))
        place = {label: k for k, label in enumerate(names)}
        truth = np.array([place[cell] for cell in text])
    if len(names) == 1:
        problems.column(
            f"the target {name!r} is {names[0]!r} in every row",
            "Classes need two at least: add the others, or give another --target.",
        )
        return None
    if len(names) > MOST_WHOLE_CLASSES and 2 * len(names) > len(text):
        problems.column(
            f"the target {name!r} has {len(names):,} different values in {len(text):,} rows: "
            "neither classes nor numbers",
            "Give another --target.",
        )
        return None
    said = f"{len(names)} classes"
    if whole and guessed:
        said += _otherwise(name, "numbers")
    return Classes(names=tuple(names)), torch.from_numpy(truth.astype(np.int64)), said
