"""Samples with several inputs: rows of a table, each with an image and numbers, or named arrays of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from snellen.core.errors import DataError
from snellen.core.several_tensors import SeveralTensors, is_missing
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.decode.header import UnusableFile
from snellen.data.formats.array_files import HDF5, NPZ, ArrayFile, array_to_tensor, open_arrays, to_axis_order
from snellen.data.formats.array_inputs import arrays_of_splits, present_samples
from snellen.data.formats.array_layout import order_of_axes
from snellen.data.formats.image_lists import is_outside
from snellen.data.formats.table_columns import parse_cells
from snellen.data.formats.table_images import ImageColumn, image_column
from snellen.data.formats.table_rows import encode_rows
from snellen.data.formats.table_text import SUFFIXES, TableText, read_table, rows_of
from snellen.data.image_size import input_shape
from snellen.data.source import apply_preprocessing
from snellen.modalities.image_files import read_image
from snellen.modalities.modality import BATCH, Modality, NamedBatch, Upload, UploadLimits, shape_of_data
from snellen.modalities.paths import files_with, list_paths


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read rows of tables with their images, and arrays; samples that cannot be read are recorded in `problems`."""
    suffixes = (*SUFFIXES, *NPZ, *HDF5)
    paths = list(list_paths(arguments, problems, lambda folder, _: files_with(folder, suffixes, "table or array file")))
    for path in paths:
        prefix = f"{path}, " if len(paths) > 1 else ""
        if path.suffix.lower() in (*NPZ, *HDF5):
            yield from _read_named_arrays(path, prefix, spec, preprocessing, problems)
            continue
        if of_arrays := [name for name, one in spec.inputs.items() if not (one.columns or one.has_pixels)]:
            raise DataError(
                f"{path} is a table; the input {of_arrays[0]} is an array of each sample",
                f"Give an NPZ file with the arrays {', '.join(spec.inputs)}.",
            )
        columns = [column.name for one in spec.inputs.values() for column in one.columns]
        table = read_table(path, columns)
        images = {name: image_column(path.parent, table, [name]) for name in _images(spec) if name in table.names}
        absent = [name for name in (*columns, *_images(spec)) if name not in table.names]
        if absent:
            raise DataError(
                f"{path} has no column {', '.join(map(repr, absent[:5]))}", "Give all inputs of the training data."
            )
        for start in range(0, len(table), BATCH):
            rows = list(range(start, min(start + BATCH, len(table))))
            yield from _read_rows(path, prefix, table, rows, images, spec, preprocessing, problems, announce)


def _images(spec: Spec) -> list[str]:
    return [name for name, one in spec.inputs.items() if one.has_pixels]


def _read_rows(
    path: Path,
    prefix: str,
    table: TableText,
    rows: list[int],
    image_columns: Mapping[str, ImageColumn | None],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """The rows that can be read, as one batch."""
    names = {k: f"{prefix}row {k + 1}" for k in rows}
    values: dict[str, dict[int, Tensor]] = {}  # by input and row
    reasons: dict[int, str] = {}
    for name, one in spec.inputs.items():
        of_input = spec.with_input(name)
        if one.has_pixels:
            column = image_columns[name] or ImageColumn(name)
            cells = {k: column.path(table.column(name)[k].replace("\\", "/")) for k in rows}
            present = [k for k in rows if cells[k]]
            values[name] = {}
            for k in present:
                try:
                    if is_outside(Path(cells[k])):  # type: ignore[arg-type]
                        raise UnusableFile("corrupt", "lies outside the folder of the table", "Move it there.")
                    values[name][k] = read_image(path.parent / cells[k], of_input, preprocessing)
                except UnusableFile as error:
                    reasons[k] = f"{cells[k]}: {error.cause}"
        else:
            present = [k for k in rows if has_numbers(table, [column.name for column in one.columns], k)]
            values[name] = {}
            if present:
                encoded = encode_rows(rows_of(table, present), of_input, announce)
                values[name] = dict(zip(present, encoded, strict=True))
    yield from _usable(names, values, reasons, spec, preprocessing, problems)


def _usable(
    names: Mapping[int, str],
    values: Mapping[str, Mapping[int, Tensor]],
    reasons: dict[int, str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
) -> Iterator[NamedBatch]:
    """The samples that have what the model needs, as one batch; the others are recorded in `problems`.

    Args:
        names: of the samples. values: of each input, by sample. reasons: why samples cannot be read.
    """
    for name, one in spec.inputs.items():
        if not one.optional:
            is_row = one.axes == ("feature",) and one.columns
            what = f"numbers ({', '.join(column.name for column in one.columns)})" if is_row else name
            lacking = (k for k in names if k not in values[name] and k not in reasons)
            reasons |= dict.fromkeys(lacking, f"has no {what}, which no sample lacked in training")
    for k in names:
        if not any(k in of_input for of_input in values.values()):
            reasons.setdefault(k, "has no input")
    problems.update({names[k]: reason for k, reason in reasons.items()})
    if usable := [k for k in names if k not in reasons]:
        tensors = {name: _stack(values[name], usable, spec.with_input(name), preprocessing) for name in values}
        yield [names[k] for k in usable], cast(Tensor, SeveralTensors(tensors))


def _read_named_arrays(
    path: Path, prefix: str, spec: Spec, preprocessing: Preprocessing, problems: dict[str, str]
) -> Iterator[NamedBatch]:
    """Samples of the arrays with the names of the inputs; an input that samples may lack may have no array.

    Raises:
        DataError: an array of another shape or length, NaN within a sample.
    """
    file = open_arrays(path)
    splits = arrays_of_splits(file, list(spec.inputs))
    if not splits:
        raise DataError(
            f"{path} has no array of inputs: it holds {file.listing()}",
            f"Give the arrays {', '.join(spec.inputs)}.",
        )
    for arrays in splits.values():
        values = {
            name: _samples_of(file, array, spec.with_input(name), preprocessing) for name, array in arrays.items()
        }
        counts = {arrays[name]: len(of_input) for name, (of_input, _) in values.items()}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{count:,} of {name!r}" for name, count in counts.items())
            raise DataError(f"{path} has samples of different numbers: {shown}", "Give each sample all arrays.")
        count = next(iter(counts.values()))
        places = {name: np.nonzero(present)[0] for name, (_, present) in values.items()}
        label = f"{next(iter(arrays.values()))}" if len(splits) > 1 else "sample"
        for start in range(0, count, BATCH):
            rows = range(start, min(start + BATCH, count))
            names = {k: f"{prefix}{label}[{k}]" if len(splits) > 1 else f"{prefix}sample {k}" for k in rows}
            of_rows: dict[str, dict[int, Tensor]] = {
                name: {k: values[name][0][k] for k in places[name].tolist() if k in rows} if name in values else {}
                for name in spec.inputs
            }
            yield from _usable(names, of_rows, {}, spec, preprocessing, problems)


def _samples_of(file: ArrayFile, array: str, spec: Spec, preprocessing: Preprocessing) -> tuple[Tensor, np.ndarray]:
    """The samples of one input, (N, ...), and which are present, (N,) bool. Raises DataError."""
    one, where = spec.input, f"{file.path}: {array}"
    shape = file.shapes[array]
    order = order_of_axes(shape, one.modality, one.shape)
    if one.axes == ("feature",) and len(shape) == 1 and one.shape == (1,):
        order = (-1,)
    if order is None or not file.is_numeric(array):
        sides = ", ".join(axis if n is None else str(n) for axis, n in zip(one.axes, one.shape, strict=True))
        raise DataError(
            f"{where} has the shape {shape} of {file.dtypes[array]}; the model reads (N, {sides})",
            "Give such an array of numbers.",
        )
    values = array_to_tensor(to_axis_order(file.read(array), order))
    present, _ = present_samples(where, values, one)
    return apply_preprocessing(values, preprocessing) if one.has_pixels else values, present


def has_numbers(table: TableText, names: Sequence[str], row: int) -> bool:
    """Whether a row has a value in any of the columns."""
    return any(not parse_cells([table.column(name)[row]]).missing[0] for name in names)


def _stack(values: Mapping[int, Tensor], rows: Sequence[int], spec: Spec, preprocessing: Preprocessing) -> Tensor:
    """(B, ...) values of rows, NaN for those that lack the input."""
    if all(k in values for k in rows):
        return torch.stack([values[k] for k in rows])
    own = preprocessing if spec.input.has_pixels else Preprocessing()
    known = next(iter(values.values()), None)
    missing = torch.full(input_shape(spec, own) if known is None else known.shape, torch.nan)
    return torch.stack([values[k].float() if k in values else missing for k in rows])


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Raises DataError: requests with several inputs are not read."""
    raise DataError("A model of several inputs does not answer requests", "Use snellen predict RUN FILE.")


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """The name and the modality of each input."""
    return {"inputs": {name: one.modality for name, one in spec.inputs.items()}}


def several_inputs(inputs: Mapping[str, Input], modalities: Mapping[str, Modality]) -> Modality:
    """The kind of samples with several inputs, drawn by those of the inputs that are drawn."""
    kinds = {name: modalities[one.modality].draw for name, one in inputs.items()}
    drawings = {name: draw for name, draw in kinds.items() if draw is not None}

    def draw(x: Tensor, spec_input: Input) -> Tensor:
        """Images (C, H, W) of the inputs of one sample below one another, black where one is missing."""
        assert isinstance(x, SeveralTensors)
        images = [of_input(_known(x.tensors[name][0]), inputs[name]) for name, of_input in drawings.items()]
        return images[0] if len(images) == 1 else _stacked(images)

    of_tables = all(one.has_pixels or one.axes == ("feature",) for one in inputs.values())
    return replace(SEVERAL, noun="rows" if of_tables else "samples", draw=draw if drawings else None)


def _known(values: Tensor) -> Tensor:
    """The values of an input, zeros where it is missing."""
    return values.nan_to_num(0.0) if values.is_floating_point() else values


def _stacked(images: Sequence[Tensor]) -> Tensor:
    """Images (C, H, W) below one another, each from its lowest to its highest value, (C, H', W') uint8."""
    channels, width = max(len(image) for image in images), max(image.shape[2] for image in images)
    rows = []
    for image in images:
        values = image.double() - image.double().min()
        scaled = (255 * values / values.max().clamp(min=1e-12)).round().to(torch.uint8)
        scaled = scaled.expand(channels, -1, -1) if len(scaled) == 1 else scaled
        rows.append(pad(scaled, (0, width - scaled.shape[2], 0, 1, 0, channels - len(scaled))))
    return torch.cat(rows, 1)[:, :-1]


def label(x: Tensor, spec_input: Input) -> str:
    """The inputs that a sample lacks: ", no photo"."""
    assert isinstance(x, SeveralTensors)
    missing = [name for name, values in x.tensors.items() if values.is_floating_point() and bool(is_missing(values)[0])]
    return "".join(f", no {name}" for name in missing)


SEVERAL = Modality(
    noun="rows",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=(),
    json_schema=None,
    example_files=lambda spec: ["rows.csv"],
    describe=describe,
    describe_size=lambda spec_input: "",
    sample_shape=shape_of_data,
    upload_defaults={},
    label=label,
)
