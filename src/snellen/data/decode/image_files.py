"""Image files as a source of samples: headers are cached, pixels are read by threads on demand."""

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
from snellen.data.decode.header import DEPTHS, Header, UnusableFile
from snellen.data.file_index import File, FileIndex, LinkCheck, files_digest, to_bytes
from snellen.data.image_size import typical_size
from snellen.data.source import BadSamples

Pages = Literal["first", "max", "each"]
T = TypeVar("T")
H = TypeVar("H")
R = TypeVar("R")


class ImageFiles:
    """A source whose samples are image files.

    Args:
        root: folder to which names are relative.
        files: one per sample.
        headers: header of each file, or the error of an unusable one.
        pages: default for `preprocessing.pages`: how to read a stack.
        page: page of each sample in its file, from 0; None for a single page. None: all are single pages.
        nodata: default for `preprocessing.nodata`; "none": no value is doubted.
    """

    noun = "images"

    def __init__(
        self,
        root: Path,
        files: Sequence[File],
        headers: Sequence[Header | UnusableFile],
        pages: Pages | None = None,
        page: Sequence[int | None] | None = None,
        nodata: float | Literal["none"] | None = None,
    ) -> None:
        self.root = root
        self.files = list(files)
        self.headers = list(headers)
        self.pages = pages
        self.nodata = nodata
        self.page = None if page is None or not any(p is not None for p in page) else list(page)
        self.header_counts = Counter(h for h in self.headers if isinstance(h, Header))  # usually few distinct headers
        self.dtype = DEPTHS[max((DEPTHS.index(h.dtype) for h in self.header_counts), default=0)]
        channels = {h.channels for h in self.header_counts}
        # Grey images among colour ones are converted to colour; no other mixture is.
        self.channels = 3 if channels == {1, 3} else None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """Read (B, C, H, W) at the deepest depth of all files.

        Raises:
            BadSamples: naming every file of `ids` that cannot be read.
            DataError: if the files have several sizes and `preprocessing` sets none.
        """
        resolved = replace(
            preprocessing, channels=preprocessing.channels or self.channels, pages=preprocessing.pages or self.pages
        )
        dtype = getattr(torch, self.dtype)
        images = map_threads(lambda id: _try(lambda: self.decode(id, resolved)), ids.tolist())
        problems = {id: f"{p.cause}" for id, p in zip(ids.tolist(), images, strict=True) if isinstance(p, UnusableFile)}
        if problems:
            raise BadSamples(problems, {id: self.name(id) for id in problems})
        decoded = [p.to(dtype) for p in images if isinstance(p, Tensor)]
        first = decoded[0].shape if decoded else (self.channels or 1, 0, 0)
        for id, image in zip(ids.tolist(), decoded, strict=True):
            if image.shape != first:
                first_name = self.name(int(ids[0]))
                raise DataError(
                    f"Images differ in shape: {first_name} {_shape(first)}, {self.name(id)} {_shape(image.shape)}",
                    "Use --image-size for one size; convert all to one number of channels.",
                )
        return torch.stack(decoded) if decoded else torch.zeros(0, *first, dtype=dtype)  # (B, C, H, W)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def path(self, id: int) -> Path:
        return self.root / self.files[id].path

    def decode(self, id: int, preprocessing: Preprocessing) -> Tensor:
        """Decode one sample (C, H, W) at the depth of its file. Raises UnusableFile if it cannot be read."""
        if isinstance(self.nodata, float) and preprocessing.nodata is None:
            preprocessing = replace(preprocessing, nodata=self.nodata)
        return image_decoder.decode(self.path(id), preprocessing, None if self.page is None else self.page[id])

    def name(self, id: int) -> str:
        page = None if self.page is None else self.page[id]
        return self.files[id].path if page is None else page_name(self.files[id].path, page)

    def stack_ids(self) -> np.ndarray | None:
        """(N,) int64: index of the file of each sample, which groups its pages. None if every sample is a file."""
        if self.page is None:
            return None
        first_index: dict[str, int] = {}
        return np.array([first_index.setdefault(file.path, len(first_index)) for file in self.files], np.int64)

    def count_lost_files(self, ids: set[int]) -> int:
        """Number of files without samples once these samples are removed."""
        remaining = {file.path for id, file in enumerate(self.files) if id not in ids}
        return len({self.files[id].path for id in ids} - remaining)

    @functools.cached_property
    def _key(self) -> str:
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(self.root)), digest_size=16)
        digest.update(
            f"{self.dtype} {self.channels} {self.pages} {self.page} {self.nodata} {files_digest(self.files)}".encode()
        )
        return digest.hexdigest()

    def key(self) -> str | None:
        return self._key

    def subset(self, ids: np.ndarray) -> ImageFiles:
        """The same source with these samples only, renumbered."""
        selected = ids.tolist()
        page = None if self.page is None else [self.page[i] for i in selected]
        files, headers = [self.files[i] for i in selected], [self.headers[i] for i in selected]
        return ImageFiles(self.root, files, headers, self.pages, page, self.nodata)

    def with_nodata(self, nodata: float | Literal["none"]) -> ImageFiles:
        """The same source with a value for pixels without data."""
        return ImageFiles(self.root, self.files, self.headers, self.pages, self.page, nodata)

    def sizes(self) -> Counter[tuple[int, int]]:
        """Number of images of each (height, width)."""
        counts: Counter[tuple[int, int]] = Counter()
        for header, count in self.header_counts.items():
            counts[header.height, header.width] += count
        return counts

    def input(self) -> Input:
        """Shape and depth by the headers; None for lengths that vary, with the typical size."""
        shapes = {(self.channels or h.channels, h.height, h.width) for h in self.header_counts}
        common = [axis.pop() if len(axis) == 1 else None for axis in (set(a) for a in zip(*shapes, strict=True))]
        return Input(
            modality="image",
            shape=tuple(common) or (None, None, None),
            dtype=self.dtype,
            typical_size=typical_size(self.sizes()),
        )


def open_images(root: Path, files: Sequence[File], pages: Pages | None = None) -> ImageFiles:
    """Open image files as a source; headers come from the index or the files.

    Raises:
        UsageError: for pages="each", because these files have one annotation per file, not per page.
    """
    validate_pages(pages)
    if pages == "each":
        raise UsageError(
            "--pages each applies only to images in class folders and to tables of image names",
            "This data has one annotation per file: use --pages first or --pages max.",
        )
    headers = _cached_facts(root, files, "header", image_decoder.header)
    return ImageFiles(root, files, [_with_pages(header, pages) for header in headers], pages)


def open_pages(root: Path, files: Sequence[File], pages: Pages | None = None) -> tuple[ImageFiles, np.ndarray]:
    """As `open_images`, but every page of a stack may be a sample.

    Returns:
        the source, and (N,) int64 index of the file of each sample.
    """
    if validate_pages(pages) != "each":
        return open_images(root, files, pages), np.arange(len(files))
    file_headers = _cached_facts(root, files, "pages", image_decoder.headers)
    file_of_sample, page, headers = list[int](), list[int | None](), list[Header | UnusableFile]()
    for k, file_header in enumerate(file_headers):
        pages_of_file = [file_header] if isinstance(file_header, UnusableFile) else file_header
        file_of_sample += [k] * len(pages_of_file)
        page += range(len(pages_of_file)) if len(pages_of_file) > 1 else [None]
        headers += pages_of_file
    return ImageFiles(root, [files[k] for k in file_of_sample], headers, pages, page), np.array(
        file_of_sample, np.int64
    )


def validate_pages(pages: str | None) -> str | None:
    """Validate `--pages`. Raises UsageError for an unknown value."""
    if pages not in (None, "first", "max", "each"):
        reason = " needs volumetric models, which are not available" if pages == "volume" else " is unknown"
        raise UsageError(f"--pages {pages}{reason}", "Use --pages first, max or each.")
    return pages


def page_name(path: str | Path, page: int) -> str:
    """Name of a page; page 0 is "stack.tif#1", as in image viewers."""
    return f"{path}#{page + 1}"


def parse_page_name(name: str) -> tuple[Path, int] | None:
    """File and page (from 0) of a page name; None for any other name."""
    path, separator, number = name.rpartition("#")
    is_page = separator and number.isascii() and number.isdigit() and int(number) > 0
    return (Path(path), int(number) - 1) if is_page else None


def _cached_facts(
    root: Path, files: Sequence[File], kind: str, read_fact: Callable[[Path], H]
) -> list[H | UnusableFile]:
    """A fact about each file, from the index, or read now and stored there."""
    index, key = FileIndex(root), files_digest(files)
    joint = index.lookup_joint(kind, key)
    if joint is not None and (unpacked := _unpack_facts(joint, len(files))) is not None:
        return unpacked
    by_path = {file.path: file for file in files}
    facts = index.lookup(kind, by_path)
    facts_of: dict[str, Any] = {path: _from_bytes(fact) for path, fact in facts.items()}
    missing = [path for path in by_path if path not in facts_of]

    def read(path: str) -> H:
        if by_path[path].size < 0 and (root / path).exists():
            raise UnusableFile("unreadable", "is a link to a file outside the folder of the data", "Copy the file.")
        return read_fact(root / path)

    new_facts = dict(zip(missing, map_threads(lambda path: _try(lambda: read(path)), missing), strict=True))
    # Files that could not be opened are not cached: repaired permissions leave size and time unchanged.
    cacheable = {
        path: _to_bytes(h) for path, h in new_facts.items() if not isinstance(h, UnusableFile) or h.kind == "corrupt"
    }
    index.store(kind, by_path, cacheable)
    facts |= cacheable
    if len(facts) == len(by_path):
        index.store_joint(kind, key, _pack_facts([facts[file.path] for file in files]))
    facts_of |= new_facts
    return [facts_of[file.path] for file in files]


def _pack_facts(facts: Sequence[bytes]) -> bytes:
    """Pack facts: the distinct ones as a line of JSON, then the index of each as int32."""
    first_index: dict[bytes, int] = {}
    indices = np.array([first_index.setdefault(fact, len(first_index)) for fact in facts], np.int32)
    return to_bytes([fact.decode() for fact in first_index]) + b"\n" + indices.tobytes()


def _unpack_facts(joint: bytes, count: int) -> list[Any] | None:
    """Unpack the result of `_pack_facts`; None if it does not have `count` facts."""
    line, _, indices = joint.partition(b"\n")
    if len(indices) != 4 * count:
        return None
    distinct = [_from_bytes(fact.encode()) for fact in json.loads(line)]
    return [distinct[k] for k in np.frombuffer(indices, np.int32).tolist()]


def open_named_images(root: Path, names: Sequence[str], pages: Pages | None = None) -> ImageFiles:
    """Open the files of these names, relative to `root`, in order; missing ones are `UnusableFile`."""
    return open_images(root, stat_files(root, names), pages)


def stat_files(root: Path, names: Sequence[str]) -> list[File]:
    """`File` of each name; missing ones, and links that lead out of the root, have size -1."""
    files, links = [], LinkCheck(root)
    for name in names:
        try:
            state = (root / name).stat()
            if links.leads_out(name):
                raise OSError
            files.append(File(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
        except (OSError, ValueError):
            files.append(File(name, -1, 0))
    return files


def map_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Apply `work` to all items in order, in threads if there are many; the decoders release the GIL."""
    if len(items) < 4:
        return [work(item) for item in items]
    size = min(64, -(-len(items) // 16))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    return [result for part in _pool(os.getpid()).map(lambda part: [work(i) for i in part], parts) for result in part]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool per process: threads do not survive a fork."""
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="images")


def _try(work: Callable[[], R]) -> R | UnusableFile:
    try:
        return work()
    except UnusableFile as error:
        return error


def _with_pages(header: Header | UnusableFile, pages: Pages | None) -> Header | UnusableFile:
    if isinstance(header, Header) and header.pages > 1 and pages is None:
        return tiff.stack_error(header.pages)
    return header


def _to_bytes(fact: Any) -> bytes:
    return to_bytes([fact.kind, fact.cause, fact.remedy] if isinstance(fact, UnusableFile) else fact)


@functools.lru_cache(4096)  # most images of a dataset share headers
def _from_bytes(fact: bytes) -> Header | UnusableFile | list[Header]:
    values: list[Any] = json.loads(fact)
    if isinstance(values[0], str):
        return UnusableFile(*values)
    return [_header(page) for page in values] if isinstance(values[0], list) else _header(values)


def _header(values: list[Any]) -> Header:
    height, width, channels, dtype, pages, notes = values
    return Header(height, width, channels, dtype, pages, tuple(notes))


def _shape(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} pixels of {shape[0]} channels"
