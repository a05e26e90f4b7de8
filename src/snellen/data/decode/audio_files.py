"""Recordings as a source of samples: headers are cached, samples are read by threads on demand."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Input, Preprocessing
from snellen.data.decode.audio import AudioHeader, decode, read_header
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import map_threads
from snellen.data.decode.resample import resample, resampled_length
from snellen.data.file_index import File, FileIndex, files_digest, to_bytes
from snellen.data.source import BadSamples

R = TypeVar("R")

OTHER_RATE = "rate"  # kind of the error of a file with another sample rate


class AudioFiles:
    """A source whose samples are recordings of one sample rate, each the mean of its channels.

    Args:
        root: folder to which names are relative.
        files: one per sample.
        headers: header of each file, or the error of an unusable one.
        sample_rate: samples per second to which all are resampled; None: all have one rate.
    """

    noun = "recordings"
    page: Sequence[int | None] | None = None  # a file is one sample

    def __init__(
        self,
        root: Path,
        files: Sequence[File],
        headers: Sequence[AudioHeader | UnusableFile],
        sample_rate: int | None = None,
    ) -> None:
        self.root = root
        self.files = list(files)
        self.headers = list(headers)
        self.sample_rate = sample_rate
        self.usable = [header for header in self.headers if isinstance(header, AudioHeader)]
        self.rate = sample_rate or (self.usable[0].rate if self.usable else None)
        self.length = max(self._lengths(), default=1)

    def _lengths(self) -> list[int]:
        """Samples of each usable recording, at the rate of the source."""
        return [resampled_length(header.frames, header.rate, self.rate or header.rate) for header in self.usable]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """Read (B, 1, T) float32, where T is that of the longest recording; NaN after the end of the others.

        Raises:
            BadSamples: naming every file of `ids` that cannot be read.
        """
        x = torch.full((len(ids), 1, self.length), torch.nan)
        results = map_threads(lambda id: attempt(lambda: self.decode(id)), ids.tolist())
        problems: dict[int, str] = {}
        for row, id, values in zip(x, ids.tolist(), results, strict=True):
            if isinstance(values, UnusableFile):
                problems[id] = values.cause
            else:
                row[0, : len(values)] = torch.from_numpy(values)
        if problems:
            raise BadSamples(problems, {id: self.name(id) for id in problems})
        return x

    def decode(self, id: int) -> np.ndarray:
        """(T,) float32 of one recording at the rate of the source.

        Raises:
            UnusableFile: it cannot be read, or has changed since.
        """
        values, header = self.decode_file(id)
        return resample(values, header.rate, self.rate or header.rate)

    def decode_file(self, id: int) -> tuple[np.ndarray, AudioHeader]:
        """(T,) float32 of one recording as it is stored, without resampling, and its header; see `decode`."""
        header = self.headers[id]
        if isinstance(header, UnusableFile):
            raise header
        values, present = decode(self.root / self.files[id].path)
        if present != header:
            raise UnusableFile("corrupt", "has changed since it was opened", "Run again.")
        return values, header

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def path(self, id: int) -> Path:
        return self.root / self.files[id].path

    def name(self, id: int) -> str:
        return self.files[id].path

    @functools.cached_property
    def _key(self) -> str:
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(self.root)), digest_size=16)
        digest.update(f"audio {self.rate} {self.length} {files_digest(self.files)}".encode())
        return digest.hexdigest()

    def key(self) -> str | None:
        return self._key

    def subset(self, ids: np.ndarray) -> AudioFiles:
        """The same source with these samples only, renumbered."""
        selected = ids.tolist()
        return AudioFiles(
            self.root, [self.files[i] for i in selected], [self.headers[i] for i in selected], self.sample_rate
        )

    def count_lost_files(self, ids: set[int]) -> int:
        """Number of files without samples once these samples are removed."""
        return len({self.files[id].path for id in ids})

    def input(self) -> Input:
        """Shape and sample rate by the headers; the length is None where it varies."""
        lengths = set(self._lengths())
        return Input(
            modality="audio",
            shape=(1, lengths.pop() if len(lengths) == 1 else None),
            rate=self.rate,
            resampled=self.sample_rate is not None,
        )

    def description(self) -> str:
        """Sample rate, durations and channels: "8,000 samples per second, 0.14 to 1.31 s"."""
        if not self.usable or self.rate is None:
            return "none of which can be read"
        seconds = [header.seconds for header in self.usable]
        shortest, longest = (f"{seconds:.3g}" for seconds in (min(seconds), max(seconds)))
        duration = f"{longest} s" if shortest == longest else f"{shortest} to {longest} s"
        mixed = sum(header.channels > 1 for header in self.usable)
        channels = f", the mean of the channels of {mixed:,}" if mixed else ""
        rates = Counter(header.rate for header in self.usable)
        del rates[self.rate]
        others = " and ".join(f"{count:,} of {rate:,}" for rate, count in rates.most_common(3))
        several = " and other rates" * (len(rates) > 3)
        resampled = f" (resampled: {others}{several})" if others else ""
        return f"{self.rate:,} samples per second{resampled}, {duration}{channels}"


def open_audio(root: Path, files: Sequence[File], sample_rate: int | None = None) -> AudioFiles:
    """Open recordings as a source; headers come from the index or the files.

    Args:
        sample_rate: samples per second to which all are resampled; None: files whose rate is not that of most are
            unusable.
    """
    headers = _cached_headers(root, files)
    if sample_rate is not None:
        return AudioFiles(root, files, headers, sample_rate)
    rates = Counter(header.rate for header in headers if isinstance(header, AudioHeader))
    if len(rates) > 1:
        majority, count = rates.most_common(1)[0]
        headers = [
            _other_rate(header, majority, count)
            if isinstance(header, AudioHeader) and header.rate != majority
            else header
            for header in headers
        ]
    return AudioFiles(root, files, headers)


def _other_rate(header: AudioHeader, majority: int, count: int) -> UnusableFile:
    return UnusableFile(
        OTHER_RATE,
        f"has {header.rate:,} samples per second, {count:,} files have {majority:,}",
        f"Resample all recordings to one rate: --sample-rate {majority}",
    )


def _cached_headers(root: Path, files: Sequence[File]) -> list[AudioHeader | UnusableFile]:
    """The header of each file, from the index, or read now and stored there."""
    index, by_path = FileIndex(root), {file.path: file for file in files}
    known = {path: _from_bytes(fact) for path, fact in index.lookup("recording", by_path).items()}
    missing = [path for path in by_path if path not in known]

    def read(path: str) -> AudioHeader:
        if by_path[path].size < 0 and (root / path).exists():
            raise UnusableFile("unreadable", "is a link to a file outside the folder of the data", "Copy the file.")
        return read_header(root / path)

    fresh = dict(zip(missing, map_threads(lambda path: attempt(lambda: read(path)), missing), strict=True))
    cacheable = {path: h for path, h in fresh.items() if not isinstance(h, UnusableFile) or h.kind == "corrupt"}
    index.store("recording", by_path, {path: _to_bytes(header) for path, header in cacheable.items()})
    return [(known | fresh)[file.path] for file in files]


def _to_bytes(header: AudioHeader | UnusableFile) -> bytes:
    return to_bytes([header.kind, header.cause, header.remedy] if isinstance(header, UnusableFile) else header)


def _from_bytes(fact: bytes) -> AudioHeader | UnusableFile:
    values = json.loads(fact)
    return UnusableFile(*values) if isinstance(values[0], str) else AudioHeader(*values)


def attempt(work: Callable[[], R]) -> R | UnusableFile:
    """The result, or the error of an unusable file."""
    try:
        return work()
    except UnusableFile as error:
        return error
