"""Images for prediction: files, pages, frames of videos and pairs of frames, read in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import PixelClasses, PixelNumbers, Preprocessing, Spec
from snellen.data.cache import LineCallback
from snellen.data.decode.frame_pairs import pair_frames
from snellen.data.decode.header import DEPTHS, SUFFIXES, UnusableFile
from snellen.data.decode.image_decoder import decode, headers
from snellen.data.decode.image_files import map_threads, page_name
from snellen.data.decode.video import frame_name, frames, is_video
from snellen.data.file_index import walk
from snellen.data.formats.image_folder import sort_files
from snellen.data.formats.match_by_name import without_maps
from snellen.data.formats.table_text import SUFFIXES as TABLE_SUFFIXES
from snellen.data.formats.unread_content import UNSUPPORTED, unread_error
from snellen.data.source import apply_preprocessing
from snellen.modalities.modality import BATCH, NamedBatch, Sample, batches_of_one_shape
from snellen.modalities.paths import list_paths

SampleFiles = tuple[str, tuple[tuple[Path, int | None], ...]]  # name of a sample, its file and page; two for flow


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read images and frames of videos: files, folders, globs, tables of their names, standard input.

    A flow model gets pairs of frames, each under the name of the first. Images keep their own depth, or get the data's
    if that is deeper.
    """
    list_folder = partial(_image_files, dense=isinstance(spec.target, PixelClasses | PixelNumbers), announce=announce)
    pairs = needs_frame_pairs(spec)
    given = list(list_paths(arguments, problems, list_folder))
    for are_videos, group in groupby(list(_with_listed_images(given, problems)), key=is_video):
        paths = list(group)
        if are_videos:
            for path in paths:
                yield from batches_of_one_shape(_read_frames(path, spec, preprocessing, problems, pairs))
        elif pairs:
            frame_files = _samples_of_pairs(paths, problems)
            yield from batches_of_one_shape(
                _read_images(frame_files, spec, single_frame_preprocessing(spec, preprocessing), problems)
            )
        else:
            yield from batches_of_one_shape(
                _read_images(_samples_of_files(paths, preprocessing, problems), spec, preprocessing, problems)
            )


def read_image(file: Path | IO[bytes], spec: Spec, preprocessing: Preprocessing, page: int | None = None) -> Tensor:
    """Read an image (C, H, W) for a model: with its channels, at the depth of the file or of the data if deeper.

    Args:
        page: page of a stack, see `list_pages`.
    Raises:
        UnusableFile: if the file cannot be read, or not as the model requires.
    """
    return _at_data_depth(decode(file, with_model_channels(spec, preprocessing), page), spec)


def needs_frame_pairs(spec: Spec) -> bool:
    """Whether the model takes pairs of frames (optical flow)."""
    return isinstance(spec.target, PixelNumbers) and spec.target.kind == "flow"


def single_frame_preprocessing(spec: Spec, preprocessing: Preprocessing) -> Preprocessing:
    """Preprocessing of one frame of a pair: half of the channels."""
    channels = with_model_channels(spec, preprocessing).channels
    return dataclasses.replace(preprocessing, channels=None if channels is None else channels // 2)


def concatenate_frames(frames: Sequence[Tensor], second: object) -> Tensor:
    """Concatenate frames (C, H, W) along the channels.

    Args:
        second: name of the second frame, for the error.
    Raises:
        UnusableFile: if their sizes differ.
    """
    if any(x.shape != frames[0].shape for x in frames):
        raise UnusableFile(
            "corrupt",
            f"is {_shape(frames[0])} pixels, its second frame {second} {_shape(frames[1])}",
            "Give frames of one size.",
        )
    return torch.cat(list(frames))


def list_pages(file: Path | IO[bytes], name: str, preprocessing: Preprocessing) -> list[tuple[str, int | None]]:
    """Name and page (from 0) of each sample of a file: the file itself, or every page of a stack.

    Raises:
        UnusableFile: for a file that is not an image, if its pages are counted.
    """
    count = len(headers(file)) if preprocessing.pages == "each" else 1
    return [(page_name(name, page), page) for page in range(count)] if count > 1 else [(name, None)]


def with_model_channels(spec: Spec, preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing with the model's number of channels."""
    return dataclasses.replace(preprocessing, channels=preprocessing.channels or spec.input.shape[0])


def _at_data_depth(x: Tensor, spec: Spec) -> Tensor:
    deepest = max(DEPTHS.index(spec.input.dtype), DEPTHS.index(str(x.dtype).removeprefix("torch.")))
    return x.to(getattr(torch, DEPTHS[deepest]))


def _image_files(folder: Path, problems: dict[str, str], *, dense: bool, announce: LineCallback) -> Iterator[Path]:
    """All images and videos of a folder; other files, except sidecar files and tables, are recorded in `problems`.

    Args:
        dense: whether the folder may have the layout of training data with target maps, which are left out.
        announce: receives a line about the tables beside images: targets of training data, not inputs.
    """
    listing = walk(folder)
    sorted_files = sort_files(without_maps(listing) if dense else listing)
    videos = [entry for entry in sorted_files.skipped if is_video(entry.path)]
    others = [entry for entry in sorted_files.skipped if not is_video(entry.path)]
    if not sorted_files.images and not videos:
        if any(entry.reason.startswith(UNSUPPORTED) for entry in others):
            raise unread_error(folder, f"Give images, which end in {', '.join(sorted(SUFFIXES))}.")
        if not others:
            raise DataError(f"{folder} contains no image", "Give a folder of images, or the files themselves.")
    tables = [entry.path for entry in others if _is_table(Path(entry.path))]
    if tables:
        shown = ", ".join(tables[:3]) + (", …" if len(tables) > 3 else "")
        announce(f"{folder}: the images are the input; tables not used: {shown}")
    problems.update({str(folder / entry.path): entry.reason for entry in others if entry.path not in tables})
    yield from (folder / file.path for file in sorted_files.images)
    yield from (folder / entry.path for entry in videos)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLE_SUFFIXES


def _with_listed_images(paths: Sequence[Path], problems: dict[str, str]) -> Iterator[Path]:
    """The paths, with the images that a table lists in its place; an image that is given itself comes once."""
    from snellen.data.formats.table_images import listed_images

    given = set(paths)
    for path in paths:
        if _is_table(path):
            yield from (image for image in listed_images(path, problems) if image not in given)
        else:
            yield path


def _read_images(
    sample_files: Iterator[SampleFiles], spec: Spec, preprocessing: Preprocessing, problems: dict[str, str]
) -> Iterator[list[Sample]]:
    """Read images in batches, each with its name; unreadable files are recorded in `problems`."""

    def read(sample: SampleFiles) -> Tensor | UnusableFile:
        try:
            return concatenate_frames(
                [read_image(path, spec, preprocessing, page) for path, page in sample[1]], sample[1][-1][0]
            )
        except UnusableFile as error:
            return error

    while chunk := list(islice(sample_files, BATCH)):
        samples: list[Sample] = []
        for (name, _), x in zip(chunk, map_threads(read, chunk), strict=True):
            if isinstance(x, UnusableFile):
                problems[name] = x.cause
            else:
                samples.append((name, x))
        yield samples


def _shape(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}"


def _samples_of_files(
    paths: Sequence[Path], preprocessing: Preprocessing, problems: dict[str, str]
) -> Iterator[SampleFiles]:
    """Samples of files: one image each, or the pages of a stack."""
    for path in paths:
        try:
            yield from ((name, ((path, page),)) for name, page in list_pages(path, str(path), preprocessing))
        except UnusableFile as error:
            problems[str(path)] = error.cause


def _samples_of_pairs(paths: Sequence[Path], problems: dict[str, str]) -> Iterator[SampleFiles]:
    """Samples of two frames, under the name of the first; unpaired files are recorded in `problems`."""
    pairs, unpaired = pair_frames(paths)
    problems.update(
        {str(path): "has no second frame: flow needs two files, or files with consecutive numbers" for path in unpaired}
    )
    return ((str(first), ((first, None), (second, None))) for first, second in pairs)


def _read_frames(
    path: Path, spec: Spec, preprocessing: Preprocessing, problems: dict[str, str], pairs: bool = False
) -> Iterator[list[Sample]]:
    """Frames of a video in batches, each with its number, or each with the next frame."""
    samples: list[Sample] = []
    frame_preprocessing = (
        single_frame_preprocessing(spec, preprocessing) if pairs else with_model_channels(spec, preprocessing)
    )
    previous: Tensor | None = None
    try:
        for number, frame in enumerate(frames(path)):
            x = _at_data_depth(apply_preprocessing(frame[None], frame_preprocessing)[0], spec)
            if not pairs:
                samples.append((frame_name(path, number), x))
            elif previous is not None:
                samples.append((frame_name(path, number - 1), torch.cat([previous, x])))
            previous = x
            if len(samples) == BATCH:
                yield samples
                samples = []
    except UnusableFile as error:
        problems[str(path)] = error.cause
    yield samples
