"""Vectors: rows of tables, in files and in requests."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from snellen.core.errors import DataError
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.formats.table_text import SUFFIXES
from snellen.modalities.arrays import read_arrays
from snellen.modalities.modality import (
    BATCH,
    MalformedJSON,
    Modality,
    NamedBatch,
    TooManyInputs,
    Upload,
    UploadLimits,
    shape_of_data,
    sides,
)
from snellen.modalities.paths import files_with, list_paths
from snellen.modalities.sample_files import write_csv, write_npz
from snellen.modalities.strict_json import parse_json

CSV_TYPES = ("text/csv", "text/tab-separated-values", "text/plain", "application/csv")
JSONL_TYPES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")
_FORM = 'Send {"rows": [{"COLUMN": VALUE, ...}, ...]}.'


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read rows of tables, "-" from standard input; with several tables, the name of a row begins with its table.

    Raises:
        DataError: for an invalid table if there is only one.
    """
    from snellen.data.formats.table_rows import read_rows

    if not spec.input.columns:  # trained on arrays
        yield from read_arrays(arguments, spec, problems, "vectors")
        return

    tables: list[Path | TextIO] = []
    for argument in arguments:
        tables += [sys.stdin] if argument == "-" else list_paths([argument], problems, _tables_of)
    for table in tables:
        try:
            names, rows = read_rows(table, spec, announce)
        except DataError as error:
            if len(tables) == 1:
                raise
            problems[_display_name(table)] = error.cause
            continue
        if len(tables) > 1:
            names = [f"{_display_name(table)}, {name}" for name in names]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], rows[start : start + BATCH]


def _display_name(table: Path | TextIO) -> str:
    return str(table) if isinstance(table, Path) else "standard input"


def _tables_of(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    return files_with(folder, SUFFIXES, "table")


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Read rows of uploaded tables, 64 at a time, as in `predict`."""
    from snellen.data.formats.table_rows import read_rows

    too_many = TooManyInputs(f"There are more than {limits.max_inputs:,} rows", "Split them into several requests.")
    if any(b'"' not in file.content and file.content.count(b"\n") > limits.max_inputs + 1 for file in files):
        raise too_many  # without quotes each line is a row: count before parsing
    remaining = limits.max_inputs
    for file in files:
        names, x = read_rows(_as_text(file), spec)
        remaining -= len(names)
        if remaining < 0:
            raise too_many
        if len(files) > 1:
            names = [f"{file.name}, {name}" for name in names]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], x[start : start + BATCH]


def _as_text(file: Upload) -> TextIO:
    if file.kind != "application/json" and not file.name.lower().endswith(".json"):
        return io.TextIOWrapper(io.BytesIO(file.content), encoding="utf-8-sig", newline="")
    plain = parse_json(file.content, _FORM)
    if isinstance(plain, dict) and list(plain) == ["rows"] and isinstance(plain["rows"], list):
        plain = plain["rows"]
    rows = plain if isinstance(plain, list) else [plain]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise MalformedJSON("The JSON has no rows", _FORM)
    return io.StringIO("\n".join(map(json.dumps, rows)))


def json_schema(spec: Spec, max_inputs: int) -> dict[str, Any]:
    """JSON schema of a request with rows."""
    row = {
        "type": "object",
        "required": [column.name for column in spec.input.columns if column.fill is None],
        "properties": {
            column.name: {"enum": list(column.categories)} if column.categories else {"type": "number"}
            for column in spec.input.columns
        },
    }
    rows = {"type": "array", "minItems": 1, "maxItems": max_inputs, "items": row}
    return {"type": "object", "required": ["rows"], "properties": {"rows": rows}}


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """The columns of a table, with their categories."""
    return {
        "columns": [
            {
                "name": column.name,
                **({"categories": list(column.categories)} if column.categories else {"type": "number"}),
            }
            for column in spec.input.columns
        ]
    }


def axis_names(spec_input: Input) -> tuple[str, ...]:
    """The names of the columns; none where a column has categories."""
    if any(column.categories is not None for column in spec_input.columns):
        return ()
    return tuple(column.name for column in spec_input.columns) or tuple(
        f"x{k}" for k in range(spec_input.shape[0] or 0)
    )


VECTOR = Modality(
    noun="rows",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=(*CSV_TYPES, *JSONL_TYPES, "application/json"),
    json_schema=json_schema,
    example_files=lambda spec: ["rows.csv"],
    describe=describe,
    describe_size=sides,
    sample_shape=shape_of_data,
    axis_names=axis_names,
    sample_writers={".csv": write_csv, ".npz": write_npz},
    upload_defaults={"max_bytes": 4 << 20, "max_inputs": 10_000},  # a table needs forty times the memory of its text
)
