"""Picture files as a source of samples: headers looked at once, pixels read by threads when they are asked for."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Input, Reading
from snellen.data import decode, tiff
from snellen.data.header import DEPTHS, Header, Unusable
from snellen.data.index import File, Index, to_bytes
from snellen.data.reading import usual
from snellen.data.source import BadSamples

Pages = Literal["first", "max", "each", "volume"]
T = TypeVar("T")
R = TypeVar("R")


class PictureFiles:
    """A source whose samples are picture files.

    Args:
        root: the folder that names are relative to.
        files: one per sample.
        headers: what each promises, or why it cannot be used.
        pages: what a stack of pages means where the reading does not say.
    """

    def __init__(self, root: Path, files: Sequence[File], headers: Sequence[Header | Unusable],
                 pages: Pages | None = None) -> None:  # fmt: skip
        self.root = root
        self.files = list(files)
        self.headers = list(headers)
        self.pages = pages
        good = [h for h in self.headers if isinstance(h, Header)]
        self.dtype = DEPTHS[max((DEPTHS.index(h.dtype) for h in good), default=0)]
        channels = {h.channels for h in good}
        # Grey pictures among colour ones are read as colour: the one mixture with a plain meaning.
        self.channels = 3 if channels == {1, 3} else None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, ids: np.ndarray, reading: Reading) -> Tensor:
        """(B, C, H, W) at the deepest depth among all files.

        Raises:
            BadSamples: naming every file of `ids` that cannot be read.
            DataError: when no size is asked for and the files have several.
        """
        wanted = replace(reading, channels=reading.channels or self.channels, pages=reading.pages or self.pages)
        dtype = getattr(torch, self.dtype)
        pictures = in_threads(lambda id: _try(lambda: decode.decode(self.path(int(id)), wanted)), ids.tolist())
        problems = {id: f"{p.cause}" for id, p in zip(ids.tolist(), pictures, strict=True) if isinstance(p, Unusable)}
        if problems:
            raise BadSamples(problems, {id: self.name(id) for id in problems})
        good = [p.to(dtype) for p in pictures if isinstance(p, Tensor)]
        first = good[0].shape if good else (self.channels or 1, 0, 0)
        for id, picture in zip(ids.tolist(), good, strict=True):
            if picture.shape != first:
                other = self.name(int(ids[0]))
                raise DataError(f"{other} has {_shape(first)}, {self.name(id)} {_shape(picture.shape)}",
                                "Read all at one size with --image-size, and one number of channels.")
        return torch.stack(good) if good else torch.zeros(0, *first, dtype=dtype)  # (B, C, H, W)

    def all(self, reading: Reading) -> Tensor | None:
        return None

    def path(self, id: int) -> Path:
        return self.root / self.files[id].path

    def name(self, id: int) -> str:
        return self.files[id].path

    @functools.cached_property
    def _key(self) -> str:
        digest = hashlib.blake2b(os.fsencode(self.root.resolve()), digest_size=16)
        digest.update(f"{self.dtype} {self.channels} {self.pages}\n".encode())
        for file in self.files:
            digest.update(f"{file.path}\0{file.size}\0{file.mtime_ns}\n".encode())
        return digest.hexdigest()

    def key(self) -> str | None:
        return self._key

    def subset(self, ids: np.ndarray) -> PictureFiles:
        """The same source with these samples only, renumbered."""
        chosen = ids.tolist()
        return PictureFiles(self.root, [self.files[i] for i in chosen], [self.headers[i] for i in chosen], self.pages)

    def input(self) -> Input:
        """Shape and depth that the headers promise; None where a length varies, and then what is usual."""
        shapes = [(self.channels or h.channels, h.height, h.width) for h in self.headers if isinstance(h, Header)]
        common = [axis.pop() if len(axis) == 1 else None for axis in (set(a) for a in zip(*shapes, strict=True))]
        return Input(modality="image", shape=tuple(common) or (None, None, None), dtype=self.dtype,
                     usual=usual([(height, width) for _, height, width in shapes]))


def open_pictures(root: Path, files: Sequence[File], pages: Pages | None = None) -> PictureFiles:
    """A source of picture files, with the headers looked up in the index or in the files.

    Raises:
        UsageError: for a meaning of pages that is not there yet.
    """
    if pages in ("each", "volume"):
        raise tiff.not_yet(pages)
    index, by_path = Index(root), {file.path: file for file in files}
    known = {path: _from_bytes(fact) for path, fact in index.known("header", by_path).items()}
    missing = [path for path in by_path if path not in known]
    found = in_threads(lambda path: _try(lambda: decode.header(root / path)), missing)
    fresh = dict(zip(missing, found, strict=True))
    # What could not be opened may be mended without a trace in size and time (permissions): it is not remembered.
    index.learn("header", by_path, {path: _to_bytes(h) for path, h in fresh.items()
                                    if isinstance(h, Header) or h.kind == "corrupt"})  # fmt: skip
    headers: Mapping[str, Header | Unusable] = {**known, **fresh}
    return PictureFiles(root, files, [_with_pages(headers[file.path], pages) for file in files], pages)


def named_pictures(root: Path, names: Sequence[str], pages: Pages | None = None) -> PictureFiles:
    """A source of the files of these names, relative to `root`, in their order; what is not there is `Unusable`."""
    files = []
    for name in names:
        try:
            state = (root / name).stat()
            files.append(File(name, state.st_size, state.st_mtime_ns))
        except (OSError, ValueError):
            files.append(File(name, -1, 0))
    return open_pictures(root, files, pages)


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of every item in order, by threads where there is enough of it; the decoders release the lock."""
    if len(items) < 4:
        return [work(item) for item in items]
    size = min(64, -(-len(items) // 16))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    return [result for part in _pool(os.getpid()).map(lambda part: [work(i) for i in part], parts) for result in part]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool a process: the threads of a parent do not live on in a forked child."""
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="pictures")


def _try(work: Callable[[], R]) -> R | Unusable:
    try:
        return work()
    except Unusable as error:
        return error


def _with_pages(header: Header | Unusable, pages: Pages | None) -> Header | Unusable:
    if isinstance(header, Header) and header.pages > 1 and pages is None:
        return tiff.stack(header.pages)
    return header


def _to_bytes(header: Header | Unusable) -> bytes:
    if isinstance(header, Unusable):
        return to_bytes([header.kind, header.cause, header.remedy])
    return to_bytes(list(header))


@functools.lru_cache(4096)  # most pictures of a set have the header of many others
def _from_bytes(fact: bytes) -> Header | Unusable:
    plain: list[Any] = json.loads(fact)
    if isinstance(plain[0], str):
        return Unusable(*plain)
    height, width, channels, dtype, pages, notes = plain
    return Header(height, width, channels, dtype, pages, tuple(notes))


def _shape(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} pixels of {shape[0]} channels"
