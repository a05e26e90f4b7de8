"""Table datasets, CSV or JSONL: rows of numbers and categories, or of image names, with a target."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Classes, Column, Input, Several
from snellen.core.views import Finding
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.formats import CONSECUTIVE, NO_TARGET, Format, OpenOptions
from snellen.data.formats.array_layout import plural
from snellen.data.formats.groups import is_image_group
from snellen.data.formats.image_lists import lists_images_of
from snellen.data.formats.number_text import code_finding, forecast_hint, looks_like_finding, number_text_finding
from snellen.data.formats.one_hot import CLASSES_FILE, FILE_NAME, classes_files, read_classes_files, with_class_column
from snellen.data.formats.table_columns import (
    MAX_CATEGORIES,
    ColumnCells,
    TableProblems,
    add_bad_cells,
    encode_columns,
    equal_as_floats,
    fit_column,
    parse_cells,
)
from snellen.data.formats.table_images import ImageColumn, TableInputs, check_no_boxes, image_column, image_inputs
from snellen.data.formats.table_inputs import image_and_numbers, requested_inputs
from snellen.data.formats.table_sequences import as_sequences, sequence_columns, with_identity_findings
from snellen.data.formats.table_targets import (
    TargetColumns,
    choose_target,
    is_guessed_number,
    label_input_findings,
    read_target,
)
from snellen.data.formats.table_text import MISSING_NUMBERS, SUFFIXES, TableText, is_sample_name, read_table
from snellen.data.formats.table_wide import rows_as_sequences
from snellen.data.source import ArraySource

_SPLIT_WORDS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
MIN_REPEATS = 5  # rows of each string, from which a column may be an id of groups
_ROW_COUNTER_NAMES = ("id", "index", "row", "no", "nr", "unnamed: 0", "column 1")


def recognises(path: Path) -> bool:
    return bool(_tables_in(path))


def _tables_in(path: Path) -> list[Path]:
    """The table at a path: the file, or the only table of a folder that lists the images there or holds no others.

    Of Roboflow's one-hot tables one for each split.
    """
    if path.is_file():
        is_list = path.suffix.lower() == ".txt" and lists_images_of(path)
        return [path] if path.suffix.lower() in SUFFIXES or is_list else []
    if not path.is_dir():
        return []
    if files := classes_files(path):
        return files
    try:
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        tables = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
        if len(tables) != 1:
            return []
        if not any(is_sample_name(entry.name) or entry.is_dir() for entry in entries):
            return tables
    except OSError:
        return []
    return tables if lists_images_of(tables[0]) else []


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Rows as vectors of numbers and one-hot categories, or the images listed in a column.

    Raises:
        DataError: row and column of every cell that is missing or not a number (at most five).
        UsageError: the target or group is not a column.
    """
    files = _tables_in(path) or [path]
    if not files[0].is_file():
        raise DataError(f"{path} does not hold exactly one table", f"Give one file that ends in {', '.join(SUFFIXES)}.")
    root, is_one_hot = path if path.is_dir() else path.parent, files[0].name == CLASSES_FILE
    table = read_classes_files(root, files) if is_one_hot else read_table(files[0])
    split = next((name for name in table.names if name.lower() == "split" and name not in options.target), None)
    split_indices = _splits(table, split) if split is not None else None
    reserved = [split] if split is not None and split_indices is not None else []
    groups, group_names = None, None
    is_consecutive = options.group == CONSECUTIVE and CONSECUTIVE not in table.names
    if options.group is not None and not is_consecutive and not is_image_group(options.group, table.names):
        groups = _groups(table, options.group)
        first_rows = np.unique(groups, return_index=True)[1]  # 3 and 3.0 are one group with the name of the first
        group_names = np.array(table.column(options.group), object)[first_rows[groups]]
        reserved.append(options.group)
    reserved += [name for name in sequence_columns(table, options) if name not in reserved]
    image_names = image_column(root, table, [name for name in table.names if name not in reserved])
    image_names = ImageColumn(FILE_NAME) if image_names is None and is_one_hot else image_names
    has_target = options.target != NO_TARGET or NO_TARGET[0] in table.names
    target_columns = None if has_target else TargetColumns((), (), "by --target")
    if image_names is not None and not options.target:
        check_no_boxes(table, image_names.name)
        table, target_columns = with_class_column(table, image_names.name, reserved, is_one_hot)
    target_columns = target_columns or choose_target(
        table.names, options.target, [*reserved, *([image_names.name] if image_names is not None else [])]
    )
    if options.optional_target and is_guessed_number(table, target_columns):
        has_target, target_columns = False, TargetColumns((), (), "")
    rest = [name for name in table.names if name not in target_columns.names and name not in reserved]
    if options.inputs:
        rest = requested_inputs(table, options.inputs, rest)
    if not rest or (has_target and not target_columns.names):
        raise DataError(
            f"{table.where} has no column besides {', '.join(map(repr, (*target_columns.names, *reserved)))}",
            "Add at least one input and one target column.",
        )
    problems = TableProblems(table)
    target = read_target(table, target_columns, problems) if has_target else None
    if image_names is not None and image_names.name in rest:
        problems.finish()
        if options.inputs and len(rest) > 1:
            train = None if split_indices is None else split_indices == 0
            inputs = image_and_numbers(
                path, files, table, image_names, rest, options, partial(_vectors, options=options), train
            )
        else:
            inputs = image_inputs(path, files, table, image_names, rest, options)
    elif options.group is not None and groups is None and not is_consecutive:
        raise UsageError(
            f"--group {options.group!r} refers to image files, and the table lists no images",
            f"Name a column: {', '.join(table.names[:8])}.",
        )
    elif options.sample_rate is not None:
        raise UsageError("--sample-rate applies to recordings; the table lists none", "Omit --sample-rate.")
    else:
        inputs = _vectors(table, rest, problems, options, None if split_indices is None else split_indices == 0)
    if options.sequence_id is not None:
        constant = [*target_columns.names, *(name for name in (split, options.group) if name in reserved)]
        inputs = as_sequences(table, inputs, [name for name in constant if name is not None], options)
        inputs = with_identity_findings(table, inputs, rest if options.group is None else [], split_indices)
    elif options.row_steps is not None:
        inputs = rows_as_sequences(table.where, inputs, options.row_steps)
    assert (target is not None) is has_target  # a missing target is a problem, and problems have raised
    truth, rows = None if target is None else target[1], inputs.rows
    if rows is not None:  # each page of an image is a sample of the same row
        truth, split_indices, groups, group_names = (
            None if truth is None else truth[torch.from_numpy(rows)],
            *(None if x is None else x[rows] for x in (split_indices, groups, group_names)),
        )
        groups = inputs.groups if groups is None else groups
    summary = f"a table of {len(table):,} rows: {inputs.description}; "
    if target is None:
        by = "by --target none" if options.target else "as --task needs none; the last column is a number, and an input"
        summary += f"no target, {by}"
    else:
        names = ", ".join(map(repr, target_columns.names))
        summary += f"target {names} ({target_columns.reason}) as {target[2]}"
    others = [name for name in rest if image_names is None or name != image_names.name]
    if not options.target and others:
        summary += f"; another with --target {shlex.quote(others[-1])}"
    if table.commas:
        summary += "; decimal commas are read as points"
    if split_indices is not None:
        summary += f"; splits by column {split!r}"
    columns = [column.name for one in inputs.inputs.values() for column in one.columns]
    used = [*target_columns.names, *columns]
    kind = None if target is None else target[0]
    parts = tuple(kind.parts.values()) if isinstance(kind, Several) else (kind,) * len(target_columns.names)
    classes = [name for name, part in zip(target_columns.names, parts, strict=True) if isinstance(part, Classes)]
    labels = label_input_findings(columns) if target is None else []
    return RawDataset(
        source=inputs.source,
        inputs=inputs.inputs,
        target=kind,
        truth=truth,
        given_splits=split_indices,
        groups=groups,
        group_names=inputs.group_names if group_names is None else tuple(group_names.tolist()),
        recognised_as=summary,
        findings=(*labels, *_number_text_findings(table, used, classes), *inputs.findings),
        files=dict(inputs.files),
        skipped=inputs.skipped,
    )


def _number_text_findings(table: TableText, names: Sequence[str], classes: Sequence[str]) -> list[Finding]:
    """Notes on columns that were read as numbers, and warnings on columns of text that look like numbers or dates.

    Args:
        classes: columns of integers that are classes, which keep leading zeros.
    """
    findings = [number_text_finding(name, table.number_text[name]) for name in names if name in table.number_text]
    for name in names:
        cells = table.column(name)
        is_text = parse_cells(cells).values is None
        code = None if name in classes else code_finding(name, cells)
        warning = looks_like_finding(name, cells, MISSING_NUMBERS) if is_text else code
        findings += [] if warning is None else [warning]
    return findings


def _splits(table: TableText, name: str) -> np.ndarray | None:
    """(N,) indices into SPLITS, or None if the column holds something else."""
    n_categorical = [cell.lower() for cell in table.column(name)]
    if not set(n_categorical) & set(_SPLIT_WORDS):
        return None
    split_indices = np.array([_SPLIT_WORDS.get(word, -1) for word in n_categorical])
    problems = TableProblems(table)
    invalid = np.nonzero(split_indices < 0)[0].tolist()
    if invalid:
        problems.cells(name, invalid, "{} is not a split", f"Write {', '.join(SPLITS)}.")
    elif not (split_indices == 0).any():
        problems.column(f"no row of column {name!r} is train", "Write train in the training rows.")
    problems.finish()
    return split_indices


def _groups(table: TableText, name: str) -> np.ndarray:
    if name not in table.names:
        raise UsageError(
            f"No column is called {name!r}, so it cannot be the group", suggest_name(name, list(table.names))
        )
    problems = TableProblems(table)
    cells = parse_cells(table.column(name))
    missing = np.nonzero(cells.missing)[0].tolist()
    if missing:
        problems.cells(name, missing, "the group is missing", "Fill the cells of the group.")
    problems.finish()
    # Numbers by their value: 3 and 3.0 are one group. Decimal, because long identifiers are not exact as float64.
    values: Sequence[str | Decimal] = table.column(name)
    if cells.values is not None and not cells.bad:
        values = [Decimal(cell) for cell in table.column(name)]
    place: dict[str | Decimal, int] = {}
    return np.array([place.setdefault(value, len(place)) for value in values], dtype=np.int64)


def _vectors(
    table: TableText, names: Sequence[str], problems: TableProblems, options: OpenOptions, train: np.ndarray | None
) -> TableInputs:
    """Vectors of numbers and categories. Columns that identify rows are reported and not used."""
    impute = _impute(options)
    cells_by_name: dict[str, ColumnCells] = {}
    columns: list[Column] = []
    findings: list[Finding] = []
    imputed: dict[str, int] = {}
    for name in names:
        text = table.column(name)
        cells = parse_cells(text)
        unused = _unused_column(table, name, cells)
        if unused is not None:
            findings.append(unused)
            continue
        problems_before = problems.count
        if bool(cells.missing.all()):
            problems.column(f"column {name!r} is empty", "Remove the empty column.")
            continue
        add_bad_cells(name, cells, problems, impute)
        if problems.count > problems_before:
            continue
        cells_by_name[name] = cells
        columns.append(fit_column(name, text, cells, train, impute))
        if cells.missing.any():
            imputed[name] = int(cells.missing.sum())
        if text.count(text[0]) == len(text):
            findings.append(
                Finding(
                    kind="constant-column",
                    where=(name,),
                    remedy="Remove it: it holds no information.",
                    message=f"Column {name!r} is {text[0]!r} in every row.",
                )
            )
    problems.finish()
    if not columns:
        hints = [forecast_hint(name, table.column(name), MISSING_NUMBERS) for name in names]
        raise DataError(
            f"{table.where} has no input besides the target: " + "; ".join(finding.message for finding in findings),
            " ".join(["Add columns that describe the rows.", *filter(None, hints)]),
        )
    if imputed:
        findings.append(
            Finding(
                kind="imputed",
                severity="note",
                count=sum(imputed.values()),
                where=tuple(imputed),
                message='Missing cells are filled with the column\'s median, or the category "missing": '
                + ", ".join(f"{count} in {name!r}" for name, count in list(imputed.items())[:5])
                + ".",
            )
        )
    values = encode_columns(table, columns, cells_by_name)
    n_categorical = sum(column.categories is not None for column in columns)
    description = f"{plural(len(columns) - n_categorical, 'numeric column')}" + (
        f" and {n_categorical} categorical" if n_categorical else ""
    )
    dtype = str(values.dtype).removeprefix("torch.")
    input = Input(modality="vector", shape=(values.shape[1],), dtype=dtype, columns=tuple(columns))
    return TableInputs(
        source=ArraySource(
            values, [f"line {line}" for line in table.lines], _missing_values(columns, cells_by_name, len(values))
        ),
        inputs={"vector": input},
        description=description,
        findings=tuple(findings),
    )


def _missing_values(columns: Sequence[Column], cells_by_name: dict[str, ColumnCells], count: int) -> np.ndarray | None:
    """(N, D) bool: which of the encoded values were imputed; None if none was."""
    if not any(column.fill is not None and cells_by_name[column.name].missing.any() for column in columns):
        return None
    blocks = []
    for column in columns:
        missing = cells_by_name[column.name].missing if column.fill is not None else np.zeros(count, bool)
        blocks.append(np.repeat(missing[:, None], column.width, axis=1))
    return np.concatenate(blocks, axis=1)


def _impute(options: OpenOptions) -> bool:
    if options.impute not in (None, "median"):
        raise UsageError(f"Unknown imputation {options.impute!r}", "Give --impute median, or omit it.")
    return options.impute == "median"


def _unused_column(table: TableText, name: str, cells: ColumnCells) -> Finding | None:
    """The finding why a column is not an input: strings all distinct or too many, a row counter, numbers too long."""
    text = table.column(name)
    if (equal := equal_as_floats(text, cells)) is not None:
        message = f"Column {name!r} is not used: {equal[0]} and {equal[1]} are equal as 64-bit floats."
        remedy = "Remove a column of identifiers; of measurements, subtract a constant from all."
    elif cells.values is not None:
        counting = cells.values[0] + np.arange(len(text))
        if name.lower() not in _ROW_COUNTER_NAMES or len(text) < 3 or not np.array_equal(cells.values, counting):
            return None
        message, remedy = f"Column {name!r} only counts the rows and is not used.", "Rename it if it is a measurement."
    else:
        n_distinct = len(set(text))
        if n_distinct <= MAX_CATEGORIES and (n_distinct < len(text) or len(text) == 1):
            return None
        if bool(cells.missing.all()):
            return None
        if n_distinct == len(text):
            message = f"Column {name!r} holds a different string in every row and is not used."
        else:
            message = (
                f"Column {name!r} holds {n_distinct:,} distinct strings, more than {MAX_CATEGORIES}, and is not used."
            )
        remedy = "Remove it, or write it as numbers or as fewer categories."
        if n_distinct * MIN_REPEATS <= len(text):  # ids of groups of rows
            quoted = shlex.quote(name)
            remedy = (
                f"If its rows belong together: --group {quoted} keeps them in one split, --sequence-id {quoted} reads "
                "them as the steps of a sequence. Else remove it."
            )
        numbers = looks_like_finding(name, text, MISSING_NUMBERS)
        if numbers is not None:
            message, remedy = numbers.message.replace("is read as text", "is not used"), numbers.remedy
    return Finding(kind="ignored-column", message=message, remedy=remedy, where=(name,))


FORMAT = Format("table", recognises, open_raw)
