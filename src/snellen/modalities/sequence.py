"""Sequences: arrays (N, T, D) in NPY, NPZ and HDF5 files, and as JSON in requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.formats.array_files import HDF5, NPZ, array_to_tensor, open_arrays
from snellen.data.formats.array_layout import split_and_role
from snellen.data.formats.arrays import INPUT_NAMES
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
from snellen.modalities.sample_files import write_npz
from snellen.modalities.strict_json import parse_json

SUFFIXES = (".npy", *NPZ, *HDF5)


def read_sequences(path: Path, spec_input: Input) -> Iterator[tuple[str, Tensor]]:
    """Read the sequences (T, D) of a file, each with its name.

    The inputs are the arrays with the name of an input ("x"), else all that have the shape of the model's inputs.

    Raises:
        DataError: an unreadable file, no array with the shape of the inputs, NaN or infinity.
    """
    arrays = _read_npy(path) if path.suffix.lower() == ".npy" else _read_named(path, spec_input)
    for name, values in arrays:
        x = values[None] if values.ndim == 2 else values
        if not _fits(x.shape, spec_input):
            raise DataError(f"{name} has the shape {values.shape}; {_expected(spec_input)}", "Give such an array.")
        if x.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {x.dtype}, not numbers", "Save it as integers or floats.")
        if x.dtype.kind == "f" and not bool(np.isfinite(x).all()):
            raise DataError(f"{name} holds NaN or infinity", "Fix or remove these sequences.")
        for k, sequence in enumerate(_at_depth(array_to_tensor(x), spec_input)):
            yield (name if values.ndim == 2 else f"{name}[{k}]"), sequence


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
    try:
        with open_regular(path) as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Write it with numpy.save.") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is no NPY file", "Write it with numpy.save.")
    yield str(path), values


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
    return files_with(folder, SUFFIXES, "array file")


def _read_chunks(paths: Iterator[Path], spec: Spec, problems: dict[str, str]) -> Iterator[list[Sample]]:
    """Read the sequences of array files in batches; files that cannot be read are recorded in `problems`."""
    for path in paths:
        samples: list[Sample] = []
        try:
            for sample in read_sequences(path, spec.input):
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
    sample_writers={".npz": write_npz},
    upload_defaults={"max_bytes": 4 << 20, "max_inputs": 10_000},
)
