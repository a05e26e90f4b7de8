"""Steps of sequences as lines of text, for predictions as they arrive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, short_repr, suggest_name
from snellen.core.spec import Column, Future, Spec
from snellen.data.formats.table_text import is_number

_CELLS = re.compile(r"\s*[,;\t]\s*|\s+")
_FORM = "Write the numbers of one step on each line, separated by commas or spaces, or as a JSON list."


def read_steps(lines: Iterable[str], spec: Spec) -> Iterator[Tensor | None]:
    """Read a step (D,) from each line, at the depth of the training data; None for an empty line.

    A first line of a sequence without numbers is a header: columns are then taken by the names of the training data,
    where it has names, and others are left out. A JSON object gives its columns by name.

    Raises:
        DataError: a line that holds no step of the model, with its number.
        UsageError: a model of motion, whose files are resampled; one that reads features known in advance, which a line
            cannot have.
    """
    target = spec.target
    if isinstance(target, Future) and target.skeleton is not None:
        raise UsageError(
            "The model forecasts motion, whose files are resampled to the steps of the model: a line has no frame rate",
            "Give files of motion.",
        )
    if isinstance(target, Future) and target.known:
        calendar = len(target.time_steps.calendar) if target.time_steps is not None else 0
        options = ["with --no-calendar"] * (calendar > 0) + ["without --known"] * (target.known > calendar)
        raise UsageError(
            f"The model reads {', '.join(target.input_names[-target.known :])} {target.steps:,} steps in advance: "
            "a line does not have them",
            f"Train {' and '.join(options)} to predict as the steps arrive; or give a file with the past"
            + (" and the rows of the steps to forecast." if target.known > calendar else "."),
        )
    columns = _columns(spec)
    names = [column.name for column in columns]
    places: list[int] | None = None  # of the columns in a line; None: in their order
    width, has_steps = None, False
    for number, line in enumerate(lines, 1):
        text = (line.removeprefix("\ufeff") if number == 1 else line).strip()
        if not text:
            places = width = None
            yield None
            continue
        where = f"line {number:,}"
        has_steps = True
        if text.startswith("{"):
            yield _encode(where, _cells_by_name(where, text, names), columns, spec)
            continue
        cells = _cells(where, text)
        if width is None and not any(map(is_number, cells)) and _is_header(cells, columns):
            places, width, has_steps = _places(cells, names), len(cells), False
            continue
        width = width or len(columns)
        if len(cells) != width:
            raise DataError(f"{where} has {len(cells):,} cells, not {width:,}", _FORM)
        yield _encode(where, cells if places is None else [cells[k] for k in places], columns, spec)
    if not has_steps:
        raise DataError("There is no step on standard input", _FORM)


def _columns(spec: Spec) -> Sequence[Column]:
    """The columns of a step: those of a table, else numbers with the names of the features, "" where they have none."""
    if spec.input.columns:
        return spec.input.columns
    names = spec.target.input_names if isinstance(spec.target, Future) else ("",) * (spec.input.shape[1] or 1)
    return [Column(name=name) for name in names]


def _is_header(cells: Sequence[str], columns: Sequence[Column]) -> bool:
    """Whether a first line without numbers is a header: not a step of categories only."""
    return any(column.categories is None for column in columns) or set(cells) >= {column.name for column in columns}


def _places(header: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The places of the columns in a line, None for their order. Raises DataError for a missing one."""
    if not all(names) or all(name == f"column {k}" for k, name in enumerate(names, 1)):
        if len(header) != len(names):
            raise DataError(f"line 1 has {len(header):,} cells, a step has {len(names):,} numbers", _FORM)
        return None
    missing = [name for name in names if name not in header]
    if missing:
        raise DataError(f"The header has no column {short_repr(missing[0])}", suggest_name(missing[0], list(header)))
    return [header.index(name) for name in names]


def _cells(where: str, text: str) -> list[str]:
    if not text.startswith("["):
        return [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in _CELLS.split(text)]
    plain = _json(where, text)
    if not isinstance(plain, list) or any(isinstance(cell, list | dict) for cell in plain):
        raise DataError(f"{where} is no list of numbers", _FORM)
    return [_cell(value) for value in plain]


def _cells_by_name(where: str, text: str, names: Sequence[str]) -> list[str]:
    plain = _json(where, text)
    assert isinstance(plain, dict)
    if not all(names):
        raise DataError(f"{where} has names, the features of the model have none", _FORM)
    missing = [name for name in names if name not in plain]
    if missing:
        raise DataError(f"{where} has no {short_repr(missing[0])}", suggest_name(missing[0], list(plain)))
    return [_cell(plain[name]) for name in names]


def _json(where: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON: {error}", _FORM) from error


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _encode(where: str, cells: Sequence[str], columns: Sequence[Column], spec: Spec) -> Tensor:
    """(D,) of the cells of a step. Raises DataError, which names the first that cannot be read."""
    values: list[float] = []
    for cell, column in zip(cells, columns, strict=True):
        name = f"{where}: {column.name}".removesuffix(": ")
        if column.categories is not None:
            if cell not in column.categories:
                raise DataError(f"{name} is {short_repr(cell)}", suggest_name(cell, list(column.categories)))
            values += [float(category == cell) for category in column.categories]
        elif is_number(cell) and np.isfinite(float(cell)):
            values.append(float(cell))
        elif column.fill is not None and not cell:
            values.append(column.fill)
        else:
            raise DataError(f"{name} is {short_repr(cell)}, not a number", _FORM)
    if len(values) != spec.input.shape[1]:
        raise DataError(f"{where} has {len(values):,} numbers, the model reads {spec.input.shape[1]:,}", _FORM)
    dtype: torch.dtype = getattr(torch, spec.input.dtype)
    x = torch.tensor(values, dtype=torch.float64)
    return x.to(dtype) if bool((x == x.to(dtype).double()).all()) or dtype.is_floating_point else x
