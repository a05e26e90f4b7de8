"""What the first bytes of a picture file promise, and the error for a file that cannot be used as a picture."""

from __future__ import annotations

from typing import NamedTuple

from snellen.core.errors import DataError

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
    }
)
PIXELS = 178_956_970  # a picture with more is taken for a decompression bomb; Pillow refuses the same number
DEPTHS = ("uint8", "uint16", "float32", "float64")  # the shallowest first


class Unusable(DataError):
    """A file that cannot be used as a picture. `kind` is that of the finding: unreadable, corrupt, pages."""

    def __init__(self, kind: str, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.kind = kind


class TooManyPixels(Unusable):
    """A picture that is larger than is read, by what its header says."""

    def __init__(self, cause: str) -> None:
        super().__init__("corrupt", cause, "Cut or scale it first.")


class Header(NamedTuple):
    """Size and depth of a picture as it will be after reading.

    height, width: pixels, with the orientation applied. channels: after conversion.
    dtype: one of DEPTHS. pages: of a stack.
    notes: what reading does to the file: "alpha", "palette", "cmyk", "colour space", "animation", "rotated".
    """

    height: int
    width: int
    channels: int
    dtype: str
    pages: int = 1
    notes: tuple[str, ...] = ()


def too_large(height: int, width: int) -> None:
    """Raises Unusable before a decompression bomb is decoded."""
    if height * width > PIXELS:
        raise TooManyPixels(f"has {width:,}x{height:,} pixels, more than {PIXELS:,}")
