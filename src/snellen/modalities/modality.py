"""Modality: what is particular to a kind of input when files, requests and exports are read or described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.core.views import SoundClip
from snellen.data.cache import LineCallback

BATCH = 64  # samples read at a time

NamedBatch = tuple[list[str], Tensor]
Sample = tuple[str, Tensor]


class Upload(NamedTuple):
    """An uploaded file: name, Content-Type ("" if absent), bytes."""

    name: str
    kind: str
    content: bytes | bytearray


class UploadLimits(NamedTuple):
    """Limits of one request: number of inputs, pixels of an image."""

    max_inputs: int
    max_pixels: int


class TooManyInputs(DataError):
    """A request with more inputs than its limit."""


class MalformedJSON(DataError):
    """A request whose JSON cannot be parsed, or is not of the form that the model reads."""


class SampleName(str):
    """Name of a sample, with fields that its prediction records have besides, such as the times of a forecast."""

    fields: Mapping[str, Any]

    def __new__(cls, name: str, fields: Mapping[str, Any]) -> SampleName:
        self = super().__new__(cls, name)
        self.fields = fields
        return self


def fields_of(name: str) -> Mapping[str, Any]:
    """The fields of the name of a sample; none of a plain name."""
    return name.fields if isinstance(name, SampleName) else {}


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of input.

    Args:
        noun: samples, in the plural.
        read_files: arguments of `predict`, spec, preprocessing, problems (file to reason, filled in) and a callback for
            lines to the user, to names and inputs in batches of one shape.
        read_uploads: files of a request, spec, preprocessing and limits, to the same. Raises DataError.
        content_types: of a request that is no form; empty: requests are not served.
        json_schema: spec and limit of inputs to the JSON schema of a request; None: JSON is not read.
        example_files: names of files in an example of a request.
        upload_defaults: default limits of requests that differ from those of images.
        sample_shape: shape of one sample as the model reads it; None where it varies.
        describe_size: the shape of the data's samples, for the user.
        describe: properties of the input for programs, by name, besides shape and dtype.
        draw: a sample and its input to an image (C, H, W) that shows it; None: it is not drawn.
        sound: a sample, its input, a caption and whether the prediction is right to a recording with waveform and
            spectrogram, in place of an image; None: samples are no sound.
        resized: what networks for images resize, in the plural.
        max_shown: number of samples that a view of single samples shows at most; None: no limit.
        label: a sample and its input to text after the name of a drawn sample.
        drawing_note: sentence on what is drawn, where it is not the sample itself.
        sample_writers: suffix of a file to a function that writes samples (N, ...) to it; the first is the default.
        draw_map: values at every place of a sample, (C, *places), to an image (C, H, W); None: they are not drawn.
        map_layout: what such an image shows, for the user; "" for an image itself.
        has_value_range: whether all values have one range, from black to white.
        read_steps: lines of text and the spec to the steps of a sequence as they arrive, None for the end of one; None:
            a sample does not arrive step by step.
        lengths: samples (B, ...) and their input to their lengths (B,); None: they have none.
        length_unit: unit of these lengths.
        axis_names: names of the numbers of a sample, each of which can be the axis of a plot; empty where they cannot.
    """

    noun: str
    read_files: Callable[[Sequence[str], Spec, Preprocessing, dict[str, str], LineCallback], Iterator[NamedBatch]]
    read_uploads: Callable[[Sequence[Upload], Spec, Preprocessing, UploadLimits], Iterator[NamedBatch]]
    content_types: tuple[str, ...]
    json_schema: Callable[[Spec, int], dict[str, Any]] | None
    example_files: Callable[[Spec], Sequence[str]]
    describe: Callable[[Spec, Preprocessing], Mapping[str, Any]]
    describe_size: Callable[[Input], str]
    sample_shape: Callable[[Spec, Preprocessing], tuple[int | None, ...]]
    upload_defaults: Mapping[str, int]
    sample_writers: Mapping[str, Callable[[Path, Tensor, Input], None]] = field(default_factory=dict)
    draw: Callable[[Tensor, Input], Tensor] | None = None
    sound: Callable[[Tensor, Input, str, bool | None], SoundClip] | None = None
    resized: str = "images"
    max_shown: int | None = None
    label: Callable[[Tensor, Input], str] = lambda x, spec_input: ""
    drawing_note: str = ""
    draw_map: Callable[[Tensor], Tensor] | None = None
    map_layout: str = ""
    has_value_range: bool = False
    read_steps: Callable[[Iterable[str], Spec], Iterator[Tensor | None]] | None = None
    lengths: Callable[[Tensor, Input], Tensor] | None = None
    length_unit: str = ""
    axis_names: Callable[[Input], tuple[str, ...]] = lambda spec_input: ()


def batches_of_one_shape(chunks: Iterable[list[Sample]]) -> Iterator[NamedBatch]:
    """Group consecutive samples of one shape into batches."""
    for chunk in chunks:
        for _, group in groupby(chunk, key=lambda item: (item[1].shape, item[1].dtype)):
            batch = list(group)
            yield [name for name, _ in batch], torch.stack([x for _, x in batch])


def shape_of_data(spec: Spec, preprocessing: Preprocessing) -> tuple[int | None, ...]:
    """The shape of a sample of the data, which no preprocessing changes."""
    return spec.input.shape


def sides(spec_input: Input) -> str:
    """The lengths of the axes, "any" where one varies."""
    return " x ".join("any" if side is None else str(side) for side in spec_input.shape)
