"""Sequences: arrays (N, T, D) in NPY, NPZ and HDF5 files, one in a text file, and as JSON in requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, suggest_name
from snellen.core.spec import Future, Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.formats.array_files import HDF5, NPZ, array_to_tensor, open_arrays
from snellen.data.formats.array_layout import split_and_role
from snellen.data.formats.arrays import INPUT_NAMES
from snellen.data.formats.recording_arrays import NPY, read_npy, read_recordings
from snellen.data.formats.series_text import SUFFIXES as TEXT
from snellen.data.formats.series_text import read_series
from snellen.modalities.modality import (
    BATCH,
    MalformedJSON,
    Modality,
    NamedBatch,
    Sample,
    TooManyInputs,
    Upload,
    UploadLimits,
    batches_of_one_shape,
    shape_of_data,
    sides,
)
from snellen.modalities.paths import files_with, list_paths
from snellen.modalities.strict_json import parse_json

SUFFIXES = (*NPY, *NPZ, *HDF5, *TEXT)


def read_sequences(path: Path, spec: Spec) -> Iterator[tuple[str, Tensor]]:
    """Read the sequences (T, D) of a file, each with its name; of a recording to forecast, its last window.

    The inputs are the arrays with the name of an input ("x"), else all that have the shape of the model's inputs. A
    text file is one sequence.

    Raises:
        DataError: an unreadable file, no array with the shape of the inputs, too few steps, NaN or infinity.
    """
    spec_input, suffix = spec.input, path.suffix.lower()
    if suffix in TEXT:
        arrays: Iterable[tuple[str, np.ndarray]] = [(str(path), _read_text(path, spec))]
    elif isinstance(spec.target, Future):
        arrays = ((str(path) if name == path.name else f"{path}: {name}", x) for name, _, x in read_recordings(path))
    else:
        arrays = _read_npy(path) if suffix == ".npy" else _read_named(path, spec_input)
    for name, values in arrays:
        x = values[None] if values.ndim == 2 else values
        if isinstance(spec.target, Future):
            x = _last_window(name, x, spec_input)
        if not _fits(x.shape, spec_input):
            raise DataError(f"{name} has the shape {values.shape}; {_expected(spec_input)}", "Give such an array.")
        if x.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {x.dtype}, not numbers", "Save it as integers or floats.")
        if x.dtype.kind == "f" and not bool(np.isfinite(x).all()):
            raise DataError(f"{name} holds NaN or infinity", "Fix or remove these sequences.")
        for k, sequence in enumerate(_at_depth(array_to_tensor(x), spec_input)):
            yield (name if values.ndim == 2 else f"{name}[{k}]"), sequence


def _last_window(name: str, x: np.ndarray, spec_input: Input) -> np.ndarray:
    """(1, window, D) of a recording (1, T, D). Raises DataError for too few steps."""
    window = spec_input.shape[0] or 1
    if x.shape[1] < window:
        raise DataError(
            f"{name} has {x.shape[1]:,} steps, a forecast is made from the last {window:,}", "Give a longer recording."
        )
    return x[:, -window:]


def _read_text(path: Path, spec: Spec) -> np.ndarray:
    """(T, D) numbers of a text file, in the columns of the training data.

    Raises:
        DataError: unreadable, or without one of the columns.
    """
    series = read_series(path)
    names = spec.target.names if isinstance(spec.target, Future) else ()
    if not series.has_header or not names or all(name == f"column {k}" for k, name in enumerate(names, 1)):
        return series.values
    missing = [name for name in names if name not in series.names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}", suggest_name(missing[0], list(series.names)))
    return series.values[:, [series.names.index(name) for name in names]]


def _at_depth(x: Tensor, spec_input: Input) -> Tensor:
    """Values at the depth of the training data, or at their own if that is deeper."""
    dtype: torch.dtype = getattr(torch, spec_input.dtype)
    return x.to(dtype) if torch.promote_types(x.dtype, dtype) == dtype else x


def _expected(spec_input: Input) -> str:
    steps, features = spec_input.shape
    return f"the model reads sequences (N, {'T' if steps is None else steps}, {features})"


def _fits(shape: Sequence[int], spec_input: Input) -> bool:
    return len(shape) == 3 and all(
        known in (None, side) for known, side in zip(spec_input.shape, shape[1:], strict=True)
    )


def _read_npy(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    yield str(path), read_npy(path)


def _read_named(path: Path, spec_input: Input) -> Iterator[tuple[str, np.ndarray]]:
    file = open_arrays(path)
    fitting = [
        name
        for name, shape in file.shapes.items()
        if _fits(shape, spec_input) or (len(shape) == 2 and _fits((1, *shape), spec_input))
    ]
    named = [name for name in fitting if split_and_role(name)[1] in INPUT_NAMES]
    if not fitting:
        raise DataError(
            f"{path} has no array of inputs: it holds {file.listing()}; {_expected(spec_input)}", "Give such an array."
        )
    for name in named or fitting:
        yield f"{path}: {name}", file.read(name)


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read the sequences of array files; files that cannot be read are recorded in `problems`."""
    yield from batches_of_one_shape(_read_chunks(list_paths(arguments, problems, _arrays_of), spec, problems))


def _arrays_of(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    return files_with(folder, SUFFIXES, "array or text file")


def _read_chunks(paths: Iterator[Path], spec: Spec, problems: dict[str, str]) -> Iterator[list[Sample]]:
    """Read the sequences of array files in batches; files that cannot be read are recorded in `problems`."""
    for path in paths:
        samples: list[Sample] = []
        try:
            for sample in read_sequences(path, spec):
                samples.append(sample)
                if len(samples) == BATCH:
                    yield samples
                    samples = []
        except DataError as error:
            problems[str(path)] = error.cause.removeprefix(f"{path} ")
        if samples:
            yield samples


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Read sequences of JSON, {"sequences": [[[number of each feature], ...steps], ...]}.

    Raises:
        MalformedJSON, TooManyInputs. DataError: for sequences of another shape.
    """
    remaining = limits.max_inputs
    for file in files:
        plain = parse_json(file.content, _FORM)
        if not isinstance(plain, dict) or list(plain) != ["sequences"] or not isinstance(plain["sequences"], list):
            raise MalformedJSON("The JSON has no sequences", _FORM)
        remaining -= len(plain["sequences"])
        if remaining < 0:
            raise TooManyInputs(
                f"There are more than {limits.max_inputs:,} sequences", "Split them into several requests."
            )
        samples = [
            (f"{file.name}[{k}]", _parse_sequence(f"{file.name}[{k}]", sequence, spec.input))
            for k, sequence in enumerate(plain["sequences"])
        ]
        if not samples:
            raise MalformedJSON("The JSON has no sequences", _FORM)
        yield from batches_of_one_shape([samples[k : k + BATCH] for k in range(0, len(samples), BATCH)])


def _parse_sequence(name: str, plain: object, spec_input: Input) -> Tensor:
    """(T, D) numbers of one sequence. Raises DataError."""
    try:
        x = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is not a list of steps of equally many numbers", _FORM) from None
    if not _fits((1, *x.shape), spec_input) or not bool(np.isfinite(x).all()):
        raise DataError(f"{name} has the shape {x.shape}; {_expected(spec_input)}", _FORM)
    return _at_depth(array_to_tensor(x), spec_input)


_FORM = 'Send {"sequences": [[[NUMBER, ...], ...], ...]}: steps of one number for each feature.'


def json_schema(spec: Spec, max_inputs: int) -> dict[str, Any]:
    """JSON schema of a request with sequences."""
    steps, features = spec.input.shape
    step = {"type": "array", "minItems": features, "maxItems": features, "items": {"type": "number"}}
    length = {"minItems": 1} if steps is None else {"minItems": steps, "maxItems": steps}
    sequences = {
        "type": "array",
        "minItems": 1,
        "maxItems": max_inputs,
        "items": {"type": "array", **length, "items": step},
    }
    return {"type": "object", "required": ["sequences"], "properties": {"sequences": sequences}}


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """Numbers of steps and features; None: any number of steps."""
    steps, features = spec.input.shape
    return {"steps": steps, "features": features}


SEQUENCE = Modality(
    noun="sequences",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=("application/json",),
    json_schema=json_schema,
    example_files=lambda spec: ["sequences.json"],
    axis_names=("batch", "time", "feature"),
    describe=describe,
    describe_size=sides,
    sample_shape=shape_of_data,
    upload_defaults={"max_bytes": 4 << 20, "max_inputs": 10_000},
)
