"""Sequences in a table: each row is a step, and the rows of one id are one sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Input, Spec
from snellen.data.cache import LineCallback
from snellen.data.check.identities import column_findings
from snellen.data.formats import OpenOptions
from snellen.data.formats.array_layout import plural
from snellen.data.formats.table_columns import TableProblems, parse_cells, parse_numbers
from snellen.data.formats.table_images import TableInputs
from snellen.data.formats.table_rows import encode_rows
from snellen.data.formats.table_text import TableText, is_number, read_table
from snellen.data.source import ArraySource


def sequence_columns(table: TableText, options: OpenOptions) -> list[str]:
    """The columns of --sequence-id and --time, if they are given.

    Raises:
        UsageError: a column does not exist, or there is a time without an id.
    """
    if options.time is not None and options.sequence_id is None:
        raise UsageError("--time orders the steps of sequences, and --sequence-id is missing", "Give both.")
    names = [name for name in (options.sequence_id, options.time) if name is not None]
    for name in names:
        if name not in table.names:
            raise UsageError(f"{table.where} has no column {name!r}", suggest_name(name, list(table.names)))
    return names


def group_rows(table: TableText, id_name: str, time_name: str | None) -> dict[str, np.ndarray]:
    """The rows of each sequence, by its id, in the order of the times, or of the file.

    Raises:
        DataError: a missing id, a time that is neither a number nor a date, or two equal times in a sequence.
    """
    problems = TableProblems(table)
    ids = table.column(id_name)
    missing = np.nonzero(parse_cells(ids).missing)[0].tolist()
    if missing:
        problems.cells(id_name, missing, "the id of the sequence is missing", "Fill the cells.")
    times = np.arange(len(table), dtype=np.float64) if time_name is None else _times(table, time_name, problems)
    problems.finish()
    members: dict[str, list[int]] = {}
    first_of: dict[str | Decimal, str] = {}
    for row, id in enumerate(ids):  # numbers by their value: 3 and 3.0 are one id
        members.setdefault(first_of.setdefault(by_value(id), id), []).append(row)
    rows_of = {}
    for id, rows in members.items():
        order = np.array(rows)[np.argsort(times[rows], kind="stable")]
        equal = np.nonzero(np.diff(times[order]) == 0)[0]
        if len(equal):
            lines = [table.lines[row] for row in order[equal[0] : equal[0] + 2]]
            raise DataError(
                f"{table.where}: the sequence {id!r} has two steps at the {time_name} "
                f"{table.column(str(time_name))[order[equal[0]]]!r}, in the lines {lines[0]} and {lines[1]}",
                "Give each step of a sequence its own time.",
            )
        rows_of[id] = order
    return rows_of


def by_value(id: str) -> str | Decimal:
    """An id, or its value if it is a number."""
    return Decimal(id) if is_number(id) else id


def _times(table: TableText, name: str, problems: TableProblems) -> np.ndarray:
    """(N,) float64 times: numbers, or seconds of ISO dates."""
    text = table.column(name)
    cells = parse_numbers(text)
    assert cells.values is not None
    times, bad = cells.values, np.nonzero(np.isnan(cells.values))[0].tolist()
    if 2 * len(bad) > len(text):  # dates
        times, bad = np.zeros(len(text)), []
        for row, cell in enumerate(text):
            try:
                date = datetime.fromisoformat(cell)
                times[row] = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError, OSError):
                bad.append(row)
    if bad:
        problems.cells(name, bad, "{} is neither a number nor a date such as 2024-05-31", "Correct the cells.")
    return times


def as_sequences(table: TableText, inputs: TableInputs, constant: Sequence[str], options: OpenOptions) -> TableInputs:
    """The rows of each id as one sequence, padded with NaN after its end; `rows` is the first of each.

    Args:
        inputs: of the rows.
        constant: columns with one value for each sequence: its target, split and group.
    Raises:
        DataError: such a column has two values in a sequence; see also `group_rows`.
    """
    assert options.sequence_id is not None
    rows_of = group_rows(table, options.sequence_id, options.time)
    for name in constant:
        cells = table.column(name)
        for id, rows in rows_of.items():
            other = next((row for row in rows.tolist() if cells[row] != cells[rows[0]]), None)
            if other is not None:
                raise DataError(
                    f"{table.where}: {name!r} is {cells[rows[0]]!r} in line {table.lines[rows[0]]} and "
                    f"{cells[other]!r} in line {table.lines[other]}, which belong to the sequence {id!r}",
                    "Give one value to all steps of a sequence, or name another column.",
                )
    assert isinstance(inputs.source, ArraySource)
    values = inputs.source.values
    lengths = [len(rows) for rows in rows_of.values()]
    padded = torch.full((len(rows_of), max(lengths), values.shape[1]), torch.nan, dtype=values.dtype)
    for k, rows in enumerate(rows_of.values()):
        padded[k, : len(rows)] = values[torch.from_numpy(rows)]
    (row,) = inputs.inputs.values()
    steps = str(lengths[0]) if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
    sequence = Input(
        modality="sequence",
        shape=(lengths[0] if len(set(lengths)) == 1 else None, values.shape[1]),
        dtype=row.dtype,
        columns=row.columns,
        sequence_id=options.sequence_id,
        time=options.time or "",
    )
    order = f"column {options.time!r}" if options.time else "the file (another: --time COLUMN)"
    return dataclasses.replace(
        inputs,
        source=ArraySource(padded, [f"{options.sequence_id} {id}" for id in rows_of]),
        inputs={"sequence": sequence},
        description=f"{len(rows_of):,} sequences of {plural(steps, 'step')}, by column {options.sequence_id!r} in the "
        f"order of {order}: {inputs.description}",
        rows=np.array([rows[0] for rows in rows_of.values()]),
    )


def with_identity_findings(
    table: TableText, inputs: TableInputs, names: Sequence[str], splits: np.ndarray | None
) -> TableInputs:
    """Inputs with the findings about columns of persons. splits: (rows,) index in SPLITS of each row, or None."""
    assert inputs.rows is not None
    first = inputs.rows.tolist()
    given = None if splits is None else splits[inputs.rows]
    findings = []
    for name in names:
        cells = table.column(name)
        findings += column_findings(name, [cells[row] for row in first], given, "column")
    return dataclasses.replace(inputs, findings=(*inputs.findings, *findings))


def read_sequences(file: Path | TextIO, spec: Spec, announce: LineCallback) -> Iterator[tuple[str, Tensor]]:
    """Read the sequences of a table for a model that was trained on one, each with its id.

    Raises:
        DataError: a missing column, a bad cell, or another number of steps than the model reads.
    """
    one = spec.input
    needed = [one.sequence_id, *([one.time] if one.time else []), *(column.name for column in one.columns)]
    table = read_table(file, needed)
    absent = [name for name in needed if name not in table.names]
    if absent:
        raise DataError(
            f"{table.where} has no column {', '.join(map(repr, absent[:5]))}",
            suggest_name(absent[0], list(table.names)),
        )
    values = encode_rows(table, spec, announce)
    for id, rows in group_rows(table, one.sequence_id, one.time or None).items():
        if one.shape[0] not in (None, len(rows)):
            raise DataError(
                f"{table.where}: the sequence {id!r} has {plural(len(rows), 'step')}, the model reads {one.shape[0]}",
                "Give sequences of that length.",
            )
        yield f"{one.sequence_id} {id}", values[torch.from_numpy(rows)]
