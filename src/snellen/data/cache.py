"""Cache of decoded inputs, in memory or in a file outside the user's data, so that each image is decoded once.

Inputs that fit in a quarter of the free memory stay in memory. Larger ones are decoded once into a file in the cache
folder, if it takes at most a tenth of the free disk or what the user allows, and are read from there batch by batch.
Otherwise every batch is decoded anew. Memory stays bounded for data of any size.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, EnvironmentProblem, UsageError
from snellen.core.file_io import atomic_writer
from snellen.core.several_tensors import SeveralTensors
from snellen.core.spec import Preprocessing
from snellen.data.file_index import private_cache_folder
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import BadSamples, Source

MEMORY_DIVISOR = 4  # use a quarter of the free memory
DISK_DIVISOR = 10  # use a tenth of the free disk
_CHUNK, _CHUNK_BYTES = 256, 1 << 27  # samples decoded at a time

LineCallback = Callable[[str], None]


def ignore_line(line: str) -> None:
    """Discard a line."""


def available_memory() -> int:
    """Free memory in bytes, without swapping."""
    try:
        with open("/proc/meminfo") as file:
            match = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
        if match:
            return int(match[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30


# Shared by all models that read the same images with the same preprocessing.
_IN_MEMORY: weakref.WeakKeyDictionary[Source, dict[tuple[Preprocessing, bytes], Tensor]] = weakref.WeakKeyDictionary()


def load_into_memory(source: Source, ids: Tensor, preprocessing: Preprocessing) -> Tensor | None:
    """Decode all inputs of `ids` into one tensor if they fit in a quarter of the free memory, else return None.

    Raises:
        BadSamples: naming every sample that cannot be read.
        DataError: if the inputs have several sizes and the preprocessing sets none.
    """
    if isinstance(source, SeveralInputs):
        tensors = {}
        for name, of_input in source.sources.items():
            positions = torch.from_numpy(source.positions[name])[ids]
            is_present = positions >= 0
            values = load_into_memory(of_input, positions[is_present], preprocessing)
            if values is None:
                return None
            tensors[name] = source.with_missing(name, values, is_present)
        return cast(Tensor, SeveralTensors(tensors))
    inputs = source.all(preprocessing)
    if inputs is not None:
        return inputs if len(ids) == len(inputs) and bool((ids[1:] > ids[:-1]).all()) else inputs[ids]
    if not len(ids):
        return None
    key = (preprocessing, hashlib.blake2b(ids.numpy().tobytes(), digest_size=16).digest())
    cached = _IN_MEMORY.setdefault(source, {})
    if key in cached:
        return cached[key]
    first = source.read(ids[:1].numpy().astype(np.int64), preprocessing)
    if first.numel() * first.element_size() * len(ids) > available_memory() // MEMORY_DIVISOR:
        return None
    values = first.new_empty(len(ids), *first.shape[1:])
    _decode_all(source, ids.numpy().astype(np.int64), preprocessing, first, lambda start, x: _copy(values, start, x))
    if sum(v.nbytes for v in cached.values()) + values.nbytes > available_memory() // MEMORY_DIVISOR:
        cached.clear()
    cached[key] = values
    return values


def _copy(values: Tensor, start: int, x: Tensor) -> None:
    values[start : start + len(x)] = x


def _decode_all(
    source: Source, ids: np.ndarray, preprocessing: Preprocessing, first: Tensor, write: Callable[[int, Tensor], object]
) -> None:
    """Pass all inputs to `write` in chunks; report all unreadable samples in one error."""
    problems: dict[int, str] = {}
    size = max(1, min(_CHUNK, _CHUNK_BYTES // max(first.numel() * first.element_size(), 1)))
    for start in range(0, len(ids), size):
        chunk = ids[start : start + size]
        try:
            x = source.read(chunk, preprocessing)
        except BadSamples as error:
            problems.update(error.problems)
            continue
        if x.shape[1:] != first.shape[1:]:
            shapes = tuple(first.shape[1:]), tuple(x.shape[1:])
            names = source.name(int(ids[0])), source.name(int(chunk[0]))
            raise DataError(
                f"Inputs differ in shape: {names[0]} {shapes[0]}, {names[1]} {shapes[1]}",
                "Use --image-size for one size; convert all to one number of channels.",
            )
        if not problems:
            write(start, x)
    if problems:
        raise BadSamples(problems, {id: source.name(id) for id in problems})


class DiskCachedSource:
    """A source whose inputs are read from a file of decoded inputs, for one preprocessing."""

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
                    f"The decoded inputs of {self.name(int(id))} are truncated", "Run again: they are decoded anew."
                )
        return torch.from_numpy(rows)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.source.name(id)

    def key(self) -> str | None:
        return self.source.key()


def decode_to_disk(
    source: Source, preprocessing: Preprocessing, cache: str = "auto", announce: LineCallback = ignore_line
) -> Source:
    """Decode all inputs of a source into a cache file, or return the source itself if none is to be written.

    Args:
        cache: "off" or "ram": no file; a size such as "20G": at most that; "auto": a tenth of the free disk.
        announce: called with one line: path and size of the file, or why there is none.
    Raises:
        UsageError: for any other `cache`.
        BadSamples: naming every sample that cannot be read.
    """
    limit = parse_cache_limit(cache)
    key = source.key()
    if limit == 0 or key is None or not len(source):
        return source
    first = source.read(np.zeros(1, np.int64), preprocessing)
    size = first.numel() * first.element_size() * len(source)
    name = hashlib.blake2b(f"1 {key} {preprocessing}".encode(), digest_size=12).hexdigest()
    try:
        folder = private_cache_folder("decoded")
        path = folder / name
        if not (path.exists() and path.stat().st_size == size):
            _free_disk_space(folder, size, limit)
            announce(f"Decoding {len(source):,} inputs once into {path} ({size / 1e6:,.0f} MB)")
            ids = np.arange(len(source))
            with atomic_writer(path, size) as file:
                _decode_all(source, ids, preprocessing, first, lambda start, x: file.write(x.contiguous().numpy().data))
        os.utime(path)
        return DiskCachedSource(source, preprocessing, path, first)
    except (EnvironmentProblem, OSError) as error:
        announce(f"No decoded inputs are cached: {error.cause if isinstance(error, EnvironmentProblem) else error}")
        return source


def parse_cache_limit(cache: str) -> int | None:
    """Parse `--cache` to the allowed bytes on disk: 0 for no file, None for a tenth of the free disk."""
    if cache in ("off", "ram"):
        return 0
    if cache == "auto":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?", cache)
    if not match:
        raise UsageError(f"--cache {cache} is not a size", "Write off, ram, or a size such as 20G.")
    return int(float(match[1]) * 10 ** (3 * " kMGT".index(match[2] or " ")))


def _free_disk_space(folder: Path, size: int, allowed: int | None) -> None:
    """Remove the least recently used files until a new one of `size` bytes may be written.

    Raises:
        EnvironmentProblem: if the new file exceeds the limit even then.
    """
    files = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.stat().st_mtime
    )
    total = sum(entry.stat().st_size for entry in files)
    limit = (shutil.disk_usage(folder).free + total) // DISK_DIVISOR if allowed is None else allowed
    if size > limit:
        raise EnvironmentProblem(
            f"The decoded inputs need {size:,} bytes; the cache in {folder} is limited to {limit:,} bytes",
            "Allow more with --cache SIZE.",
        )
    for entry in files:
        if total + size <= limit:
            break
        total -= entry.stat().st_size
        entry.unlink()
