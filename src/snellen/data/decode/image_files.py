"""Picture files as a source of samples: headers looked at once, pixels read by threads when they are asked for."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input, Preprocessing
from snellen.data.decode import image_decoder, tiff
from snellen.data.decode.header import DEPTHS, Header, Unusable
from snellen.data.file_index import File, Index, digest_of, to_bytes
from snellen.data.image_size import typical_size
from snellen.data.source import BadSamples

Pages = Literal["first", "max", "each"]
T = TypeVar("T")
H = TypeVar("H")
R = TypeVar("R")


class ImageFiles:
    """A source whose samples are picture files.

    Args:
        root: the folder that names are relative to.
        files: one per sample.
        headers: what each promises, or why it cannot be used.
        pages: what a stack of pages means where the reading does not say.
        page: which page of its file each sample is, from 0; None for the only one. None: all are the only ones.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[File],
        headers: Sequence[Header | Unusable],
        pages: Pages | None = None,
        page: Sequence[int | None] | None = None,
    ) -> None:
        self.root = root
        self.files = list(files)
        self.headers = list(headers)
        self.pages = pages
        self.page = None if page is None or not any(p is not None for p in page) else list(page)
        self.different = Counter(h for h in self.headers if isinstance(h, Header))  # most are like many others
        self.dtype = DEPTHS[max((DEPTHS.index(h.dtype) for h in self.different), default=0)]
        channels = {h.channels for h in self.different}
        # Grey pictures among colour ones are read as colour: the one mixture with a plain meaning.
        self.channels = 3 if channels == {1, 3} else None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """(B, C, H, W) at the deepest depth among all files.

        Raises:
            BadSamples: naming every file of `ids` that cannot be read.
            DataError: when no size is asked for and the files have several.
        """
        wanted = replace(
            preprocessing, channels=preprocessing.channels or self.channels, pages=preprocessing.pages or self.pages
        )
        dtype = getattr(torch, self.dtype)
        pictures = in_threads(lambda id: _try(lambda: self.decoded(id, wanted)), ids.tolist())
        problems = {id: f"{p.cause}" for id, p in zip(ids.tolist(), pictures, strict=True) if isinstance(p, Unusable)}
        if problems:
            raise BadSamples(problems, {id: self.name(id) for id in problems})
        good = [p.to(dtype) for p in pictures if isinstance(p, Tensor)]
        first = good[0].shape if good else (self.channels or 1, 0, 0)
        for id, picture in zip(ids.tolist(), good, strict=True):
            if picture.shape != first:
                other = self.name(int(ids[0]))
                raise DataError(
                    f"{other} has {_shape(first)}, {self.name(id)} {_shape(picture.shape)}",
                    "Read all at one size with --image-size, and one number of channels.",
                )
        return torch.stack(good) if good else torch.zeros(0, *first, dtype=dtype)  # (B, C, H, W)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def path(self, id: int) -> Path:
        return self.root / self.files[id].path

    def decoded(self, id: int, preprocessing: Preprocessing) -> Tensor:
        """(C, H, W) one sample at its file's own depth. Raises Unusable where it cannot be read."""
        return image_decoder.decode(self.path(id), preprocessing, None if self.page is None else self.page[id])

    def name(self, id: int) -> str:
        page = None if self.page is None else self.page[id]
        return self.files[id].path if page is None else page_name(self.files[id].path, page)

    def stacks(self) -> np.ndarray | None:
        """(N,) int64: the pages of one file have one number. None where every sample is a file of its own."""
        if self.page is None:
            return None
        place: dict[str, int] = {}
        return np.array([place.setdefault(file.path, len(place)) for file in self.files], np.int64)

    def lost(self, ids: set[int]) -> int:
        """How many files are left out with these samples: those of which no other sample is left."""
        kept = {file.path for id, file in enumerate(self.files) if id not in ids}
        return len({self.files[id].path for id in ids} - kept)

    @functools.cached_property
    def _key(self) -> str:
        digest = hashlib.blake2b(os.fsencode(self.root.resolve()), digest_size=16)
        digest.update(f"{self.dtype} {self.channels} {self.pages} {self.page} {digest_of(self.files)}".encode())
        return digest.hexdigest()

    def key(self) -> str | None:
        return self._key

    def subset(self, ids: np.ndarray) -> ImageFiles:
        """The same source with these samples only, renumbered."""
        chosen = ids.tolist()
        page = None if self.page is None else [self.page[i] for i in chosen]
        return ImageFiles(
            self.root, [self.files[i] for i in chosen], [self.headers[i] for i in chosen], self.pages, page
        )

    def sizes(self) -> Counter[tuple[int, int]]:
        """How many pictures have which height and width."""
        counts: Counter[tuple[int, int]] = Counter()
        for header, count in self.different.items():
            counts[header.height, header.width] += count
        return counts

    def input(self) -> Input:
        """Shape and depth that the headers promise; None where a length varies, and then what is usual."""
        shapes = {(self.channels or h.channels, h.height, h.width) for h in self.different}
        common = [axis.pop() if len(axis) == 1 else None for axis in (set(a) for a in zip(*shapes, strict=True))]
        return Input(
            modality="image",
            shape=tuple(common) or (None, None, None),
            dtype=self.dtype,
            typical_size=typical_size(self.sizes()),
        )


def open_pictures(root: Path, files: Sequence[File], pages: Pages | None = None) -> ImageFiles:
    """A source of picture files, with the headers looked up in the index or in the files.

    Raises:
        UsageError: where every page is to be a sample: this is for those whose truth is one of files, not of pages.
    """
    meaning(pages)
    if pages == "each":
        raise UsageError(
            "--pages each is for pictures in folders of classes and for tables that name them",
            "The truth of such data is told of a whole file: take --pages first or --pages max.",
        )
    headers = _looked_up(root, files, "header", image_decoder.header)
    return ImageFiles(root, files, [_with_pages(header, pages) for header in headers], pages)


def open_pages(root: Path, files: Sequence[File], pages: Pages | None = None) -> tuple[ImageFiles, np.ndarray]:
    """As `open_pictures`, where every page of a stack may be a sample of its own.

    Returns:
        the source, and (N,) int64 which of the files each sample is of.
    """
    if meaning(pages) != "each":
        return open_pictures(root, files, pages), np.arange(len(files))
    found = _looked_up(root, files, "pages", image_decoder.headers)
    which, page, headers = list[int](), list[int | None](), list[Header | Unusable]()
    for k, of_file in enumerate(found):
        every = [of_file] if isinstance(of_file, Unusable) else of_file
        which += [k] * len(every)
        page += range(len(every)) if len(every) > 1 else [None]
        headers += every
    return ImageFiles(root, [files[k] for k in which], headers, pages, page), np.array(which, np.int64)


def meaning(pages: str | None) -> str | None:
    """What a stack of pages means. Raises UsageError for a meaning that there is not."""
    if pages not in (None, "first", "max", "each"):
        why = " needs models of volumes, which there are not yet" if pages == "volume" else " means nothing"
        raise UsageError(f"--pages {pages}{why}", "Take --pages first, max or each.")
    return pages


def page_name(path: str | Path, page: int) -> str:
    """What a page is called; the first, page 0, is "stack.tif#1", as viewers count."""
    return f"{path}#{page + 1}"


def page_of(name: str) -> tuple[Path, int] | None:
    """The file and the page, from 0, by the name of a page; None for any other name."""
    path, mark, number = name.rpartition("#")
    there = mark and number.isascii() and number.isdigit() and int(number) > 0
    return (Path(path), int(number) - 1) if there else None


def _looked_up(root: Path, files: Sequence[File], kind: str, look: Callable[[Path], H]) -> list[H | Unusable]:
    """What is known of each file, from the index, or looked up now and remembered."""
    index, key = Index(root), digest_of(files)
    together = index.together(kind, key)
    if together is not None and (kept := _apart(together, len(files))) is not None:
        return kept
    by_path = {file.path: file for file in files}
    facts = index.known(kind, by_path)
    found: dict[str, Any] = {path: _from_bytes(fact) for path, fact in facts.items()}
    missing = [path for path in by_path if path not in found]
    fresh = dict(zip(missing, in_threads(lambda path: _try(lambda: look(root / path)), missing), strict=True))
    # What could not be opened may be mended without a trace in size and time (permissions): it is not remembered.
    lasting = {path: _to_bytes(h) for path, h in fresh.items() if not isinstance(h, Unusable) or h.kind == "corrupt"}
    index.learn(kind, by_path, lasting)
    facts |= lasting
    if len(facts) == len(by_path):
        index.learn_together(kind, key, _joined([facts[file.path] for file in files]))
    found |= fresh
    return [found[file.path] for file in files]


def _joined(facts: Sequence[bytes]) -> bytes:
    """Facts, most of which are alike: the different ones as a line of JSON, then which each is."""
    place: dict[bytes, int] = {}
    which = np.array([place.setdefault(fact, len(place)) for fact in facts], np.int32)
    return to_bytes([fact.decode() for fact in place]) + b"\n" + which.tobytes()


def _apart(together: bytes, count: int) -> list[Any] | None:
    """What `_joined` was given, read; None where it is not of so many."""
    line, _, which = together.partition(b"\n")
    if len(which) != 4 * count:
        return None
    different = [_from_bytes(fact.encode()) for fact in json.loads(line)]
    return [different[k] for k in np.frombuffer(which, np.int32).tolist()]


def named_pictures(root: Path, names: Sequence[str], pages: Pages | None = None) -> ImageFiles:
    """A source of the files of these names, relative to `root`, in their order; what is not there is `Unusable`."""
    return open_pictures(root, named_files(root, names), pages)


def named_files(root: Path, names: Sequence[str]) -> list[File]:
    """The files of these names as they are now; what is not there has the size -1."""
    files = []
    for name in names:
        try:
            state = (root / name).stat()
            files.append(File(name, state.st_size, state.st_mtime_ns))
        except (OSError, ValueError):
            files.append(File(name, -1, 0))
    return files


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


def _to_bytes(fact: Any) -> bytes:
    return to_bytes([fact.kind, fact.cause, fact.remedy] if isinstance(fact, Unusable) else fact)


@functools.lru_cache(4096)  # most pictures of a set have the header of many others
def _from_bytes(fact: bytes) -> Header | Unusable | list[Header]:
    plain: list[Any] = json.loads(fact)
    if isinstance(plain[0], str):
        return Unusable(*plain)
    return [_header(one) for one in plain] if isinstance(plain[0], list) else _header(plain)


def _header(plain: list[Any]) -> Header:
    height, width, channels, dtype, pages, notes = plain
    return Header(height, width, channels, dtype, pages, tuple(notes))


def _shape(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} pixels of {shape[0]} channels"
