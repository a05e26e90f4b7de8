"""Tables with one sequence in each row: the features of the first step, then those of the second, and so on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input, Spec
from snellen.data.cache import LineCallback
from snellen.data.formats.array_layout import plural
from snellen.data.formats.table_images import TableInputs
from snellen.data.formats.table_rows import read_rows
from snellen.data.source import ArraySource


def rows_as_sequences(where: str, inputs: TableInputs, steps: int) -> TableInputs:
    """The rows as sequences of `steps` steps.

    Raises:
        UsageError: fewer than two steps, or inputs that are images.
        DataError: the number of columns is no multiple of the steps, or some are categories.
    """
    row = next(iter(inputs.inputs.values()))
    if not isinstance(inputs.source, ArraySource) or row.axes != ("feature",):
        raise UsageError("--row-steps reads columns of numbers as the steps of a sequence", "Omit --row-steps.")
    if steps < 2:
        raise UsageError(f"--row-steps {steps} is no number of steps of a sequence", "Give at least 2.")
    text = [column.name for column in row.columns if column.categories is not None]
    if text:
        raise DataError(
            f"{where}: column {text[0]!r} holds categories, --row-steps needs numbers",
            "Name the columns of numbers with --inputs.",
        )
    width = row.shape[0] or 0
    if width % steps:
        raise DataError(
            f"{where}: {width} columns of numbers are no multiple of --row-steps {steps}",
            "Give the number of steps in a row, or name the columns of the steps with --inputs.",
        )
    features = width // steps
    source = inputs.source
    sequence = Input(modality="sequence", shape=(steps, features), dtype=row.dtype, columns=row.columns)
    return dataclasses.replace(
        inputs,
        source=ArraySource(source.values.view(-1, steps, features), source.names, near_copies=source.near_copies),
        inputs={"sequence": sequence},
        description=f"each row as a sequence of {plural(steps, 'step')} of {plural(features, 'feature')}: "
        f"{inputs.description}",
    )


def has_row_steps(spec_input: Input) -> bool:
    """Whether the sequences are the rows of a table."""
    steps, features = (*spec_input.shape, None)[:2] if spec_input.axes == ("time", "feature") else (None, None)
    return bool(steps and features and steps > 1 and len(spec_input.columns) == steps * features)


def read_wide_rows(path: Path, spec: Spec, announce: LineCallback) -> Iterator[tuple[str, Tensor]]:
    """Read the rows of a table for a model that was trained on sequences in rows. Raises DataError, see `read_rows`."""
    names, values = read_rows(path, spec, announce)
    steps, features = spec.input.shape
    assert steps is not None
    assert features is not None
    yield from zip((f"{path}: {name}" for name in names), values.view(-1, steps, features), strict=True)
