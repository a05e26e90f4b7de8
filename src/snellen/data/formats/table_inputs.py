"""Columns of a table that are inputs on request: an image and numbers of each row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snellen.core.errors import UsageError, suggest_name
from snellen.data.formats import OpenOptions
from snellen.data.formats.table_columns import TableProblems, parse_cells
from snellen.data.formats.table_images import ImageColumn, TableInputs, image_inputs
from snellen.data.formats.table_text import TableText, rows_of
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import Source


def requested_inputs(table: TableText, requested: Sequence[str], free: Sequence[str]) -> list[str]:
    """The columns of --inputs. Raises UsageError unless each is a column that is neither target, split nor group."""
    for name in requested:
        if name not in table.names:
            raise UsageError(f"No column is called {name!r}", suggest_name(name, list(table.names)))
        if list(requested).count(name) > 1:
            raise UsageError(f"--inputs names the column {name!r} twice", "Name each column once.")
        if name not in free:
            raise UsageError(f"The column {name!r} is the target, the split or the group", "Omit it in --inputs.")
    return list(requested)


def image_and_numbers(
    path: Path,
    files: Sequence[Path],
    table: TableText,
    image: ImageColumn,
    names: Sequence[str],
    options: OpenOptions,
    read_vectors: Callable[..., TableInputs],
    train: np.ndarray | None,
) -> TableInputs:
    """Two inputs of each row: an image, and a vector of the other columns. A row may lack one of them.

    Args:
        path, files: see `image_inputs`.
        names: the columns that are inputs.
        read_vectors: table, names, problems and `train` to the vectors.
        train: (N,) bool, the rows of the training split; None without given splits.
    """
    others = [name for name in names if name != image.name]
    has_image = np.array([bool(cell) for cell in table.column(image.name)])
    has_row = ~np.stack([parse_cells(table.column(name)).missing for name in others]).all(0)
    problems = TableProblems(table)
    if (neither := np.nonzero(~has_image & ~has_row)[0].tolist()) or not has_image.any():
        problems.cells(image.name, neither, "the row has neither an image nor numbers", "Remove these rows.")
    problems.finish()
    with_image, with_row = np.nonzero(has_image)[0], np.nonzero(has_row)[0]
    images = image_inputs(path, files, rows_of(table, with_image.tolist()), image, [image.name], options)
    if len(images.source) != len(with_image):
        raise UsageError("An image of several pages beside other inputs is not read", "Give --pages first or max.")
    own_table = rows_of(table, with_row.tolist())
    own_train = None if train is None else train[with_row]
    row = read_vectors(own_table, others, TableProblems(own_table), train=own_train)
    sources: dict[str, Source] = {}
    positions, inputs = {}, {}
    for name, one, present in ((image.name, images, with_image), ("row", row, with_row)):
        (of_input,) = one.inputs.values()
        sources[name] = one.source
        positions[name] = np.full(len(table), -1, np.int64)
        positions[name][present] = np.arange(len(present))
        inputs[name] = dataclasses.replace(of_input, optional=len(present) < len(table))
    lacking = " and ".join(
        f"{len(table) - len(present):,} rows without {what}"
        for what, present in (("image", with_image), ("numbers", with_row))
        if len(present) < len(table)
    )
    return TableInputs(
        source=SeveralInputs(sources, positions, [f"line {line}" for line in table.lines]),
        inputs=inputs,
        description=f"{images.description} and {row.description}" + (f", {lacking}" if lacking else ""),
        findings=(*images.findings, *row.findings),
        files=images.files,
        skipped=images.skipped,
    )
