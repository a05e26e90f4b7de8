"""Sequences, points, clips and volumes: arrays in NPY, NPZ and HDF5 files, and as JSON in requests."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.core.spec import Future, Input, Preprocessing, Spec
from snellen.data.cache import LineCallback, ignore_line
from snellen.data.formats.array_files import HDF5, NPZ, ArrayFile, array_to_tensor, open_arrays, to_axis_order
from snellen.data.formats.array_layout import order_of_axes, split_and_role
from snellen.data.formats.arrays import INPUT_NAMES
from snellen.data.formats.json_sequences import SUFFIXES as JSON_LINES
from snellen.data.formats.json_sequences import input_keys, read_lines, steps_of
from snellen.data.formats.ragged_arrays import LENGTH_NAMES
from snellen.data.formats.recording_arrays import read_npy
from snellen.data.formats.series_text import SUFFIXES as TEXT
from snellen.data.formats.table_columns import to_exact
from snellen.data.formats.table_sequences import read_sequences
from snellen.data.formats.table_text import SUFFIXES as TABLES
from snellen.data.formats.table_wide import has_row_steps, read_wide_rows
from snellen.modalities.drawing import draw_clip, draw_volume
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
from snellen.modalities.place_maps import slices, strips
from snellen.modalities.recording_files import is_recording, read_recording_file, suffixes_in
from snellen.modalities.sample_files import write_npz
from snellen.modalities.series_files import is_series, read_series_json
from snellen.modalities.series_files import json_form as series_form
from snellen.modalities.series_files import json_schema as series_schema
from snellen.modalities.step_lines import read_steps
from snellen.modalities.strict_json import parse_json

SUFFIXES = (".npy", *NPZ, *HDF5)
FileReaders = Mapping[str, Callable[[str, IO[bytes], Input], Tensor]]  # suffix to reader, see `array_modality`
NamedArray = tuple[str, np.ndarray, np.ndarray | None]  # name, samples, and their lengths if they have several


def read_samples(path: Path, spec: Spec) -> Iterator[Sample]:
    """Read the samples of a file, each with its name; of recordings to forecast the last window of each.

    The inputs are the arrays with the name of an input ("x"), else all that have the shape of the model's inputs.

    Raises:
        DataError: an unreadable file, no array with the shape of the inputs, NaN or infinity.
    """
    spec_input = spec.input
    if spec_input.sequence_id and path.suffix.lower() in TABLES and not is_series(spec):
        yield from ((name, _at_depth(x, spec_input)) for name, x in read_sequences(path, spec, ignore_line))
        return
    if has_row_steps(spec_input) and path.suffix.lower() in TABLES:
        yield from read_wide_rows(path, spec, ignore_line)
        return
    arrays: Iterator[NamedArray]
    if path.suffix.lower() in JSON_LINES and spec_input.axes == ("time", "feature") and not is_recording(path, spec):
        yield from _read_json_lines(path, spec_input)
        return
    if path.suffix.lower() not in SUFFIXES and not is_recording(path, spec):
        raise DataError(f"{path} is no array file; {_expected(spec_input)}", f"Give {', '.join(SUFFIXES)}.")
    if is_recording(path, spec):
        arrays = ((name, values, None) for name, values in read_recording_file(path, spec))
    else:
        arrays = _read_npy(path) if path.suffix.lower() == ".npy" else _read_named(path, spec_input)
    for name, values, lengths in arrays:
        if lengths is not None:
            yield from _of_lengths(name, values, lengths, spec_input)
            continue
        batch = _in_axes_of_model(values, spec_input)
        if batch is None:
            raise DataError(f"{name} has the shape {values.shape}; {_expected(spec_input)}", "Give such an array.")
        x, is_one = batch
        if not len(x):
            raise DataError(f"{name} holds no samples: its shape is {values.shape}", "Give such an array.")
        if x.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {x.dtype}, not numbers", "Save it as integers or floats.")
        if x.dtype.kind == "f" and not bool(np.isfinite(x).all()):
            raise DataError(f"{name} holds NaN or infinity", "Fix or remove these samples.")
        for k, sample in enumerate(_at_depth(array_to_tensor(x), spec_input)):
            yield (name if is_one else f"{name}[{k}]"), sample


def _of_lengths(name: str, values: np.ndarray, lengths: np.ndarray, spec_input: Input) -> Iterator[Sample]:
    """Sequences of several lengths, padded (N, T, D) or one after another (sum of the lengths, D).

    Raises:
        DataError: lengths that do not fit, NaN or infinity within a sequence.
    """
    whole = lengths.ndim == 1 and lengths.dtype.kind in "iu" and bool((lengths > 0).all())
    flat = whole and values.ndim == 2 and int(lengths.sum()) == len(values)
    padded = whole and values.ndim == 3 and len(lengths) == len(values) and int(lengths.max()) <= values.shape[1]
    if not (flat or padded):
        raise DataError(
            f"{name} has the shape {values.shape}, its lengths {lengths.shape} do not fit it",
            "Give one length for each sequence, at least 1 and at most its steps.",
        )
    starts = np.cumsum([0, *lengths])
    for k, length in enumerate(lengths.tolist()):
        x = values[k, :length] if padded else values[starts[k] : starts[k + 1]]
        if not bool(np.isfinite(x).all()):
            raise DataError(f"{name}[{k}] holds NaN or infinity", "Fix or remove this sequence.")
        if _order((1, *x.shape), spec_input) is None:
            raise DataError(f"{name}[{k}] has the shape {x.shape}; {_expected(spec_input)}", "Give such sequences.")
        yield f"{name}[{k}]", _at_depth(array_to_tensor(x), spec_input)


def _read_json_lines(path: Path, spec_input: Input) -> Iterator[Sample]:
    """The sequence of each line. Raises DataError for one of another shape than the model reads."""
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        keys = input_keys(line)
        if not keys:
            raise DataError(f"{where} holds no list of steps", 'Write {"x": [[0.1, 0.2], [0.3, 0.4]]} in each line.')
        x = steps_of(f"{where}: {keys[0]}", line[keys[0]])
        if _order((1, *x.shape), spec_input) is None:
            raise DataError(f"{where} has the shape {x.shape}; {_expected(spec_input)}", "Give such sequences.")
        yield where, _at_depth(to_exact(x), spec_input)


def _at_depth(x: Tensor, spec_input: Input) -> Tensor:
    """Values at the depth of the training data, or at their own if that is deeper."""
    dtype: torch.dtype = getattr(torch, spec_input.dtype)
    return x.to(dtype) if torch.promote_types(x.dtype, dtype) == dtype else x


def _expected(spec_input: Input) -> str:
    sides = (axis if side is None else str(side) for axis, side in zip(spec_input.axes, spec_input.shape, strict=True))
    return f"the model reads arrays (N, {', '.join(sides)}): {', '.join(spec_input.axes)} after the samples"


def _order(shape: Sequence[int], spec_input: Input) -> tuple[int, ...] | None:
    """The order of the axes of an array of samples of the input; None where it holds none."""
    return order_of_axes(shape, spec_input.modality, spec_input.shape)


def _in_axes_of_model(values: np.ndarray, spec_input: Input) -> tuple[np.ndarray, bool] | None:
    """Samples (N, ...) in the axes of the model, and whether the array was one sample; None for any other array."""
    for x, is_one in ((values, False), (values[None], True)):
        order = _order(x.shape, spec_input)
        if order is not None:
            return to_axis_order(x, order), is_one
    return None


def _read_npy(path: Path) -> Iterator[NamedArray]:
    yield str(path), read_npy(path), None


def _read_named(path: Path, spec_input: Input) -> Iterator[NamedArray]:
    file = open_arrays(path)
    fitting = [
        name for name, shape in file.shapes.items() if _order(shape, spec_input) or _order((1, *shape), spec_input)
    ]
    named = [name for name in fitting if split_and_role(name)[1] in INPUT_NAMES]
    if not fitting:
        raise DataError(
            f"{path} has no array of inputs: it holds {file.listing()}; {_expected(spec_input)}", "Give such an array."
        )
    for name in named or fitting:
        yield f"{path}: {name}", file.read(name), _lengths_of(file, name, spec_input)


def _lengths_of(file: ArrayFile, name: str, spec_input: Input) -> np.ndarray | None:
    """The lengths of sequences or clouds beside their array, if there are any."""
    split, _ = split_and_role(name)
    names = [other for other in file.shapes if split_and_role(other) in ((split, word) for word in LENGTH_NAMES)]
    return file.read(names[0]) if names and spec_input.axes[1:] == ("feature",) and file.is_numeric(name) else None


def _read_chunks(
    paths: Iterator[Path], spec: Spec, problems: dict[str, str], readers: FileReaders
) -> Iterator[list[Sample]]:
    """Read the samples of files in batches; files that cannot be read are recorded in `problems`."""
    for path in paths:
        samples: list[Sample] = []
        reader = readers.get(path.suffix.lower())
        try:
            for sample in read_samples(path, spec) if reader is None else _read_one(path, reader, spec.input):
                samples.append(sample)
                if len(samples) == BATCH:
                    yield samples
                    samples = []
        except DataError as error:
            problems[str(path)] = error.cause.removeprefix(str(path)).lstrip(" ,:")
        if samples:
            yield samples


def _read_one(path: Path, reader: Callable[[str, IO[bytes], Input], Tensor], spec_input: Input) -> Iterator[Sample]:
    try:
        with open_regular(path) as file:
            yield str(path), _at_depth(reader(path.name, file, spec_input), spec_input)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}", "Check its permissions.") from error


def read_arrays(
    arguments: Sequence[str], spec: Spec, problems: dict[str, str], noun: str, readers: FileReaders | None = None
) -> Iterator[NamedBatch]:
    """Read the samples of files; files that cannot be read are recorded in `problems`."""
    text = (*TEXT, *JSON_LINES) if spec.input.axes == ("time", "feature") else ()

    def list_folder(folder: Path, _: dict[str, str]) -> Iterator[Path]:
        is_future = isinstance(spec.target, Future)
        suffixes = suffixes_in(folder, spec) if is_future else (*SUFFIXES, *text, *(readers or {}))
        return files_with(folder, suffixes, f"file of {noun}")

    paths = list_paths(arguments, problems, list_folder)
    yield from batches_of_one_shape(_read_chunks(paths, spec, problems, readers or {}))


def array_modality(
    noun: str,
    readers: FileReaders | None = None,
    draw: Callable[[Tensor, Input], Tensor] | None = None,
    draw_map: Callable[[Tensor], Tensor] | None = None,
    map_layout: str = "",
    lengths: Callable[[Tensor, Input], Tensor] | None = None,
) -> Modality:
    """A kind of input that is stored in arrays; requests hold samples as nested lists of numbers.

    Args:
        noun: samples, in the plural; the key of a request's JSON.
        readers: of files of one sample, by suffix: name, content and input to the sample. Raises DataError.
        draw, draw_map, map_layout, lengths: as in `Modality`; the lengths are numbers of steps.
    """
    files_of_one = readers or {}

    def read_files(
        arguments: Sequence[str],
        spec: Spec,
        preprocessing: Preprocessing,
        problems: dict[str, str],
        announce: LineCallback,
    ) -> Iterator[NamedBatch]:
        """Read the samples of files; files that cannot be read are recorded in `problems`."""
        yield from read_arrays(arguments, spec, problems, noun, readers)

    form_of_arrays = f'Send {{"{noun}": [...]}}: samples as nested lists of numbers, one level for each axis.'

    def read_uploads(
        files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
    ) -> Iterator[NamedBatch]:
        """Read samples of JSON, or files. Raises MalformedJSON, TooManyInputs; DataError: for other samples."""
        remaining = limits.max_inputs
        form, key = (series_form(spec), "series") if is_series(spec) else (form_of_arrays, noun)
        for file in files:
            if (reader := files_of_one.get(Path(file.name).suffix.lower())) is not None:
                remaining -= 1
                if remaining < 0:
                    raise _too_many(limits, noun)
                yield [file.name], _read_upload(file, reader, spec.input)[None]
                continue
            plain = parse_json(file.content, form)
            if is_series(spec) and isinstance(plain, dict) and list(plain) == ["series"]:
                remaining -= len(plain["series"]) if isinstance(plain["series"], list) else 1
                if remaining < 0:
                    raise _too_many(limits, "series")
                windows: list[Sample] = [
                    (name, _at_depth(array_to_tensor(x), spec.input))
                    for name, x in read_series_json(file.name, plain["series"], spec)
                ]
                yield from batches_of_one_shape([windows[k : k + BATCH] for k in range(0, len(windows), BATCH)])
                continue
            if not isinstance(plain, dict) or list(plain) != [noun] or not isinstance(plain[noun], list):
                raise MalformedJSON(f"The JSON has no {key}", form)
            remaining -= len(plain[noun])
            if remaining < 0:
                raise _too_many(limits, noun)
            samples = [
                (f"{file.name}[{k}]", _parse(f"{file.name}[{k}]", sample, spec.input, form))
                for k, sample in enumerate(plain[noun])
            ]
            if not samples:
                raise MalformedJSON(f"The JSON has no {key}", form)
            yield from batches_of_one_shape([samples[k : k + BATCH] for k in range(0, len(samples), BATCH)])

    def json_schema(spec: Spec, max_inputs: int) -> dict[str, Any]:
        """JSON schema of a request."""
        if is_series(spec):
            return series_schema(spec, max_inputs)
        items: dict[str, Any] = {"type": "number"}
        for side in reversed(spec.input.shape):
            length = {"minItems": 1} if side is None else {"minItems": side, "maxItems": side}
            items = {"type": "array", **length, "items": items}
        samples = {"type": "array", "minItems": 1, "maxItems": max_inputs, "items": items}
        return {"type": "object", "required": [noun], "properties": {noun: samples}}

    return Modality(
        noun=noun,
        read_files=read_files,
        read_uploads=read_uploads,
        content_types=("application/json",),
        json_schema=json_schema,
        example_files=lambda spec: ["series.json" if is_series(spec) else f"{noun}.json"],
        describe=describe,
        describe_size=sides,
        sample_shape=shape_of_data,
        sample_writers={".npz": write_npz},
        draw_map=draw_map,
        map_layout=map_layout,
        upload_defaults={"max_bytes": 4 << 20, "max_inputs": 10_000},
        draw=draw,
        lengths=lengths,
        length_unit="steps" if lengths is not None else "",
    )


def _too_many(limits: UploadLimits, noun: str) -> TooManyInputs:
    return TooManyInputs(f"There are more than {limits.max_inputs:,} {noun}", "Split them into several requests.")


def _read_upload(file: Upload, reader: Callable[[str, IO[bytes], Input], Tensor], spec_input: Input) -> Tensor:
    try:
        return _at_depth(reader(file.name, io.BytesIO(file.content), spec_input), spec_input)
    except DataError as error:
        raise DataError(f"{file.name} {error.cause}", error.remedy) from error


def _parse(name: str, plain: object, spec_input: Input, form: str) -> Tensor:
    """Numbers of one sample. Raises DataError."""
    other = _no_number(plain)
    if other is not None:
        raise DataError(f"{name} holds {json.dumps(other[0])}, not a number", form)
    try:
        x = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is not a list of lists of equally many numbers", form) from None
    order = _order((1, *x.shape), spec_input)
    if not bool(np.isfinite(x).all()):
        raise DataError(f"{name} holds a number beyond the range of float64", form)
    if order is None:
        raise DataError(f"{name} has the shape {x.shape}; {_expected(spec_input)}", form)
    return _at_depth(array_to_tensor(to_axis_order(x[None], order)), spec_input)[0]


def _no_number(plain: object) -> list[object] | None:
    """The first value in nested lists that is no number, in a list; None where all are."""
    for value in plain if isinstance(plain, list) else [plain]:
        if isinstance(value, list):
            if (other := _no_number(value)) is not None:
                return other
        elif isinstance(value, bool) or not isinstance(value, int | float):
            return [value]
    return None


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """Length of each axis; None where it varies."""
    return {_PLURAL.get(axis, axis): side for axis, side in zip(spec.input.axes, spec.input.shape, strict=True)}


_PLURAL = {"time": "steps", "feature": "features", "point": "points", "channel": "channels"}


def sequence_lengths(x: Tensor, spec_input: Input) -> Tensor:
    """(B,) steps of sequences (B, T, D), NaN after the end of each."""
    return (~x.isnan().any(2)).sum(1)


SEQUENCE = replace(
    array_modality("sequences", draw_map=strips, map_layout="time from left to right", lengths=sequence_lengths),
    read_steps=read_steps,
)
CLIP = array_modality("clips", draw=draw_clip)
VOLUME = array_modality("volumes", draw=draw_volume, draw_map=slices, map_layout="slices along z from left to right")
