"""Tables, CSV or JSONL: rows of numbers and categories, or of picture names, with a target."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Column, Input, Spec
from snellen.core.views import Finding
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.table_columns import MOST_CATEGORIES, Cells, Problems, encode, learn, look, report
from snellen.data.formats.table_images import Inputs, is_file, picture_column, picture_inputs
from snellen.data.formats.table_targets import choose, read_target
from snellen.data.formats.table_text import SUFFIXES, Grid, is_picture, read_grid
from snellen.data.source import Array

_SPLIT_WORDS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
_COUNTS_ROWS = ("id", "index", "row", "no", "nr", "unnamed: 0", "column 1")


def recognises(path: Path) -> bool:
    return _table_in(path) is not None


def _table_in(path: Path) -> Path | None:
    """The table at a path: the file itself, or the one table of a folder that names its files or has no others."""
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    if not path.is_dir():
        return None
    try:
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        tables = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
        if len(tables) != 1:
            return None
        if not any(is_picture(entry.name) or entry.is_dir() for entry in entries):
            return tables[0]
        with open(tables[0], encoding="utf-8-sig", errors="replace") as file:
            start = [file.readline(1 << 14) for _ in range(20)]
    except OSError:
        return None
    cells = "".join(start).replace('"', ",").replace(";", ",").replace("\t", ",").replace("\n", ",").split(",")
    return tables[0] if any(is_picture(cell) and is_file(path / cell.strip()) for cell in cells) else None


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Rows as vectors of numbers and one-hot categories, or the pictures that a column names.

    Raises:
        DataError: naming row and column of every cell that is missing or no number (five at once).
        UsageError: a target or group that is no column.
    """
    file = _table_in(path) or path
    if not file.is_file():
        raise DataError(f"{path} holds no single table", f"Name one file that ends in {', '.join(SUFFIXES)}.")
    grid = read_grid(file)
    split = next((name for name in grid.names if name.lower() == "split" and name not in options.target), None)
    given = _splits(grid, split) if split is not None else None
    reserved = [split] if split is not None and given is not None else []
    groups = None
    if options.group is not None and "{" not in options.group:
        groups = _groups(grid, options.group)
        reserved.append(options.group)
    named = picture_column(grid, [name for name in grid.names if name not in reserved])
    chosen = choose(grid.names, options.target, [*reserved, *([named] if named is not None else [])])
    rest = [name for name in grid.names if name not in chosen.names and name not in reserved]
    if not rest or not chosen.names:
        raise DataError(
            f"{file} has no column beside {', '.join(map(repr, (*chosen.names, *reserved)))}",
            "A table needs at least one input and one target.",
        )
    problems = Problems(grid)
    target = read_target(grid, chosen, problems)
    if named in rest:
        problems.finish()
        inputs = picture_inputs(path, file, grid, named, rest, options)
    elif options.group is not None and groups is None:
        raise UsageError(
            f"--group {options.group!r} is a pattern of file names, and the table names no pictures",
            f"Name a column: {', '.join(grid.names[:8])}.",
        )
    else:
        inputs = _vectors(grid, rest, problems, options, None if given is None else given == 0)
    assert target is not None  # a missing target is a problem, and those have ended it
    truth, rows = target[1], inputs.rows
    if rows is not None:  # the pages of one file are several samples of one row
        truth, given, groups = truth[torch.from_numpy(rows)], *(None if x is None else x[rows] for x in (given, groups))
        groups = inputs.groups if groups is None else groups
    taken = (
        f"a table of {len(grid):,} rows: {inputs.said}; target {', '.join(map(repr, chosen.names))} "
        f"({chosen.why}) as {target[2]}"
    )
    if not options.target:
        taken += f"; another with --target {shlex.quote(rest[-1])}"
    if grid.commas:
        taken += "; commas in numbers are read as decimal points"
    if given is not None:
        taken += f"; splits by column {split!r}"
    return RawDataset(
        source=inputs.source,
        inputs={inputs.name: inputs.input},
        target=target[0],
        truth=truth,
        given=given,
        groups=groups,
        recognised_as=taken,
        findings=inputs.findings,
        files=dict(inputs.files),
        aside=inputs.aside,
    )


def _splits(grid: Grid, name: str) -> np.ndarray | None:
    """(N,) index into SPLITS, or None where the column holds something else."""
    words = [cell.lower() for cell in grid.column(name)]
    if not set(words) & set(_SPLIT_WORDS):
        return None
    given = np.array([_SPLIT_WORDS.get(word, -1) for word in words])
    problems = Problems(grid)
    wrong = np.nonzero(given < 0)[0].tolist()
    if wrong:
        problems.cells(name, wrong, "{} is no split", f"Write {', '.join(SPLITS)}.")
    elif not (given == 0).any():
        problems.column(f"no row of column {name!r} says train", "Say train in the rows to learn from.")
    problems.finish()
    return given


def _groups(grid: Grid, name: str) -> np.ndarray:
    if name not in grid.names:
        raise UsageError(f"No column is called {name!r}, so it cannot be the group", nearest(name, list(grid.names)))
    problems = Problems(grid)
    cells = look(grid.column(name))
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing:
        problems.cells(name, missing, "the group is missing", "Fill the cells of the group.")
    problems.finish()
    place: dict[str, int] = {}
    return np.array([place.setdefault(cell, len(place)) for cell in grid.column(name)], dtype=np.int64)


def _vectors(
    grid: Grid, names: Sequence[str], problems: Problems, options: OpenOptions, train: np.ndarray | None
) -> Inputs:
    """Numbers and categories; what identifies a row instead of describing it is left out, and said."""
    impute = _impute(options)
    known: dict[str, Cells] = {}
    columns: list[Column] = []
    findings: list[Finding] = []
    imputed: dict[str, int] = {}
    for name in names:
        text = grid.column(name)
        cells = look(text)
        left_out = _left_out(grid, name, cells)
        if left_out is not None:
            findings.append(left_out)
            continue
        before = problems.count
        if bool(cells.missing.all()):
            problems.column(f"column {name!r} is empty", "Take the empty column out of the table.")
            continue
        report(name, cells, problems, impute)
        if problems.count > before:
            continue
        known[name] = cells
        columns.append(learn(name, text, cells, train, impute))
        if cells.missing.any():
            imputed[name] = int(cells.missing.sum())
        if text.count(text[0]) == len(text):
            findings.append(
                Finding(
                    kind="constant-column",
                    where=(name,),
                    remedy="It tells nothing: take it out.",
                    message=f"Column {name!r} is {text[0]!r} in every row.",
                )
            )
    problems.finish()
    if not columns:
        raise DataError(
            f"{grid.where} leaves no input beside the target: " + "; ".join(finding.message for finding in findings),
            "Add columns that describe the rows.",
        )
    if imputed:
        findings.append(
            Finding(
                kind="imputed",
                severity="note",
                count=sum(imputed.values()),
                where=tuple(imputed),
                message='Missing cells were filled with the column\'s median, or the category "missing": '
                + ", ".join(f"{count} in {name!r}" for name, count in list(imputed.items())[:5])
                + ".",
            )
        )
    values = encode(grid, columns, known)
    words = sum(column.categories is not None for column in columns)
    said = f"{len(columns) - words} columns of numbers" + (f" and {words} of categories" if words else "")
    dtype = str(values.dtype).removeprefix("torch.")
    input = Input(modality="vector", shape=(values.shape[1],), dtype=dtype, columns=tuple(columns))
    return Inputs(
        source=Array(values, _row_names(len(values))), input=input, name="vector", said=said, findings=tuple(findings)
    )


def _row_names(count: int) -> list[str]:
    return [f"row {k}" for k in range(1, count + 1)]


def _impute(options: OpenOptions) -> bool:
    if options.impute not in (None, "median"):
        raise UsageError(f"Nothing is known to impute by {options.impute!r}", "Give --impute median, or leave it out.")
    return options.impute == "median"


def _left_out(grid: Grid, name: str, cells: Cells) -> Finding | None:
    """Why a column is no input: texts that are all different, too many, or a count of the rows."""
    text = grid.column(name)
    if cells.values is not None:
        counting = cells.values[0] + np.arange(len(text))
        if name.lower() not in _COUNTS_ROWS or len(text) < 3 or not np.array_equal(cells.values, counting):
            return None
        message, remedy = f"Column {name!r} only counts the rows and is left out.", "Rename it if it is a measurement."
    else:
        different = len(set(text))
        if different <= MOST_CATEGORIES and (different < len(text) or len(text) == 1):
            return None
        if bool(cells.missing.all()):
            return None
        if different == len(text):
            message = f"Column {name!r} holds a different text in every row and is left out."
        else:
            message = f"Column {name!r} holds {different:,} different texts, over {MOST_CATEGORIES}, and is left out."
        remedy = "Take it out of the table, or write it as numbers or as fewer categories."
    return Finding(kind="ignored-column", message=message, remedy=remedy, where=(name,))


def read_rows(path: Path | TextIO, spec: Spec) -> tuple[list[str], Tensor]:
    """New rows for a model that was trained on a table, in the order of the file.

    Args:
        path: a CSV or JSONL file, or an open text file; the target may be absent, other columns are not looked at.
        spec: what the model was trained on.
    Returns:
        names of the rows, and (N, D) values encoded as in training.
    Raises:
        DataError: a column that is needed and not there, a bad or missing cell, a category never seen.
    """
    columns = spec.input.columns
    if not columns:
        raise DataError(f"The model reads no table but {spec.modality}", "Give it what it was trained on.")
    needed = [column.name for column in columns]
    grid = read_grid(path, needed)
    if not grid.header and len(grid.names) == len(needed) and all(name.startswith("column ") for name in needed):
        grid = dataclasses.replace(grid, names=tuple(needed))  # the target's column is not there to be counted
    absent = [name for name in needed if name not in grid.names]
    if absent:
        raise DataError(
            f"{grid.where} lacks column {', '.join(map(repr, absent[:5]))}"
            + (f" and {len(absent) - 5} more" if len(absent) > 5 else ""),
            nearest(absent[0], list(grid.names)),
        )
    values = encode(grid, columns)
    return _row_names(len(values)), values.to(getattr(torch, spec.input.dtype))


FORMAT = Format("table", recognises, open_raw)
