"""Header of an image file (size, channels, depth), and the error for an unusable file."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from snellen.core.errors import DataError

# Packages that decode HEIC, of which one suffices; the second has an encoder too, under the GPL.
HEIF_PACKAGES = [name for name in ("pi_heif", "pillow_heif") if importlib.util.find_spec(name) is not None]
HEIF_SUFFIXES = (".heic", ".heif")
SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
        ".avif",
        ".jp2",
        *(HEIF_SUFFIXES if HEIF_PACKAGES else ()),
    }
)
MAX_PIXELS = 178_956_970  # larger images are rejected as decompression bombs; the limit of Pillow
MAX_SIDE = 1 << 20  # decoders keep a pointer for each row
DEPTHS = ("uint8", "uint16", "float32", "float64")  # the shallowest first


class UnusableFile(DataError):
    """A file that cannot be used as an image. `kind` is that of the finding: unreadable, corrupt, pages."""

    def __init__(self, kind: str, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.kind = kind


class TooManyPixels(UnusableFile):
    """An image with more pixels than the limit, by its header."""

    def __init__(self, cause: str) -> None:
        super().__init__("corrupt", cause, "Crop or resize it first.")


class Header(NamedTuple):
    """Size and depth of an image after reading.

    height, width: pixels, with the orientation applied. channels: after conversion.
    dtype: one of DEPTHS. pages: number of pages of a stack.
    notes: conversions on reading: "alpha", "palette", "cmyk", "colour space", "animation", "several images",
        "rotated".
    """

    height: int
    width: int
    channels: int
    dtype: str
    pages: int = 1
    notes: tuple[str, ...] = ()


def check_num_pixels(height: int, width: int) -> None:
    """Raise TooManyPixels for a decompression bomb, before it is decoded."""
    if height * width > MAX_PIXELS:
        raise TooManyPixels(f"has {width:,}x{height:,} pixels, more than {MAX_PIXELS:,}")
    if max(height, width) > MAX_SIDE:
        raise TooManyPixels(f"has {width:,}x{height:,} pixels, more than {MAX_SIDE:,} in a row or column")
