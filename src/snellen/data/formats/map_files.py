"""Map file readers: NPY, PFM, FLO, and images whose pixel values are numbers.

The size in the header is checked against the file length before the values are read.

Source: Debevec 1998 for PFM; Baker et al. 2011, "A database and evaluation methodology for optical flow", for FLO.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from snellen.core.errors import first_line
from snellen.core.input_files import open_regular, read_bytes
from snellen.data.decode import image_decoder
from snellen.data.decode.header import MAX_PIXELS, UnusableFile

_AGAIN = "Save or download it again."
_FLO = b"PIEH"  # 202021.25 as a little-endian float32
_UNKNOWN_FLOW = 1e9  # larger absolute values mark unknown flow


def read_map(path: Path) -> np.ndarray:
    """Read a map, (H, W) or (H, W, C), floats or integers as stored; unknown flow is NaN.

    Raises:
        UnusableFile: the file cannot be read; the message gives the reason.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return _npy(path)
        if suffix in (".pfm", ".flo"):
            return (_pfm if suffix == ".pfm" else _flo)(read_bytes(path))
    except FileNotFoundError as error:
        raise UnusableFile("unreadable", "does not exist", "Restore or remove it.") from error
    except OSError as error:
        raise UnusableFile("unreadable", f"cannot be read ({error.strerror})", "Fix its permissions.") from error
    return image_decoder.read_raw_values(path)


def _npy(path: Path) -> np.ndarray:
    with open_regular(path) as file:  # np.load would read other files as pickles or archives
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise UnusableFile("corrupt", "does not begin as an NPY file", _AGAIN)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # the header is parsed as a Python literal, which fails in many ways
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise UnusableFile(
                "corrupt",
                "holds Python objects, which could run code",
                "Save plain numbers: numpy.save(..., allow_pickle=False).",
            ) from error
        raise UnusableFile("corrupt", f"is not an NPY file ({first_line(error)})", _AGAIN) from error
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind not in "biuf"
        or values.ndim not in (2, 3)
        or not values.size
    ):
        shape = getattr(values, "shape", ())
        raise UnusableFile(
            "corrupt",
            f"holds {getattr(values, 'dtype', 'no array')} of shape {shape}, not a numeric map",
            "Save it as (H, W) or (H, W, C) floats.",
        )
    if values.size > 4 * MAX_PIXELS:
        raise UnusableFile("corrupt", f"has too many values: {values.size:,}", "Crop or scale it first.")
    return np.array(values)


def _pfm(content: bytes) -> np.ndarray:
    """`PF` or `Pf`, width and height, a scale whose sign gives the byte order; then floats, bottom row first."""
    head = re.match(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,30})[ \t\r]*\n", content[:256])
    if head is None:
        raise UnusableFile("corrupt", "does not begin as a PFM file", _AGAIN)
    channels = 3 if head[1] == b"PF" else 1
    width, height = int(head[2]), int(head[3])
    values = _floats(content[head.end() :], height, width, channels, "<" if head[4].startswith(b"-") else ">")
    return values[::-1, :, 0] if channels == 1 else values[::-1]


def _flo(content: bytes) -> np.ndarray:
    """202021.25, width and height, then u and v of every pixel."""
    if content[:4] != _FLO or len(content) < 12:
        raise UnusableFile("corrupt", f"does not begin as a FLO file ({content[:4]!r}, not {_FLO!r})", _AGAIN)
    width, height = struct.unpack("<ii", content[4:12])
    values = _floats(content[12:], height, width, 2, "<")
    return np.where(np.abs(values).max(-1, keepdims=True) < _UNKNOWN_FLOW, values, np.nan)


def _floats(content: bytes, height: int, width: int, channels: int, byte_order: str) -> np.ndarray:
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise UnusableFile("corrupt", f"has an invalid header: {width:,}x{height:,} pixels", _AGAIN)
    if len(content) != 4 * height * width * channels:
        raise UnusableFile(
            "corrupt",
            f"has {len(content):,} bytes of values, {width}x{height} pixels need {4 * height * width * channels:,}",
            _AGAIN,
        )
    return np.frombuffer(content, f"{byte_order}f4").reshape(height, width, channels).astype(np.float32)
