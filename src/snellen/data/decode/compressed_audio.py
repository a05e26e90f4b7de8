"""FLAC, MP3 and OGG files (Vorbis, Opus), decoded by libsndfile: needs soundfile, the extra `audio`.

An encoding is recognised by the first bytes of a file, not by its name.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snellen.data.decode.header import UnusableFile

if TYPE_CHECKING:
    from types import ModuleType

SUFFIXES = frozenset({".flac", ".mp3", ".ogg", ".oga", ".opus"})
EXTRA = 'pip install "snellen[audio]"'
MISSING_EXTRA = "extra"  # kind of the error of a file that a missing package would read
_DAMAGED = "Repair or remove it."
_MAGIC = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3"}


def encoding_of(start: bytes) -> str | None:
    """FLAC, OGG or MP3 by the first bytes of a file; None for any other."""
    name = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if name is None and len(start) > 2 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0:
        version, layer, bitrate = start[1] >> 3 & 3, start[1] >> 1 & 3, start[2] >> 4
        return "MP3" if version != 1 and layer == 1 and bitrate != 15 else None  # frame of MPEG audio, layer III
    return name


def read_form(file: IO[bytes], encoding: str) -> tuple[int, int, int]:
    """Samples per second, channels, and samples of each channel.

    Raises:
        UnusableFile: soundfile is not installed; libsndfile cannot read the file.
    """
    soundfile = _soundfile(encoding)
    with _errors(soundfile, encoding):
        file.seek(0)
        with soundfile.SoundFile(file) as opened:
            return int(opened.samplerate), int(opened.channels), int(opened.frames)


def read_values(file: IO[bytes], encoding: str, frames: int) -> np.ndarray:
    """(T, channels) float32; lossy encodings may exceed -1 … 1 and are clipped to it.

    Raises:
        UnusableFile: as `read_form`, and for fewer than `frames` samples.
    """
    soundfile = _soundfile(encoding)
    with _errors(soundfile, encoding):
        file.seek(0)
        with soundfile.SoundFile(file) as opened:
            values: np.ndarray = opened.read(frames, dtype="float32", always_2d=True)
    if len(values) != frames:
        raise UnusableFile("corrupt", f"is truncated: {len(values):,} of {frames:,} samples", _DAMAGED)
    return values.clip(-1, 1)


def _soundfile(encoding: str) -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: without the library libsndfile
        raise UnusableFile(
            MISSING_EXTRA,
            f"is {encoding}, which needs soundfile: {EXTRA}",
            f"Install it: {EXTRA}, or convert the files to WAV: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
        ) from None
    module: ModuleType = soundfile
    return module


class _errors:  # noqa: N801 (used as a context manager)
    """Context in which an error of libsndfile raises UnusableFile."""

    def __init__(self, soundfile: ModuleType, encoding: str) -> None:
        self.errors: tuple[type[BaseException], ...] = (soundfile.SoundFileError, ValueError, TypeError)
        self.encoding = encoding

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, self.errors) and not isinstance(error, UnusableFile):
            reason = str(getattr(error, "error_string", error)).rstrip(".") or "unknown error"
            raise UnusableFile("corrupt", f"is no valid {self.encoding} file ({reason})", _DAMAGED) from error
