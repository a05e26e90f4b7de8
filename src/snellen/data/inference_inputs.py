"""What a user asks a trained model about: files, films, folders, globs, tables and standard input, read in batches."""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import IO, TextIO

import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import PixelClasses, PixelNumbers, Preprocessing, Spec
from snellen.data.decode.frame_pairs import paired
from snellen.data.decode.header import DEPTHS, Unusable
from snellen.data.decode.image_decoder import decode, headers
from snellen.data.decode.image_files import in_threads, page_name
from snellen.data.decode.video import frames, is_film, name_of
from snellen.data.file_index import Listing, walk
from snellen.data.formats.image_folder import sort_files
from snellen.data.formats.match_by_name import without_maps
from snellen.data.source import BadSamples, as_read

BATCH = 64

Named = tuple[list[str], Tensor]
Sample = tuple[str, Tensor]
AskedSample = tuple[
    str, tuple[tuple[Path, int | None], ...]
]  # what a sample is called, and its file and page; of flow two
Inside = Callable[[Path, dict[str, str]], Iterator[Path]]


def inputs(words: Sequence[str], spec: Spec, preprocessing: Preprocessing) -> Iterator[Named]:
    """Names and inputs, at most 64 at a time and all of one shape, in the order of the words.

    Args:
        words: files; folders, with all pictures, films or tables in them; globs; "-" for standard input: paths, one a
            line, or the table itself for a model of tables.
        spec: of the model's data; tables are read by its columns.
        reading: the model's. Pictures come at their own depth, or at the data's where that is deeper. A model of flow
            is given pairs of frames, each under the name of the first.
    Raises:
        DataError: when a word leads to nothing; what is wrong with the table where there is one only.
        BadSamples: after everything else was yielded: all files that could not be read.
    """
    problems: dict[str, str] = {}
    if spec.modality == "vector":
        yield from _rows(words, spec, problems)
    else:
        inside = _asked_below if isinstance(spec.target, PixelClasses | PixelNumbers) else _below
        pairs = of_pairs(spec)
        for films, some in groupby(list(_paths(words, problems, inside)), key=is_film):
            paths = list(some)
            if films:
                for path in paths:
                    yield from _alike(_frames(path, spec, preprocessing, problems, pairs))
            elif pairs:
                frames_of = _pairs(paths, problems)
                yield from _alike(_read(frames_of, spec, of_one_frame(spec, preprocessing), problems))
            else:
                yield from _alike(_read(_each(paths, preprocessing, problems), spec, preprocessing, problems))
    if problems:
        names = list(problems)
        raise BadSamples(
            {i: problems[name] for i, name in enumerate(names)},
            dict(enumerate(names)),
            "Mend them, or leave them out; all others are answered.",
        )


def read_picture(file: Path | IO[bytes], spec: Spec, preprocessing: Preprocessing, page: int | None = None) -> Tensor:
    """(C, H, W) as a model is asked: its channels, and at the file's own depth or at the data's where that is deeper.

    Args:
        page: see `pages_of`.
    Raises:
        Unusable: saying why the file cannot be read, or not as the model wants it.
    """
    return _deep_enough(decode(file, as_asked(spec, preprocessing), page), spec)


def of_pairs(spec: Spec) -> bool:
    """Whether a model is asked of two frames at a time."""
    return isinstance(spec.target, PixelNumbers) and spec.target.kind == "flow"


def of_one_frame(spec: Spec, preprocessing: Preprocessing) -> Preprocessing:
    """The reading of a frame of two: half of the channels."""
    channels = as_asked(spec, preprocessing).channels
    return dataclasses.replace(preprocessing, channels=None if channels is None else channels // 2)


def joined(frames: Sequence[Tensor], second: object) -> Tensor:
    """(C, H, W) each to one input, channel after channel.

    Args:
        second: the name of the second frame.
    Raises:
        Unusable: where they have several sizes.
    """
    if any(x.shape != frames[0].shape for x in frames):
        raise Unusable(
            "corrupt",
            f"is {_shape(frames[0])} pixels, its second frame {second} {_shape(frames[1])}",
            "Frames have one size.",
        )
    return torch.cat(list(frames))


def pages_of(file: Path | IO[bytes], name: str, preprocessing: Preprocessing) -> list[tuple[str, int | None]]:
    """What each sample of a file is called, with its page from 0: the file itself, or every page of a stack.

    Raises:
        Unusable: for a file whose pages are to be counted and that is no picture.
    """
    count = len(headers(file)) if preprocessing.pages == "each" else 1
    return [(page_name(name, page), page) for page in range(count)] if count > 1 else [(name, None)]


def as_asked(spec: Spec, preprocessing: Preprocessing) -> Preprocessing:
    """The reading with the channels that the model takes."""
    return dataclasses.replace(preprocessing, channels=preprocessing.channels or spec.input.shape[0])


def _deep_enough(x: Tensor, spec: Spec) -> Tensor:
    deepest = max(DEPTHS.index(spec.input.dtype), DEPTHS.index(str(x.dtype).removeprefix("torch.")))
    return x.to(getattr(torch, DEPTHS[deepest]))


def outside_range(x: Tensor, low: float, high: float) -> float:
    """The fraction of the values of `x` that lie below `low` or above `high`."""
    values = x.double()
    return float(((values < low) | (values > high)).double().mean()) if values.numel() else 0.0


def _rows(words: Sequence[str], spec: Spec, problems: dict[str, str]) -> Iterator[Named]:
    """The rows of tables; where there are several, each goes before the number of the row."""
    from snellen.data.formats.table import read_rows

    tables: list[Path | TextIO] = []
    for word in words:
        tables += [sys.stdin] if word == "-" else _paths([word], problems, _tables_in)
    for table in tables:
        try:
            names, rows = read_rows(table, spec)
        except DataError as error:
            if len(tables) == 1:
                raise
            problems[_called(table)] = error.cause
            continue
        if len(tables) > 1:
            names = [f"{_called(table)}, {name}" for name in names]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], rows[start : start + BATCH]


def _called(table: Path | TextIO) -> str:
    return str(table) if isinstance(table, Path) else "standard input"


def _tables_in(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    from snellen.data.formats.table_text import SUFFIXES

    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder} holds no table", f"Tables end in {', '.join(SUFFIXES)}.")
    return iter(found)


def _standard_input(problems: dict[str, str]) -> Iterator[str]:
    """The paths on standard input; one that leads nowhere is a problem among others, as a program wrote the list."""
    for line in sys.stdin:
        word = line.rstrip("\r\n")
        if word and not glob.has_magic(word) and not os.path.lexists(Path(word).expanduser()):
            problems[word] = "is not there"
        elif word and word != "-":
            yield word


def _paths(words: Iterable[str], problems: dict[str, str], inside: Inside) -> Iterator[Path]:
    """The files that words lead to; `inside` finds those of a folder."""
    for word in words:
        if word == "-":
            yield from _paths(_standard_input(problems), problems, inside)
            continue
        path = Path(word).expanduser()
        if path.is_dir():
            yield from inside(path, problems)
        elif path.exists() or path.is_symlink():
            yield path
        elif glob.has_magic(word):
            matches = sorted(glob.glob(str(path), recursive=True))
            if not matches:
                raise DataError(f"{word} fits no file", "Mend the pattern; quote it so that the shell leaves it alone.")
            yield from (Path(match) for match in matches if not Path(match).is_dir())
        else:
            raise DataError(f"{word} is not there", "Give files, folders, globs, or - for standard input.")


def _below(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    """All pictures and films of a folder; what else lies there and is no mere sidecar is named among the problems."""
    return _of_listing(folder, walk(folder), problems)


def _asked_below(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    """As `_below`, without the maps of pictures that lie there too: laid out as training data may be."""
    return _of_listing(folder, without_maps(walk(folder)), problems)


def _of_listing(folder: Path, listing: Listing, problems: dict[str, str]) -> Iterator[Path]:
    found = sort_files(listing)
    if not found.pictures and not found.aside:
        raise DataError(f"{folder} holds no picture", "Give a folder with pictures, or the files themselves.")
    problems.update({str(folder / entry.path): entry.reason for entry in found.aside if not is_film(entry.path)})
    yield from (folder / file.path for file in found.pictures)
    yield from (folder / entry.path for entry in found.aside if is_film(entry.path))


def _read(
    asked: Iterator[AskedSample], spec: Spec, preprocessing: Preprocessing, problems: dict[str, str]
) -> Iterator[list[Sample]]:
    """Pictures from files, so many at a time, each with its name; what cannot be read is among the problems."""

    def read(one: AskedSample) -> Tensor | Unusable:
        try:
            return joined([read_picture(path, spec, preprocessing, page) for path, page in one[1]], one[1][-1][0])
        except Unusable as error:
            return error

    while part := list(islice(asked, BATCH)):
        good: list[Sample] = []
        for (name, _), x in zip(part, in_threads(read, part), strict=True):
            if isinstance(x, Unusable):
                problems[name] = x.cause
            else:
                good.append((name, x))
        yield good


def _shape(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}"


def _each(paths: Sequence[Path], preprocessing: Preprocessing, problems: dict[str, str]) -> Iterator[AskedSample]:
    """The samples of files: a picture each, or the pages of a stack."""
    for path in paths:
        try:
            yield from ((name, ((path, page),)) for name, page in pages_of(path, str(path), preprocessing))
        except Unusable as error:
            problems[str(path)] = error.cause


def _pairs(paths: Sequence[Path], problems: dict[str, str]) -> Iterator[AskedSample]:
    """Two frames each, under the name of the first; a file that is in no pair is among the problems."""
    pairs, alone = paired(paths)
    problems.update(
        {str(path): "has no second frame: flow is asked of two files, or of files that are counted" for path in alone}
    )
    return ((str(first), ((first, None), (second, None))) for first, second in pairs)


def _frames(
    path: Path, spec: Spec, preprocessing: Preprocessing, problems: dict[str, str], pairs: bool = False
) -> Iterator[list[Sample]]:
    """The frames of a film, so many at a time, each with its number; or each with the one after it."""
    good: list[Sample] = []
    asked = of_one_frame(spec, preprocessing) if pairs else as_asked(spec, preprocessing)
    before: Tensor | None = None
    try:
        for number, frame in enumerate(frames(path)):
            x = _deep_enough(as_read(frame[None], asked)[0], spec)
            if not pairs:
                good.append((name_of(path, number), x))
            elif before is not None:
                good.append((name_of(path, number - 1), torch.cat([before, x])))
            before = x
            if len(good) == BATCH:
                yield good
                good = []
    except Unusable as error:
        problems[str(path)] = error.cause
    yield good


def _alike(read: Iterable[list[Sample]]) -> Iterator[Named]:
    """Neighbours of one shape as batches."""
    for part in read:
        for _, alike in groupby(part, key=lambda item: (item[1].shape, item[1].dtype)):
            batch = list(alike)
            yield [name for name, _ in batch], torch.stack([x for _, x in batch])  # (B, C, H, W)
