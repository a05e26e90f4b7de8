"""Recordings: WAV files, read here, and FLAC, MP3 and OGG files, see `compressed_audio`.

Of WAV: header and samples, PCM of 8 to 32 bits and floats, without the standard library's `wave`.

`wave` reads no floats and, in Python 3.11, no WAVE_FORMAT_EXTENSIBLE. Every size in a header is compared with the file.
Source: Microsoft, "Multiple channel audio data and WAVE files"; RFC 2361 (encodings).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from snellen.core.input_files import open_regular
from snellen.data.decode import compressed_audio
from snellen.data.decode.header import UnusableFile

SUFFIXES = frozenset({".wav", ".wave"}) | compressed_audio.SUFFIXES
UNREAD_SUFFIXES = frozenset({".m4a", ".aac", ".aif", ".aiff", ".wma", ".au", ".amr"})
READ = "WAV, FLAC, MP3 and OGG files are read"
MAX_VALUES = 1 << 28  # samples of all channels: 1 GiB as float32, and three hours of 25,000 samples per second
MAX_CHANNELS, MAX_RATE = 1024, 1 << 22  # of a header that is believed
_MAX_CHUNKS = 10_000
_UNKNOWN_LENGTH = 0x7FFF0000  # from this on, a size that a program wrote before it knew the length
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ENCODINGS = {
    0x02: "Microsoft ADPCM",
    0x06: "A-law",
    0x07: "µ-law",
    0x11: "IMA ADPCM",
    0x31: "GSM 6.10",
    0x50: "MPEG",
    0x55: "MP3",
    0xFF: "AAC",
}
_GUID_END = bytes.fromhex("0000000010008000 00aa00389b71")  # of the extensible form, after the encoding
_OTHER_FORMS = {
    b"FORM": "AIFF",
    b"RF64": "RF64 (WAV above 4 GB)",
    b"BW64": "BW64 (WAV above 4 GB)",
    b"RIFX": "RIFX (WAV of big-endian numbers)",
}
CONVERT = "Convert it to PCM: ffmpeg -i IN -c:a pcm_s16le OUT.wav"
_DAMAGED = "Repair or remove it."


class AudioHeader(NamedTuple):
    """Header of a recording.

    rate: samples per second. frames: samples of each channel. start: byte at which they begin.
    kind: "int" or "float" of a WAV file, else the encoding: FLAC, MP3, OGG. width: bytes of a value.
    """

    rate: int
    channels: int
    frames: int
    kind: str
    width: int
    start: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate


def read_header(file: Path | IO[bytes]) -> AudioHeader:
    """Read the header of a recording.

    Raises:
        UnusableFile: no recording, another encoding, a header that contradicts itself or the file, no sample.
    """
    if isinstance(file, Path):
        try:
            with open_regular(file) as opened:
                return _read_header(opened)
        except OSError as error:
            raise UnusableFile("unreadable", _os_reason(error), "Fix its permissions, or remove it.") from error
    return _read_header(file)


def decode(file: Path | IO[bytes]) -> tuple[np.ndarray, AudioHeader]:
    """Read a recording as (T,) float32, the mean of its channels; integers are scaled to -1 … 1.

    Raises:
        UnusableFile: as `read_header`, and for NaN or infinity.
    """
    if isinstance(file, Path):
        try:
            with open_regular(file) as opened:
                return _decode(opened)
        except OSError as error:
            raise UnusableFile("unreadable", _os_reason(error), "Fix its permissions, or remove it.") from error
    return _decode(file)


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "has no read permission"
    return f"cannot be read ({error.strerror or error})"


def _decode(file: IO[bytes]) -> tuple[np.ndarray, AudioHeader]:
    header = _read_header(file)
    if header.kind in ("int", "float"):
        file.seek(header.start)
        data = file.read(header.frames * header.channels * header.width)
        values = _to_float(data, header).reshape(-1, header.channels)
    else:
        values = compressed_audio.read_values(file, header.kind, header.frames)
    mono = values[:, 0] if header.channels == 1 else values.mean(1, dtype=np.float64)
    with np.errstate(over="ignore"):
        mono = mono.astype(np.float32)
    if header.kind == "float" and not bool(np.isfinite(mono).all()):
        raise UnusableFile("corrupt", "holds NaN, infinity, or numbers too large for 32-bit floats", _DAMAGED)
    return mono, header


def _to_float(data: bytes, header: AudioHeader) -> np.ndarray:
    """Values of all channels as floats; integers are divided by their largest magnitude, 2 ** (bits - 1)."""
    if header.kind == "float":
        return np.frombuffer(data, f"<f{header.width}")
    if header.width == 1:  # unsigned
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if header.width == 3:  # into the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / np.float64(1 << 31)
    values = np.frombuffer(data, f"<i{header.width}")
    return values / np.float64(1 << (8 * header.width - 1))


def _read_header(file: IO[bytes]) -> AudioHeader:
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        encoding = compressed_audio.encoding_of(start)
        if encoding is not None:
            return _checked(AudioHeader(*compressed_audio.read_form(file, encoding), encoding, 0, 0))
        other = next((name for magic, name in _OTHER_FORMS.items() if start.startswith(magic)), None)
        if other is not None:
            raise UnusableFile("corrupt", f"is {other}; {READ}", CONVERT)
        raise UnusableFile("corrupt", "is empty" if not size else f"is no recording; {READ}", _DAMAGED)
    form: bytes | None = None
    for _ in range(_MAX_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        position = file.tell()
        if name == b"fmt ":
            form = file.read(min(length, 40))
            if len(form) < 16:
                raise UnusableFile("corrupt", f"has a format of {len(form)} bytes, 16 are needed", _DAMAGED)
        elif name == b"data":
            if form is None:
                raise UnusableFile("corrupt", "has samples before their format", _DAMAGED)
            return _header(form, length, position, size - position)
        file.seek(position + length + length % 2)  # chunks begin at even bytes
    raise UnusableFile("corrupt", "has no samples (no data chunk)", _DAMAGED)


def _header(form: bytes, length: int, start: int, left: int) -> AudioHeader:
    """The header from the bytes of the format, the stated size of the samples, and the bytes that are left."""
    encoding, channels, rate, _, block, bits = struct.unpack("<HHIIHH", form[:16])
    if encoding == _EXTENSIBLE:
        if len(form) < 40 or form[26:40] != _GUID_END:
            raise UnusableFile("corrupt", "has an extended format that is not known", CONVERT)
        encoding = int.from_bytes(form[24:26], "little")
    if encoding not in (_PCM, _FLOAT):
        name = _ENCODINGS.get(encoding, f"encoding {encoding:#06x}")
        raise UnusableFile("corrupt", f"is {name}; WAV files of PCM or floats are read", CONVERT)
    _check_form(rate, channels)
    width, rest = divmod(block, channels)
    widths = (4, 8) if encoding == _FLOAT else (1, 2, 3, 4)
    if rest or width not in widths or not 8 * (width - 1) < bits <= 8 * width:
        raise UnusableFile("corrupt", f"states {bits} bits in blocks of {block} bytes, {channels} channels", CONVERT)
    if length >= _UNKNOWN_LENGTH:
        length = min(length, left)
    if length > left:
        raise UnusableFile("corrupt", f"is truncated: {left:,} of {length:,} bytes of samples", _DAMAGED)
    kind = "float" if encoding == _FLOAT else "int"
    return _checked(AudioHeader(rate, channels, length // block, kind, width, start))


def _checked(header: AudioHeader) -> AudioHeader:
    """The header. Raises UnusableFile if it has no samples, or states too many channels or samples."""
    _check_form(header.rate, header.channels)
    count = header.frames * header.channels
    if count < 1:
        raise UnusableFile("corrupt", "has no samples", "Remove it.")
    if count > MAX_VALUES:
        raise UnusableFile("corrupt", f"has {count:,} samples, more than {MAX_VALUES:,}", "Cut it.")
    return header


def _check_form(rate: int, channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS or not 1 <= rate <= MAX_RATE:
        raise UnusableFile("corrupt", f"states {channels:,} channels and {rate:,} samples per second", _DAMAGED)
