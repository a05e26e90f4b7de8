"""Sequences in JSON lines (JSONL): one line for each, {"x": [[...], ...], "label": "..."}, of any number of steps.

"x" holds a list of steps, each a list of equally many numbers, or one number. The target is a string (a class) or a
number; a key "split" gives the split of a line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, short_repr, suggest_name
from snellen.core.input_files import open_regular
from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.cache import available_memory
from snellen.data.check.identities import column_findings
from snellen.data.dataset import RawDataset
from snellen.data.formats import NO_TARGET, Format, OpenOptions
from snellen.data.formats.array_layout import SPLIT_WORDS, plural
from snellen.data.formats.arrays import INPUT_NAMES, TARGET_NAMES, read_target
from snellen.data.formats.table_columns import to_exact
from snellen.data.formats.table_targets import KINDS
from snellen.data.formats.table_text import reject_constant, unique_names
from snellen.data.source import ArraySource

SUFFIXES = (".jsonl", ".ndjson")
_SNIFFED = 1 << 20  # bytes in which the first line is looked for
_FORM = 'Write one line for each sequence: {"x": [[0.1, 0.2], [0.3, 0.4]], "label": "a"}, with numbers only in x.'


def recognises(path: Path) -> bool:
    """Whether the first line of a JSONL file is an object that holds a list of numbers or of lists under an input's
    name."""
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        return False
    try:
        with open_regular(path) as file:
            start = file.read(_SNIFFED).lstrip(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return False
    line, _, rest = start.partition(b"\n")
    if not rest and len(start) >= _SNIFFED:  # a long sequence: its line is not complete
        return line.startswith(b"{") and b"[[" in line[:200].replace(b" ", b"")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and any(isinstance(first.get(name), list) for name in input_keys(first))


def input_keys(line: dict[str, Any]) -> list[str]:
    """Keys of lists, those that are named as inputs are first."""
    keys = [key for key, value in line.items() if isinstance(value, list)]
    return sorted(
        keys, key=lambda key: INPUT_NAMES.index(key.lower()) if key.lower() in INPUT_NAMES else len(keys) + 99
    )


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that is not empty. Raises DataError for a line that is no JSON object."""
    try:
        with open_regular(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                    content = json.loads(text, object_pairs_hook=unique_names, parse_constant=reject_constant)
                except (ValueError, RecursionError) as error:
                    raise DataError(
                        f"{path}, line {number}: the JSON cannot be parsed: {str(error)[:100]}", _FORM
                    ) from error
                if not isinstance(content, dict):
                    raise DataError(f"{path}, line {number} is no object, but {short_repr(content)}", _FORM)
                yield number, content
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Check its permissions.") from error


def steps_of(where: str, value: object) -> np.ndarray:
    """(T, D) float64 of the steps of one line. Raises DataError, which names the first step that is no numbers."""
    if value is None:
        raise DataError(f"{where} is missing", _FORM)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} is {short_repr(value)}, not a list of steps", _FORM)
    rows = [step if isinstance(step, list) else [step] for step in value]
    for k, (row, step) in enumerate(zip(rows, value, strict=True), 1):
        if len(row) != len(rows[0]) or not row or isinstance(step, list) is not isinstance(value[0], list):
            raise DataError(
                f"{where}: step 1 has {plural(len(rows[0]), 'number')}, step {k} has "
                f"{len(row) if isinstance(step, list) else 'no list'}",
                _FORM,
            )
        if any(isinstance(cell, bool) or not isinstance(cell, int | float) or not _is_finite(cell) for cell in row):
            raise DataError(f"{where}: step {k} is {short_repr(step)}, not numbers", _FORM)
    return np.array(rows, dtype=np.float64)


def _is_finite(cell: int | float) -> bool:
    try:
        return math.isfinite(float(cell))
    except OverflowError:
        return False


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Sequences of the lines, padded with NaN after the end of each.

    Raises:
        DataError: a line that is no sequence, another number of features, a missing target.
        UsageError: the target or the group is not a key.
    """
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no JSONL file", f"Give a file that ends in {' or '.join(SUFFIXES)}.")
    lines = list(read_lines(path))
    if not lines:
        raise DataError(f"{path} holds no sequences", _FORM)
    key = next(iter(input_keys(lines[0][1])), None)
    if key is None:
        raise DataError(f"{path}, line {lines[0][0]} holds no list of steps", _FORM)
    target, kind = _target_key(path, lines[0][1], key, options)
    sequences = []
    for number, line in lines:
        sequences.append(steps_of(f"{path}, line {number}: {key}", line.get(key)))
        if sequences[-1].shape[1] != sequences[0].shape[1]:
            raise DataError(
                f"{path}, line {number} has {plural(sequences[-1].shape[1], 'feature')}, line {lines[0][0]} has "
                f"{sequences[0].shape[1]}",
                "Give all sequences the same features.",
            )
    values = padded(path, sequences)
    lengths = [len(one) for one in sequences]
    read = None
    if target is not None:
        cells = _column(path, lines, target, "target")
        read = read_target(f"{path}: {target}", _as_array(path, lines, target, cells), (target,), kind)
    given = _splits(path, lines) if "split" in lines[0][1] and target != "split" else None
    groups = None
    if options.group is not None:
        if options.group not in lines[0][1]:
            names = [name for name in lines[0][1] if name != key]
            raise UsageError(
                f"{path} has no key {options.group!r}, so it cannot be the group", suggest_name(options.group, names)
            )
        places: dict[str, int] = {}
        cells = _column(path, lines, options.group, "group")
        groups = np.array([places.setdefault(json.dumps(cell), len(places)) for cell in cells], np.int64)
    used = {key, target, options.group, "split" if given is not None else None}
    ignored = [name for name in lines[0][1] if name not in used]
    steps = f"{lengths[0]:,}" if len(set(lengths)) == 1 else f"{min(lengths):,} to {max(lengths):,}"
    kinds = {"Classes": "classes", "Numbers": "numbers", "Labels": "labels"}
    shown = "no target" if read is None else f"target {target!r} as {kinds[type(read[0]).__name__]}"
    return RawDataset(
        source=ArraySource(values, [f"line {number}" for number, _ in lines]),
        inputs={
            "sequence": Input(
                modality="sequence",
                shape=(lengths[0] if len(set(lengths)) == 1 else None, values.shape[2]),
                dtype=str(values.dtype).removeprefix("torch."),
            )
        },
        target=None if read is None else read[0],
        truth=None if read is None else read[1],
        given_splits=given,
        groups=groups,
        recognised_as=f"JSON lines: {key!r} as {len(lines):,} sequences of {plural(steps, 'step')} and "
        f"{plural(values.shape[2], 'feature')}; {shown}" + ("; splits by 'split'" if given is not None else ""),
        findings=(
            *(() if read is None else read[2]),
            *_ignored(ignored),
            *(
                f
                for name in ignored
                for f in column_findings(name, [line.get(name) for _, line in lines], given, "key")
            ),
        ),
        files={"found": 1, "used": 1},
    )


def padded(path: Path, sequences: list[np.ndarray]) -> Tensor:
    """(N, T, D) of sequences (T, D), NaN after the end of each, float32 where that is exact.

    Raises:
        DataError: they do not fit into the free memory.
    """
    longest = max(map(len, sequences))
    needed = 12 * len(sequences) * longest * sequences[0].shape[1]  # float64, and a float32 copy
    if needed > available_memory():
        raise DataError(
            f"{path}: {len(sequences):,} sequences of up to {longest:,} steps need {needed:,} bytes of memory, of "
            f"which {available_memory():,} are free",
            "Give shorter sequences, or fewer: all are padded to the longest.",
        )
    values = np.zeros((len(sequences), longest, sequences[0].shape[1]))
    outside = np.ones(values.shape[:2], bool)
    for k, one in enumerate(sequences):
        values[k, : len(one)], outside[k, : len(one)] = one, False
    exact = to_exact(values)
    exact[torch.from_numpy(outside)] = torch.nan
    return exact


def _target_key(path: Path, first: dict[str, Any], key: str, options: OpenOptions) -> tuple[str | None, str | None]:
    """The key of the target, None without one, and its kind as in --target NAME:KIND."""
    names = [name for name in first if name != key]
    if options.target == NO_TARGET:
        return None, None
    if len(options.target) > 1:
        raise UsageError(f"--target names {len(options.target)} keys; a line has one target", "Give one.")
    if options.target:
        name, _, kind = options.target[0].rpartition(":")
        if options.target[0] in names:
            return options.target[0], None
        if name in names and kind in KINDS:
            return name, kind
        raise UsageError(f"{path} has no key {options.target[0]!r}", suggest_name(options.target[0], names))
    named = [name for word in (*TARGET_NAMES, "class") for name in names if name.lower() == word]
    if not named and options.optional_target:
        return None, None
    if not named:
        raise DataError(
            f"{path} has no key of a target: {', '.join(map(repr, first))}",
            f"Name one with --target KEY, or as {', '.join(TARGET_NAMES)} or class.",
        )
    return named[0], None


def _column(path: Path, lines: list[tuple[int, dict[str, Any]]], key: str, what: str) -> list[Any]:
    """The values of a key in all lines. Raises DataError for a line without, or with a list."""
    cells = []
    for number, line in lines:
        if line.get(key) is None or isinstance(line[key], list | dict):
            shown = short_repr(line[key]) if line.get(key) is not None else "missing"
            raise DataError(
                f"{path}, line {number}: the {what} {key!r} is {shown}",
                "Give one string or number for each sequence; a target at every step needs arrays (NPZ).",
            )
        cells.append(line[key])
    return cells


def _as_array(path: Path, lines: list[tuple[int, dict[str, Any]]], key: str, cells: list[Any]) -> np.ndarray:
    """(N, 1) strings, whole numbers or float64. Raises DataError for a mixture, and for numbers beyond int64."""
    of_text = [isinstance(cell, str) for cell in cells]
    if any(of_text) and not all(of_text):
        other = of_text.index(not of_text[0])
        raise DataError(
            f"{path}: {key!r} is {short_repr(cells[0])} in line {lines[0][0]} and {short_repr(cells[other])} in line "
            f"{lines[other][0]}",
            "Give strings, which are classes, or numbers to all sequences.",
        )
    large = [k for k, cell in enumerate(cells) if isinstance(cell, int) and abs(cell) >= 1 << 63]
    if large:
        raise DataError(f"{path}, line {lines[large[0]][0]}: {key!r} exceeds the range of int64", "Write it as text.")
    return np.array(cells)[:, None]


def _splits(path: Path, lines: list[tuple[int, dict[str, Any]]]) -> np.ndarray:
    """(N,) index in SPLITS by the key "split". Raises DataError for another word, or without a training line."""
    cells = [str(cell).lower() for cell in _column(path, lines, "split", "split")]
    bad = next((k for k, cell in enumerate(cells) if cell not in SPLIT_WORDS), None)
    if bad is not None:
        raise DataError(f"{path}, line {lines[bad][0]}: {cells[bad]!r} is no split", "Write train, val or test.")
    given = np.array([SPLIT_WORDS[cell] for cell in cells], np.int64)
    if not (given == 0).any():
        raise DataError(f"{path} has no line of the split train", "Write train in the training lines.")
    return given


def _ignored(names: list[str]) -> list[Finding]:
    if not names:
        return []
    message = f"Not used: {', '.join(map(repr, names[:5]))}" + (" ..." if len(names) > 5 else ".")
    remedy = "Name another target with --target, or a group with --group."
    return [
        Finding(
            kind="ignored-column", severity="note", where=tuple(names), count=len(names), message=message, remedy=remedy
        )
    ]


FORMAT = Format("json-sequences", recognises, open_raw)
