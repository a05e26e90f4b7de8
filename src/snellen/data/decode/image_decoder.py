"""One picture file to a tensor at its own depth. What cannot be read says why and how to mend it.

Eight bits go through Pillow, deeper ones and TIFF of any number of channels through tifffile. What the file holds is
made plain in one documented way: the EXIF orientation is applied; alpha is laid over white; CMYK, palette and other
colour spaces become RGB; of an animation the first frame is taken; a JPEG that is to become smaller is decoded at
the smallest power-of-two scale that serves. `Header.notes` says which of these a file needs.
"""

from __future__ import annotations

import contextlib
import functools
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Preprocessing
from snellen.data.decode import tiff
from snellen.data.decode.header import PIXELS, Header, TooManyPixels, Unusable, too_large
from snellen.data.source import as_read

_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ORIENTATION = 274
_OPENING = threading.Lock()  # `warnings.catch_warnings` is not thread-safe
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def header(path: Path | IO[bytes]) -> Header:
    """Size, channels and depth of a picture file, without decoding it.

    Args:
        path: or an open file of bytes, read from its beginning.
    Raises:
        Unusable: saying why the file is no picture.
    """
    with _opened(path) as file:
        if tiff.is_tiff(file):
            with tiff.opened(file) as tif:
                if tif is not None:
                    return tiff.header(tif)
        with _pillow(file) as image:
            return _pillow_header(image)


def headers(path: Path | IO[bytes]) -> list[Header]:
    """As `header`, of each page of a stack.

    Raises:
        Unusable: saying why the file is no picture.
    """
    with _opened(path) as file:
        if tiff.is_tiff(file):
            with tiff.opened(file) as tif:
                if tif is not None:
                    return tiff.headers(tif)
        with _pillow(file) as image:
            return [_pillow_header(image)]


def decode(path: Path | IO[bytes], preprocessing: Preprocessing, page: int | None = None) -> Tensor:
    """(C, H, W) at the depth of the file, in the size and channels of `preprocessing`.

    Args:
        path: or an open file of bytes, read from its beginning.
        page: of a stack, from 0; None: what the reading makes of all.
    Raises:
        Unusable: saying why the file cannot be read, or not as `preprocessing` wants it.
    """
    with _opened(path) as file:
        if tiff.is_tiff(file):
            with tiff.opened(file) as tif:
                if tif is not None:
                    return _as_wanted(
                        torch.from_numpy(_only_numbers(tiff.values(tif, preprocessing, page))), preprocessing
                    )
        with _pillow(file) as image:
            if _depth(image) == "uint8":
                return _eight_bits(image, preprocessing)
            deep = _png_16(file) if _colour_16(image) else np.array(ImageOps.exif_transpose(image))[..., None]
            deep = _only_numbers(deep).astype(_depth(image)).transpose(2, 0, 1)  # (C, H, W)
            return _as_wanted(torch.from_numpy(np.ascontiguousarray(deep)), preprocessing)


def stored(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) the values as the file holds them, which is how maps are read.

    A palette stays indices, bits become 0 and 1, alpha is dropped, nothing is turned; NaN may be among floats.

    Raises:
        Unusable: saying why the file cannot be read.
    """
    with _opened(path) as file:
        if tiff.is_tiff(file):
            with tiff.opened(file) as tif:
                if tif is not None:
                    values = tiff.values(tif, Preprocessing()).transpose(1, 2, 0)  # (H, W, C)
                    return values[..., 0] if values.shape[2] == 1 else values
        with _pillow(file) as image:
            if _colour_16(image):
                return _png_16(file)
            known = image.mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "I", "F") or image.mode.startswith("I;16")
            plain = np.array(image if known else image.convert("RGB"))
            plain = plain.astype(np.uint8) if image.mode == "1" else plain
            return plain[..., 0] if image.mode in ("LA", "PA") else plain[..., :3] if plain.ndim == 3 else plain


def orientation(path: Path) -> int:
    """How the picture is to be turned, 1 to 8 as EXIF counts; 1 is as it is stored."""
    with _opened(path) as file, _pillow(file) as image:
        return _orientation(image)


@contextlib.contextmanager
def _opened(path: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """The file, and every way in which reading it can fail as `Unusable`."""
    try:
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise Unusable("unreadable", "is no regular file", "Move it out of the data.")
        with open(path, "rb") if isinstance(path, Path) else contextlib.nullcontext(path) as file:
            file.seek(0)
            start = file.read(64).lstrip().lower()
            file.seek(0)
            if not start:
                raise Unusable("corrupt", "has 0 bytes", "Fetch or save it again.")
            if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
                raise Unusable("corrupt", "is a web page or XML, not a picture", "Fetch it again.")
            yield file
    except FileNotFoundError as error:
        gone = "is a link to nothing" if isinstance(path, Path) and path.is_symlink() else "is not there"
        raise Unusable("unreadable", gone, "Mend or remove it.") from error
    except PermissionError as error:
        raise Unusable("unreadable", "may not be read", "Mend its permissions.") from error
    except (DataError, UsageError):
        raise
    except MemoryError as error:
        raise Unusable("corrupt", "does not fit in memory", "Cut or scale it first.") from error
    except Exception as error:  # the decoders raise errors of every kind on broken files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise Unusable("corrupt", f"cannot be decoded ({reason})", "Save or fetch it again.") from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that are read, of those that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _PILLOW if name in Image.OPEN)


@contextlib.contextmanager
def _pillow(file: IO[bytes]) -> Iterator[Image.Image]:
    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=_formats())
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"has more than {PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise Unusable("corrupt", "is no picture in a known format", "Save it as PNG, JPEG or TIFF.") from error
    with image:
        too_large(image.height, image.width)
        yield image


def _depth(image: Image.Image) -> str:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")) or _colour_16(image):
        return "uint16"
    return {"I": "float64", "F": "float32"}.get(image.mode, "uint8")


def _colour_16(image: Image.Image) -> bool:
    return (
        image.format == "PNG"
        and image.mode in ("RGB", "RGBA")
        and isinstance(image, ImageFile.ImageFile)
        and bool(image.tile)
        and ";16" in str(image.tile[0].args)
    )


def _pillow_header(image: Image.Image) -> Header:
    height, width, notes = image.height, image.width, []
    if (turned := _orientation(image)) != 1:
        notes.append("rotated")
    if turned >= 5:
        height, width = width, height
    if image.has_transparency_data:
        notes.append("alpha")
    named = {"P": "palette", "PA": "palette", "CMYK": "cmyk", "YCbCr": "colour space", "LAB": "colour space"}
    if image.mode in named:
        notes.append(named[image.mode])
    if image.format in ("GIF", "WEBP", "PNG", "AVIF") and getattr(image, "is_animated", False):
        notes.append("animation")
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return Header(height, width, 1 if grey else 3, _depth(image), 1, tuple(notes))


def _orientation(image: Image.Image) -> int:
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _eight_bits(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    if preprocessing.size is not None:
        height, width = preprocessing.size
        image.draft(None, (height, width) if _orientation(image) >= 5 else (width, height))
    plain = _plain(ImageOps.exif_transpose(image))
    if preprocessing.channels in (1, 3):
        plain = plain.convert("L" if preprocessing.channels == 1 else "RGB")
    if preprocessing.size is not None and plain.size != preprocessing.size[::-1]:
        plain = plain.resize(preprocessing.size[::-1], _RESAMPLING[preprocessing.resample])
    values = torch.from_numpy(np.array(plain))
    return _as_wanted(values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous(), preprocessing)


def _plain(image: Image.Image) -> Image.Image:
    """A picture of mode L or RGB: alpha over white, everything else by Pillow's conversion."""
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("L" if grey else "RGB")
    if image.mode in ("L", "RGB"):
        image.load()
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _png_16(file: IO[bytes]) -> np.ndarray:
    """(H, W, 3) uint16. Pillow keeps the high bytes of 16-bit colour, so it is asked for the low ones too."""
    halves = []
    for order in ("B", "L"):
        file.seek(0)
        with _pillow(file) as image:
            assert isinstance(image, ImageFile.ImageFile)
            if not str(image.tile[0].args).startswith("RGB"):
                raise Unusable("corrupt", "is a 16-bit grey PNG with alpha", "Save it without alpha.")
            image.tile = [image.tile[0]._replace(args=f"{image.mode};16{order}")]
            halves.append(np.array(ImageOps.exif_transpose(image)).astype(np.uint16))
    values = halves[0] << 8 | halves[1]
    if values.shape[2] == 3:
        return values
    alpha = values[..., 3:] / 65535
    over: np.ndarray = np.rint(values[..., :3] * alpha + 65535 * (1 - alpha)).astype(np.uint16)
    return over


def _only_numbers(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise Unusable(
            "corrupt",
            f"holds {int((~np.isfinite(x)).sum()):,} values that are NaN or infinite",
            "Mend the values, or leave the picture out with --quarantine.",
        )
    return x


def _as_wanted(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    try:
        return as_read(x[None], preprocessing)[0].contiguous()
    except DataError as error:
        raise Unusable("channels", error.cause, "Convert it first.") from error
