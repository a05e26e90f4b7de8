"""Decoded inputs in memory, or in a file beside no user's data, so that each picture is decoded once.

What fits in a quarter of the free memory lies there. What does not is decoded once into a file in the cache folder,
where that takes no more than a tenth of the free disk or what the user allows, and is read from there batch by batch;
else every batch is decoded anew. Either way memory stays flat however large the data is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, EnvironmentProblem, UsageError
from snellen.core.files import written
from snellen.core.spec import Preprocessing
from snellen.data.file_index import cache_folder
from snellen.data.source import BadSamples, Source

SHARE_OF_MEMORY = 4  # a quarter of what is free
SHARE_OF_DISK = 10  # a tenth of what is free
_CHUNK, _CHUNK_BYTES = 256, 1 << 27  # samples decoded at a time

Announce = Callable[[str], None]


def quietly(line: str) -> None:
    """Tells no one."""


def memory() -> int:
    """Bytes of memory that can be had without swapping."""
    try:
        with open("/proc/meminfo") as file:
            found = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
        if found:
            return int(found[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30


# What was decoded into memory serves every model that reads the same pictures in the same way.
_RESIDENT: weakref.WeakKeyDictionary[Source, dict[tuple[Preprocessing, bytes], Tensor]] = weakref.WeakKeyDictionary()


def resident(source: Source, ids: Tensor, preprocessing: Preprocessing) -> Tensor | None:
    """All inputs of `ids` as one tensor where they fit in a quarter of the free memory, else None.

    Raises:
        BadSamples: naming every sample that cannot be read.
        DataError: when the inputs have several sizes and the reading asks for none.
    """
    whole = source.all(preprocessing)
    if whole is not None:
        return whole if len(ids) == len(whole) and bool((ids[1:] > ids[:-1]).all()) else whole[ids]
    if not len(ids):
        return None
    key = (preprocessing, hashlib.blake2b(ids.numpy().tobytes(), digest_size=16).digest())
    known = _RESIDENT.setdefault(source, {})
    if key in known:
        return known[key]
    first = source.read(ids[:1].numpy().astype(np.int64), preprocessing)
    if first.numel() * first.element_size() * len(ids) > memory() // SHARE_OF_MEMORY:
        return None
    values = first.new_empty(len(ids), *first.shape[1:])
    _decode_all(source, ids.numpy().astype(np.int64), preprocessing, first, lambda start, x: _put(values, start, x))
    if sum(v.nbytes for v in known.values()) + values.nbytes > memory() // SHARE_OF_MEMORY:
        known.clear()
    known[key] = values
    return values


def _put(values: Tensor, start: int, x: Tensor) -> None:
    values[start : start + len(x)] = x


def _decode_all(
    source: Source, ids: np.ndarray, preprocessing: Preprocessing, first: Tensor, take: Callable[[int, Tensor], object]
) -> None:
    """Hands all inputs to `take` in chunks; what cannot be read is named all at once."""
    problems: dict[int, str] = {}
    size = max(1, min(_CHUNK, _CHUNK_BYTES // max(first.numel() * first.element_size(), 1)))
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        try:
            x = source.read(part, preprocessing)
        except BadSamples as error:
            problems.update(error.problems)
            continue
        if x.shape[1:] != first.shape[1:]:
            shapes = tuple(first.shape[1:]), tuple(x.shape[1:])
            names = source.name(int(ids[0])), source.name(int(part[0]))
            raise DataError(
                f"{names[0]} has shape {shapes[0]}, {names[1]} {shapes[1]}", "Read all at one size with --image-size."
            )
        if not problems:
            take(start, x)
    if problems:
        raise BadSamples(problems, {id: source.name(id) for id in problems})


class Decoded:
    """A source whose inputs lie decoded in a file, one after the other, for one reading."""

    def __init__(self, source: Source, preprocessing: Preprocessing, path: Path, first: Tensor) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.shape, self.dtype = first.shape[1:], first.numpy().dtype
        self._row = first.numel() * first.element_size()  # bytes
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        if preprocessing != self.preprocessing:
            return self.source.read(ids, preprocessing)
        rows = np.empty((len(ids), *self.shape), self.dtype)
        for row, id in zip(rows, ids, strict=True):
            if os.preadv(self._file, [row.reshape(-1).view(np.uint8).data], int(id) * self._row) != self._row:
                raise EnvironmentProblem(
                    f"the decoded inputs of {self.name(int(id))} are cut short", "Run again: they are decoded anew."
                )
        return torch.from_numpy(rows)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.source.name(id)

    def key(self) -> str | None:
        return self.source.key()


def decoded(source: Source, preprocessing: Preprocessing, cache: str = "auto", announce: Announce = quietly) -> Source:
    """The source over a file of its decoded inputs; the source itself where there is to be no such file.

    Args:
        cache: "off" or "ram": no file; a size such as "20G": at most that; "auto": a tenth of the free disk.
        announce: told in one line where the file lies and how large it is, or why there is none.
    Raises:
        UsageError: when `cache` is none of these.
        BadSamples: naming every sample that cannot be read.
    """
    allowed = allowance(cache)
    key = source.key()
    if allowed == 0 or key is None or not len(source):
        return source
    first = source.read(np.zeros(1, np.int64), preprocessing)
    size = first.numel() * first.element_size() * len(source)
    folder = cache_folder() / "decoded"
    path = folder / hashlib.blake2b(f"1 {key} {preprocessing}".encode(), digest_size=12).hexdigest()
    try:
        if not (path.exists() and path.stat().st_size == size):
            _make_room(folder, size, allowed)
            announce(f"decoding {len(source):,} inputs once into {path} ({size / 1e6:,.0f} MB)")
            ids = np.arange(len(source))
            with written(path, size) as file:
                _decode_all(source, ids, preprocessing, first, lambda start, x: file.write(x.contiguous().numpy().data))
        os.utime(path)
        return Decoded(source, preprocessing, path, first)
    except (EnvironmentProblem, OSError) as error:
        announce(f"no decoded inputs are kept: {error.cause if isinstance(error, EnvironmentProblem) else error}")
        return source


def allowance(cache: str) -> int | None:
    """Bytes that a file may take: 0 for none, None for a tenth of the free disk."""
    if cache in ("off", "ram"):
        return 0
    if cache == "auto":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?", cache)
    if not found:
        raise UsageError(f"--cache {cache} is no size", "Write off, ram, or a size such as 20G.")
    return int(float(found[1]) * 10 ** (3 * " kMGT".index(found[2] or " ")))


def _make_room(folder: Path, size: int, allowed: int | None) -> None:
    """Removes the files longest unused until a new one of `size` bytes may be written.

    Raises:
        EnvironmentProblem: when it may not even then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.stat().st_mtime
    )
    total = sum(entry.stat().st_size for entry in held)
    limit = (shutil.disk_usage(folder).free + total) // SHARE_OF_DISK if allowed is None else allowed
    if size > limit:
        raise EnvironmentProblem(
            f"they take {size:,} bytes and {limit:,} are allowed in {folder}", "Allow more with --cache SIZE."
        )
    for entry in held:
        if total + size <= limit:
            break
        total -= entry.stat().st_size
        entry.unlink()
