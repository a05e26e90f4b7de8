"""Recordings: WAV, FLAC, MP3 and OGG files, and requests with them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from snellen.core.errors import DataError
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.core.views import SoundClip
from snellen.data.cache import LineCallback
from snellen.data.decode.audio import READ, SUFFIXES, UNREAD_SUFFIXES, decode
from snellen.data.decode.audio_files import attempt
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import map_threads
from snellen.data.decode.resample import resample
from snellen.data.file_index import walk
from snellen.data.formats.file_names import is_sidecar
from snellen.modalities.modality import (
    BATCH,
    Modality,
    NamedBatch,
    Sample,
    TooManyInputs,
    Upload,
    UploadLimits,
    batches_of_one_shape,
    shape_of_data,
)
from snellen.modalities.paths import list_paths
from snellen.nn.audio import LogMel, hertz_to_mel, mel_to_hertz

WINDOW, HOP = 0.032, 0.008  # seconds, of the spectrogram that is drawn
BANDS, MAX_FRAMES = 64, 400  # its height and its largest width
DYNAMIC_RANGE = 60  # dB, from black to white
MAX_SAMPLES, CLIP_RATE = 32_000, 8000  # of a recording in a report, and the rate of longer ones: it stays below 1 MB
MAX_SHOWN = 8  # recordings in a view


def read_recording(file: Path | IO[bytes], spec_input: Input) -> Tensor:
    """Read a recording (1, T) for a model.

    Raises:
        UnusableFile: if the file cannot be read, or has another sample rate or length than the model reads.
    """
    values, header = decode(file)
    if spec_input.resampled and spec_input.rate is not None:
        values = resample(values, header.rate, int(spec_input.rate))
    elif header.rate != spec_input.rate:
        raise UnusableFile(
            "rate",
            f"has {header.rate:,} samples per second, the model reads {spec_input.rate:,g}",
            f"Resample it: ffmpeg -i IN -ar {spec_input.rate:g} OUT.wav, or train with --sample-rate "
            f"{spec_input.rate:g}, which resamples every file.",
        )
    length = spec_input.shape[1]
    if length not in (None, len(values)):
        raise UnusableFile(
            "length", f"has {len(values):,} samples, the model reads {length:,}", "Cut it, or pad it with zeros."
        )
    return torch.from_numpy(values)[None]


def read_files(
    arguments: Sequence[str],
    spec: Spec,
    preprocessing: Preprocessing,
    problems: dict[str, str],
    announce: LineCallback,
) -> Iterator[NamedBatch]:
    """Read recordings, folders of them, globs, paths from standard input; the shorter ones of a batch end in NaN."""
    paths = list_paths(arguments, problems, _recordings_of)
    while chunk := list(islice(paths, BATCH)):
        results = map_threads(lambda path: attempt(lambda: read_recording(path, spec.input)), chunk)
        samples: list[Sample] = []
        for path, x in zip(chunk, results, strict=True):
            if isinstance(x, UnusableFile):
                problems[str(path)] = x.cause
            else:
                samples.append((str(path), x))
        if samples:
            yield [name for name, _ in samples], padded([x for _, x in samples])


def padded(recordings: Sequence[Tensor]) -> Tensor:
    """(B, 1, T) of recordings (1, T), with NaN after the end of the shorter ones."""
    return pad_sequence([x[0] for x in recordings], batch_first=True, padding_value=torch.nan)[:, None]


def _recordings_of(folder: Path, problems: dict[str, str]) -> Iterator[Path]:
    """The recordings of a folder and its subfolders; recordings of other encodings are recorded in `problems`."""
    listing = walk(folder)
    holds_recordings = False
    problems.update({str(folder / entry.path): entry.reason for entry in listing.skipped})
    for file in listing.files:
        suffix = os.path.splitext(file.path)[1].lower()
        if is_sidecar(file.path):
            continue
        if suffix in SUFFIXES:
            holds_recordings = True
            yield folder / file.path
        elif suffix in UNREAD_SUFFIXES:
            holds_recordings = True
            problems[str(folder / file.path)] = f"is {suffix[1:].upper()}; {READ}"
    if not holds_recordings:
        raise DataError(f"{folder} contains no recording: {READ}", "Give recordings, or a folder of them.")


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Read each file of a request.

    Raises:
        TooManyInputs. DataError: names the files that cannot be read.
    """
    if len(files) > limits.max_inputs:
        raise TooManyInputs(
            f"There are more than {limits.max_inputs:,} recordings", "Split them into several requests."
        )
    errors: list[UnusableFile] = []
    samples: list[Sample] = []
    for file in files:
        try:
            samples.append((file.name, read_recording(io.BytesIO(file.content), spec.input)))
        except UnusableFile as error:
            errors.append(UnusableFile(error.kind, f"{file.name} {error.cause}", error.remedy))
    if errors:
        more = f" (and {len(errors) - 5} more)" if len(errors) > 5 else ""
        raise DataError("; ".join(error.cause for error in errors[:5]) + more, errors[0].remedy)
    yield from batches_of_one_shape([samples])


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """Sample rate, and the number of samples; None: any length."""
    resampled = {"resampled": "files of other rates are resampled"} if spec.input.resampled else {}
    return {"rate": spec.input.rate, "samples": spec.input.shape[1], "channels": "their mean is used", **resampled}


def describe_size(spec_input: Input) -> str:
    """Sample rate and length: "8,000 samples per second, several lengths"."""
    length = spec_input.shape[1]
    rate = "" if spec_input.rate is None else f"{spec_input.rate:,g} samples per second, "
    return rate + ("several lengths" if length is None else f"{length:,} samples")


def draw(x: Tensor, spec_input: Input) -> Tensor:
    """(1, H, W) uint8 log-mel spectrogram of a recording, with low frequencies at the bottom."""
    decibels, _ = spectrogram(x, spec_input.rate or 1.0)
    brightness: Tensor = 255 * (1 + (decibels.flip(0) - decibels.max()) / DYNAMIC_RANGE)
    return brightness.clamp(0, 255).to(torch.uint8)[None]


def spectrogram(x: Tensor, rate: float) -> tuple[Tensor, float]:
    """Log-mel spectrogram of a recording, (64, F) in dB, the lowest band first, and the seconds between its columns.

    0 dB is a sine of full scale in one band; the lowest value is 47 dB below a sine of the power of the recording.

    Args:
        x: (C, T), of which the first channel is used, NaN after the end.
        rate: samples per second.
    """
    x = x[:1, : length_of(x)]
    scale = float((x - x.mean()).square().mean().sqrt().clamp(min=1e-9))
    hop = max(1, round(max(HOP, x.shape[1] / rate / MAX_FRAMES) * rate))
    powers, _ = LogMel(rate, max(8, round(WINDOW * rate)), hop, BANDS)(x / scale)
    decibels = 10 / math.log(10) * powers[0] + 20 * math.log10(2 * scale)  # a sine of amplitude a has the power a² / 4
    return decibels, hop / rate


def sound(x: Tensor, spec_input: Input, caption: str, good: bool | None) -> SoundClip:
    """A recording with its spectrogram; of more than 32,000 samples resampled to 8,000 a second, then cut.

    Args:
        x: (C, T), NaN after the end.
    """
    x, rate = x[:, : length_of(x)], spec_input.rate or 1.0
    if x.shape[1] > MAX_SAMPLES and rate > CLIP_RATE:
        x = torch.from_numpy(np.stack([resample(channel.numpy(), round(rate), CLIP_RATE) for channel in x]))
        rate = CLIP_RATE
    if x.shape[1] > MAX_SAMPLES:
        caption += f", the first {MAX_SAMPLES / rate:.3g} s"
        x = x[:, :MAX_SAMPLES]
    decibels, hop = spectrogram(x, rate)
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(rate / 2)), BANDS + 2))
    return SoundClip(
        samples=x.clamp(-1, 1),
        rate=rate,
        spectrogram=decibels,
        hop_seconds=hop,
        frequencies=edges[1:-1].tolist(),
        caption=caption,
        good=good,
    )


def length_of(x: Tensor) -> int:
    """Samples of a recording (C, T) before its end; at least one."""
    return max(1, int((~x.isnan().any(0)).sum()))


def lengths(x: Tensor, spec_input: Input) -> Tensor:
    """(B,) durations of recordings (B, C, T), NaN after the end of each, in seconds."""
    return (~x.isnan().any(1)).sum(1) / (spec_input.rate or 1.0)


AUDIO = Modality(
    noun="recordings",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=("audio/*", "application/octet-stream"),
    json_schema=None,
    example_files=lambda spec: ["recording.wav"],
    describe=describe,
    describe_size=describe_size,
    sample_shape=shape_of_data,
    upload_defaults={},
    draw=draw,
    lengths=lengths,
    length_unit="s",
    sound=sound,
    max_shown=MAX_SHOWN,
    resized="spectrograms",
    label=lambda x, spec_input: f", {length_of(x) / (spec_input.rate or 1.0):.2f} s",
    drawing_note="Log-mel spectrograms in dB; 0 dB is a sine of full scale.",
)
