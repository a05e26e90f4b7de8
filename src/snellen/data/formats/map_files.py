"""Files of numbers for every pixel: NPY, PFM and FLO, and pictures whose values are numbers.

What a file says of its size is held against the length of the file before anything is read.

Source: Debevec 1998 for PFM; Baker et al. 2011, "A database and evaluation methodology for optical flow", for FLO.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from snellen.core.errors import first_line
from snellen.data.decode import image_decoder
from snellen.data.decode.header import PIXELS, Unusable

_AGAIN = "Save or fetch it again."
_FLO = b"PIEH"  # 202021.25 as a little-endian float32
_UNKNOWN_FLOW = 1e9  # what is more, either way, is not known


def numbers(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) as the file holds them, floats or whole numbers; what is not known is NaN.

    Raises:
        Unusable: saying why the file cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return _npy(path)
        if suffix in (".pfm", ".flo"):
            return (_pfm if suffix == ".pfm" else _flo)(path.read_bytes())
    except FileNotFoundError as error:
        raise Unusable("unreadable", "is not there", "Mend or remove it.") from error
    except OSError as error:
        raise Unusable("unreadable", f"cannot be read ({error.strerror})", "Mend its permissions.") from error
    return image_decoder.stored(path)


def _npy(path: Path) -> np.ndarray:
    with open(path, "rb") as file:  # anything else would be taken for a pickle or an archive
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise Unusable("corrupt", "does not begin as an NPY file", _AGAIN)
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # the header is read as words of Python, which fails in many ways
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise Unusable(
                "corrupt",
                "holds Python objects, which could run code and are not read",
                "Save plain numbers: numpy.save(..., allow_pickle=False).",
            ) from error
        raise Unusable("corrupt", f"is no NPY file ({first_line(error)})", _AGAIN) from error
    if not isinstance(held, np.ndarray) or held.dtype.kind not in "biuf" or held.ndim not in (2, 3) or not held.size:
        shape = getattr(held, "shape", ())
        raise Unusable(
            "corrupt",
            f"holds {getattr(held, 'dtype', 'no array')} of shape {shape}, no map of numbers",
            "Save it as (H, W) or (H, W, C) floats.",
        )
    if held.size > 4 * PIXELS:
        raise Unusable("corrupt", f"has {held.size:,} values", "Cut or scale it first.")
    return np.array(held)


def _pfm(content: bytes) -> np.ndarray:
    """`PF` or `Pf`, width and height, a scale whose sign says the order of bytes; then floats, the lowest row first."""
    head = re.match(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,30})[ \t\r]*\n", content[:256])
    if head is None:
        raise Unusable("corrupt", "does not begin as a PFM file", _AGAIN)
    channels = 3 if head[1] == b"PF" else 1
    width, height = int(head[2]), int(head[3])
    values = _floats(content[head.end() :], height, width, channels, "<" if head[4].startswith(b"-") else ">")
    return values[::-1, :, 0] if channels == 1 else values[::-1]


def _flo(content: bytes) -> np.ndarray:
    """202021.25, width and height, then u and v of every pixel."""
    if content[:4] != _FLO or len(content) < 12:
        raise Unusable("corrupt", f"does not begin as a FLO file ({content[:4]!r}, not {_FLO!r})", _AGAIN)
    width, height = struct.unpack("<ii", content[4:12])
    values = _floats(content[12:], height, width, 2, "<")
    return np.where(np.abs(values).max(-1, keepdims=True) < _UNKNOWN_FLOW, values, np.nan)


def _floats(content: bytes, height: int, width: int, channels: int, order: str) -> np.ndarray:
    if min(height, width) < 1 or height * width > PIXELS:
        raise Unusable("corrupt", f"says that it has {width:,}x{height:,} pixels", _AGAIN)
    if len(content) != 4 * height * width * channels:
        raise Unusable(
            "corrupt",
            f"has {len(content):,} bytes of values, {width}x{height} pixels need {4 * height * width * channels:,}",
            _AGAIN,
        )
    return np.frombuffer(content, f"{order}f4").reshape(height, width, channels).astype(np.float32)
