"""Sequences, points, clips and volumes: arrays in NPY, NPZ and HDF5 files, and as JSON in requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.formats.array_files import HDF5, NPZ, ArrayFile, array_to_tensor, open_arrays
from snellen.data.formats.array_layout import split_and_role
from snellen.data.formats.arrays import INPUT_NAMES
from snellen.data.formats.ragged_arrays import LENGTH_NAMES
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
from snellen.modalities.strict_json import parse_json

SUFFIXES = (".npy", *NPZ, *HDF5)
NamedArray = tuple[str, np.ndarray, np.ndarray | None]  # name, samples, and their lengths if they have several


def read_samples(path: Path, spec_input: Input) -> Iterator[Sample]:
    """Read the samples of a file, each with its name.

    The inputs are the arrays with the name of an input ("x"), else all that have the shape of the model's inputs.

    Raises:
        DataError: an unreadable file, no array with the shape of the inputs, NaN or infinity.
    """
    arrays = _read_npy(path) if path.suffix.lower() == ".npy" else _read_named(path, spec_input)
    for name, values, lengths in arrays:
        if lengths is not None:
            yield from _of_lengths(name, values, lengths, spec_input)
            continue
        layout = _layout(values.shape, spec_input)
        if layout is None:
            raise DataError(f"{name} has the shape {values.shape}; {_expected(spec_input)}", "Give such an array.")
        is_one, (source, target) = layout.is_one, layout.moved
        x = np.moveaxis(values.reshape(layout.shape), source, target)
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
        if not _fits((1, *x.shape), spec_input):
            raise DataError(f"{name}[{k}] has the shape {x.shape}; {_expected(spec_input)}", "Give such sequences.")
        yield f"{name}[{k}]", _at_depth(array_to_tensor(x), spec_input)


def _at_depth(x: Tensor, spec_input: Input) -> Tensor:
    """Values at the depth of the training data, or at their own if that is deeper."""
    dtype: torch.dtype = getattr(torch, spec_input.dtype)
    return x.to(dtype) if torch.promote_types(x.dtype, dtype) == dtype else x


def _expected(spec_input: Input) -> str:
    sides = (axis if side is None else str(side) for axis, side in zip(spec_input.axes, spec_input.shape, strict=True))
    return f"the model reads arrays (N, {', '.join(sides)}): {', '.join(spec_input.axes)} after the samples"


def _fits(shape: Sequence[int], spec_input: Input) -> bool:
    """Whether an array holds samples of the input; axes of varying length are not empty."""
    return len(shape) == 1 + len(spec_input.axes) and all(
        known == side or (known is None and side > 0) for known, side in zip(spec_input.shape, shape[1:], strict=True)
    )


class _Layout(NamedTuple):
    """How an array is read as samples.

    is_one: it is one sample. shape: with the axes of samples and of channels. moved: position of the axis of channels
    there, and where it is in the input.
    """

    is_one: bool
    shape: tuple[int, ...]
    moved: tuple[int, int] = (0, 0)


def _layout(shape: Sequence[int], spec_input: Input) -> _Layout | None:
    """The layout of an array with samples of the input, or with one; None if it has none.

    Samples of one channel need no axis of channels, which may also be the last, as in the data that was trained on.
    """
    channel = 1 + spec_input.feature_axis
    for is_one, full in ((False, tuple(shape)), (True, (1, *shape))):
        if _fits(full, spec_input):
            return _Layout(is_one, full)
        if "channel" not in spec_input.axes or len(full) <= channel:
            continue
        if _fits(with_channel := (*full[:channel], 1, *full[channel:]), spec_input):
            return _Layout(is_one, with_channel)
        if _fits((*full[:channel], full[-1], *full[channel:-1]), spec_input):
            return _Layout(is_one, full, (-1, channel))
    return None


def _read_npy(path: Path) -> Iterator[NamedArray]:
    try:
        with open_regular(path) as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Write it with numpy.save.") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is no NPY file", "Write it with numpy.save.")
    yield str(path), values, None


def _read_named(path: Path, spec_input: Input) -> Iterator[NamedArray]:
    file = open_arrays(path)
    fitting = [name for name, shape in file.shapes.items() if _layout(shape, spec_input) is not None]
    named = [name for name in fitting if split_and_role(name)[1] in INPUT_NAMES]
    if not fitting:
        raise DataError(
            f"{path} has no array of inputs: it holds {file.listing()}; {_expected(spec_input)}", "Give such an array."
        )
    for name in named or fitting:
        yield f"{path}: {name}", file.read(name), _lengths_of(file, name, spec_input)


def _lengths_of(file: ArrayFile, name: str, spec_input: Input) -> np.ndarray | None:
    """The lengths of sequences beside their array, if there are any."""
    split, _ = split_and_role(name)
    names = [other for other in file.shapes if split_and_role(other) in ((split, word) for word in LENGTH_NAMES)]
    return file.read(names[0]) if names and "time" in spec_input.axes and file.is_numeric(name) else None


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read the samples of array files; files that cannot be read are recorded in `problems`."""
    yield from batches_of_one_shape(_read_chunks(list_paths(arguments, problems, _arrays_of), spec, problems))


def _arrays_of(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    return files_with(folder, SUFFIXES, "array file")


def _read_chunks(paths: Iterator[Path], spec: Spec, problems: dict[str, str]) -> Iterator[list[Sample]]:
    """Read the samples of array files in batches; files that cannot be read are recorded in `problems`."""
    for path in paths:
        samples: list[Sample] = []
        try:
            for sample in read_samples(path, spec.input):
                samples.append(sample)
                if len(samples) == BATCH:
                    yield samples
                    samples = []
        except DataError as error:
            problems[str(path)] = error.cause.removeprefix(f"{path} ")
        if samples:
            yield samples


def array_modality(noun: str, draw_map: Callable[[Tensor], Tensor] | None = None, map_layout: str = "") -> Modality:
    """A kind of input that is stored in arrays; requests hold samples as nested lists of numbers.

    Args:
        noun: samples, in the plural; the key of a request's JSON.
        draw_map, map_layout: see `Modality`.
    """
    form = f'Send {{"{noun}": [...]}}: samples as nested lists of numbers, one level for each axis.'

    def read_uploads(
        files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
    ) -> Iterator[NamedBatch]:
        """Read samples of JSON. Raises MalformedJSON, TooManyInputs; DataError: for samples of another shape."""
        remaining = limits.max_inputs
        for file in files:
            plain = parse_json(file.content, form)
            if not isinstance(plain, dict) or list(plain) != [noun] or not isinstance(plain[noun], list):
                raise MalformedJSON(f"The JSON has no {noun}", form)
            remaining -= len(plain[noun])
            if remaining < 0:
                raise TooManyInputs(
                    f"There are more than {limits.max_inputs:,} {noun}", "Split them into several requests."
                )
            samples = [
                (f"{file.name}[{k}]", _parse(f"{file.name}[{k}]", sample, spec.input, form))
                for k, sample in enumerate(plain[noun])
            ]
            if not samples:
                raise MalformedJSON(f"The JSON has no {noun}", form)
            yield from batches_of_one_shape([samples[k : k + BATCH] for k in range(0, len(samples), BATCH)])

    def json_schema(spec: Spec, max_inputs: int) -> dict[str, Any]:
        """JSON schema of a request."""
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
        example_files=lambda spec: [f"{noun}.json"],
        describe=describe,
        describe_size=sides,
        sample_shape=shape_of_data,
        draw_map=draw_map,
        map_layout=map_layout,
        upload_defaults={"max_bytes": 4 << 20, "max_inputs": 10_000},
    )


def _parse(name: str, plain: object, spec_input: Input, form: str) -> Tensor:
    """Numbers of one sample. Raises DataError."""
    try:
        x = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is not a list of lists of equally many numbers", form) from None
    if not _fits((1, *x.shape), spec_input) or not bool(np.isfinite(x).all()):
        raise DataError(f"{name} has the shape {x.shape}; {_expected(spec_input)}", form)
    return _at_depth(array_to_tensor(x), spec_input)


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """Length of each axis; None where it varies."""
    return {_PLURAL.get(axis, axis): side for axis, side in zip(spec.input.axes, spec.input.shape, strict=True)}


_PLURAL = {"time": "steps", "feature": "features", "point": "points", "channel": "channels"}
SEQUENCE = array_modality("sequences", draw_map=strips, map_layout="time from left to right")
POINTS = array_modality("clouds")
CLIP = array_modality("clips")
VOLUME = array_modality("volumes", draw_map=slices, map_layout="slices along z from left to right")
