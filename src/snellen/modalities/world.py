"""Observations of a world: typed states, rows of tables, and requests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import DataError, short_repr
from snellen.core.spec import Actions, Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.modalities import vector
from snellen.modalities.modality import Modality, NamedBatch, Upload, UploadLimits, shape_of_data, sides
from snellen.modalities.strict_json import parse_json


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read typed states, "2,3" or a JSON list of states, and rows of tables."""
    for argument in arguments:
        is_typed = argument.lstrip().startswith("[") or all(map(_is_number, argument.split(",")))
        if is_typed and not os.path.lexists(argument):
            yield _typed_states(argument, spec)
            continue
        for names, x in vector.read_files([argument], spec, preprocessing, problems, announce):
            yield names, checked_states(names, x, spec)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed_states(argument: str, spec: Spec) -> NamedBatch:
    """States of one argument: numbers, or JSON of one state or of several."""
    form = _form(spec.input)
    if argument.lstrip().startswith("["):
        plain: Any = parse_json(argument.encode(), form)
        states: list[Any] = plain if plain and all(isinstance(state, list) for state in plain) else [plain]
    else:
        states = [argument.split(",")]
    try:
        rows = [[_as_number(value) for value in state] for state in states]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{short_repr(argument)} is no state", form) from None
    if not rows or any(len(row) != spec.input.shape[0] for row in rows):
        raise DataError(f"{short_repr(argument)} is no state of {spec.input.shape[0]} numbers", form)
    names = [argument] if len(rows) == 1 else [",".join(f"{value:g}" for value in row) for row in rows]
    return names, checked_states(names, torch.tensor(rows, dtype=torch.float64), spec)


def _as_number(value: Any) -> float:
    """A number, of JSON or as text. Raises ValueError for true and false, which Python counts as numbers."""
    if isinstance(value, bool):
        raise ValueError(value)
    return float(value)


def _form(spec_input: Input) -> str:
    names = ",".join(_names(spec_input))
    zeros = ",".join("0" for _ in _names(spec_input))
    return f"Give {names} of a state, such as {zeros}, or JSON of several: [[{zeros}]]."


def _names(spec_input: Input) -> list[str]:
    """Names of the features of a state."""
    return [column.name for column in spec_input.columns] or [f"x{k + 1}" for k in range(spec_input.shape[0] or 0)]


def checked_states(names: Sequence[str], x: Tensor, spec: Spec) -> Tensor:
    """(B, D) states at the depth of the input.

    Raises:
        DataError: for a value that is no level of its feature, or a cell of the board in which no action is taken.
    """
    spec_input = spec.input
    if not bool(x.isfinite().all()):
        raise DataError(f"{names[int((~x.isfinite()).any(1).nonzero()[0])]} holds NaN or infinity", _form(spec_input))
    for k, level in enumerate(spec_input.levels):
        wrong = ((x[:, k] != x[:, k].round()) | (x[:, k] < 0) | (x[:, k] >= level)).nonzero()[:, 0]
        if len(wrong):
            value = float(x[wrong[0], k])
            raise DataError(
                f"{names[int(wrong[0])]}: {_names(spec_input)[k]} cannot be {value:g}",
                f"Give a whole number from 0 to {level - 1}.",
            )
    board = spec.target.board if isinstance(spec.target, Actions) else ()
    for name, cell in zip(names, x.long().tolist() if board else (), strict=bool(board)):
        mark = board[cell[0]][cell[1]]
        if mark not in Actions.acting:
            what = "is a wall" if mark == "#" else f"is the cell {mark}, which ends the episode"
            raise DataError(f"{name} {what}: no action is taken there", "Give a free cell.")
    return x.to(getattr(torch, spec_input.dtype))


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Read rows of uploaded tables or of JSON, one state each."""
    for names, x in vector.read_uploads(files, spec, preprocessing, limits):
        yield names, checked_states(names, x, spec)


WORLD = Modality(
    noun="episodes",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=vector.VECTOR.content_types,
    json_schema=vector.json_schema,
    example_files=lambda spec: ["states.csv"],
    describe=vector.describe,
    describe_size=sides,
    sample_shape=shape_of_data,
    upload_defaults=vector.VECTOR.upload_defaults,
)
