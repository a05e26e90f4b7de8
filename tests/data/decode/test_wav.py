"""WAV decoder: every form against SciPy, and damaged or contradictory headers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from snellen.data.decode.audio import MAX_VALUES, decode, read_header
from snellen.data.decode.header import UnusableFile


def riff(chunks: list[tuple[bytes, bytes]], sizes: dict[bytes, int] | None = None) -> io.BytesIO:
    """A RIFF file of chunks; `sizes` are those stated in place of the true ones."""
    body = b"WAVE"
    for name, content in chunks:
        body += name + struct.pack("<I", (sizes or {}).get(name, len(content))) + content + b"\0" * (len(content) % 2)
    return io.BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def form(encoding: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, block: int | None = None) -> bytes:
    block = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", encoding, channels, rate, rate * block, block, bits)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_samples_are_those_of_scipy(dtype: str, channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (101, channels))
    if dtype[0] == "u":
        x = (127 * x + 128).round().astype(dtype)
    elif dtype[0] == "i":
        x = (x * (2 ** (8 * int(dtype[1]) - 1) - 1)).astype(dtype)
    path = tmp_path / "x.wav"
    wavfile.write(path, 11025, x.astype(dtype) if channels > 1 else x.astype(dtype)[:, 0])
    rate, theirs = wavfile.read(path)
    scale, offset = {"u1": (128, 128), "i2": (2**15, 0), "i4": (2**31, 0)}.get(dtype, (1, 0))
    expected = ((theirs.reshape(101, channels) - np.float64(offset)) / scale).mean(1)
    values, header = decode(path)
    assert (header.rate, header.frames, header.channels, values.dtype) == (rate, 101, channels, np.float32)
    assert np.abs(values - expected).max() < 1e-7


def test_24_bits_of_an_extensible_file_after_odd_chunks_are_those_of_scipy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-(2**23), 2**23, (50, 2))
    data = b"".join(int(v).to_bytes(3, "little", signed=True) for v in x.flatten())
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    extensible = form(0xFFFE, 2, 8000, 24) + struct.pack("<HHI", 22, 24, 3) + guid
    path = tmp_path / "x.wav"
    path.write_bytes(riff([(b"LIST", b"odd"), (b"fmt ", extensible), (b"fact", b"1234"), (b"data", data)]).getvalue())
    values, header = decode(path)
    _, theirs = wavfile.read(path)  # in the upper bytes of 32 bits
    assert (header.width, header.frames) == (3, 50)
    assert np.abs(values - (theirs / 2.0**31).mean(1)).max() < 1e-7


def test_a_size_written_before_the_end_was_known_means_the_rest_of_the_file() -> None:
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        file = riff([(b"fmt ", form()), (b"data", b"\0\1" * 30)], {b"data": size})
        assert read_header(file).frames == 30


GOOD = (b"fmt ", form())


@pytest.mark.parametrize(
    ("file", "cause"),
    [
        (io.BytesIO(b""), "is empty"),
        (io.BytesIO(b"hello, this is text"), "is no recording"),
        (io.BytesIO(b"fLaC" + bytes(60)), "is FLAC"),
        (io.BytesIO(b"ID3" + bytes(60)), "is MP3"),
        (riff([GOOD]), "no data chunk"),
        (riff([GOOD, (b"data", b"")]), "has no samples"),
        (riff([GOOD, (b"data", b"1")]), "has no samples"),
        (riff([(b"data", b"1234"), GOOD]), "before their format"),
        (riff([(b"fmt ", b"12345678"), (b"data", b"1234")]), "format of 8 bytes"),
        (riff([GOOD, (b"data", b"1234")], {b"data": 1000}), "truncated: 4 of 1,000 bytes"),
        (riff([(b"fmt ", form(6)), (b"data", b"1234")]), "is A-law"),
        (riff([(b"fmt ", form(0x1234)), (b"data", b"1234")]), "encoding 0x1234"),
        (riff([(b"fmt ", form(0xFFFE)), (b"data", b"1234")]), "extended format"),
        (riff([(b"fmt ", form(1, 0, block=2)), (b"data", b"1234")]), "states 0 channels"),
        (riff([(b"fmt ", form(1, 65535, block=65535)), (b"data", b"1234")]), "states 65,535 channels"),
        (riff([(b"fmt ", form(1, 1, 0)), (b"data", b"1234")]), "0 samples per second"),
        (riff([(b"fmt ", form(1, 2, block=5)), (b"data", b"1234")]), "16 bits in blocks of 5 bytes"),
        (riff([(b"fmt ", form(1, 1, bits=64)), (b"data", b"12345678")]), "64 bits"),
        (riff([(b"fmt ", form(3, 1, bits=16)), (b"data", b"1234")]), "16 bits"),
        (riff([(b"fmt ", form(1, 1, block=0)), (b"data", b"1234")]), "blocks of 0 bytes"),
        (riff([(b"fmt ", form(3, 1, bits=32)), (b"data", struct.pack("<ff", 0.5, np.nan))]), "NaN, infinity"),
        (riff([(b"junk", b"")] * 20_000), "no data chunk"),
    ],
)
def test_damaged_files_have_a_cause_and_a_remedy(file: io.BytesIO, cause: str) -> None:
    with pytest.raises(UnusableFile) as caught:
        decode(file)
    assert cause in caught.value.cause
    assert caught.value.remedy


def test_every_truncation_and_flipped_byte_of_a_header_is_read_or_an_error() -> None:
    good = riff([(b"LIST", b"odd"), GOOD, (b"data", bytes(range(64)))]).getvalue()
    rng = np.random.default_rng(0)
    damaged = [good[:end] for end in range(len(good))]
    damaged += [
        good[:k] + bytes([byte]) + good[k + 1 :] for k in range(56) for byte in rng.integers(0, 256, 8).tolist()
    ]
    for content in damaged:
        try:
            values, header = decode(io.BytesIO(content))
        except UnusableFile:
            continue
        assert len(values) == header.frames > 0
        assert header.frames * header.channels <= MAX_VALUES


def test_numbers_that_no_32_bit_float_can_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    wavfile.write(path, 1000, np.array([1e300, 0.0, 1.0]))
    with pytest.raises(UnusableFile, match="too large for 32-bit floats"):
        decode(path)
