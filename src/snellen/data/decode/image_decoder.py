"""Image decoder: one file to a tensor at its own depth, with an error and remedy for unreadable files.

Pillow decodes 8-bit files, tifffile deeper ones and TIFF with any number of channels. Conversions: the EXIF orientation
is applied; alpha is composited on white; CMYK, palette and other colour spaces become RGB; of an animation the first
frame is used; a JPEG that is reduced in size is decoded at the smallest sufficient power-of-two scale. `Header.notes`
lists the conversions of a file.
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
from snellen.data.decode.header import MAX_PIXELS, Header, TooManyPixels, UnusableFile, check_num_pixels
from snellen.data.decode.nodata import fill_nodata
from snellen.data.source import apply_preprocessing

_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ORIENTATION = 274
_OPEN_LOCK = threading.Lock()  # `warnings.catch_warnings` is not thread-safe
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def header(path: Path | IO[bytes]) -> Header:
    """Size, channels and depth of an image file, without decoding it.

    Args:
        path: or an open binary file, read from its beginning.
    Raises:
        UnusableFile: if the file is not an image.
    """
    with _open_file(path) as file:
        if tiff.is_tiff(file):
            with tiff.open_tiff(file) as tif:
                if tif is not None:
                    return tiff.header(tif)
        with _pillow(file) as image:
            return _pillow_header(image)


def headers(path: Path | IO[bytes]) -> list[Header]:
    """As `header`, for each page of a stack.

    Raises:
        UnusableFile: if the file is not an image.
    """
    with _open_file(path) as file:
        if tiff.is_tiff(file):
            with tiff.open_tiff(file) as tif:
                if tif is not None:
                    return tiff.headers(tif)
        with _pillow(file) as image:
            return [_pillow_header(image)]


def decode(path: Path | IO[bytes], preprocessing: Preprocessing, page: int | None = None) -> Tensor:
    """Decode an image to (C, H, W) at the depth of the file, in the size and channels of `preprocessing`.

    Args:
        path: or an open binary file, read from its beginning.
        page: page of a stack, from 0; None: as `preprocessing.pages` states.
    Raises:
        UnusableFile: if the file cannot be read, or not with `preprocessing`.
    """
    with _open_file(path) as file:
        if tiff.is_tiff(file):
            with tiff.open_tiff(file) as tif:
                if tif is not None:
                    return _apply(
                        torch.from_numpy(
                            _require_finite(fill_nodata(tiff.values(tif, preprocessing, page), preprocessing.nodata))
                        ),
                        preprocessing,
                    )
        with _pillow(file) as image:
            if _depth(image) == "uint8":
                return _eight_bits(image, preprocessing)
            deep = (
                _read_png_16(file) if _is_16_bit_colour(image) else np.array(ImageOps.exif_transpose(image))[..., None]
            )
            deep = _require_finite(fill_nodata(deep, preprocessing.nodata)).astype(_depth(image)).transpose(2, 0, 1)
            return _apply(torch.from_numpy(np.ascontiguousarray(deep)), preprocessing)


def read_raw_values(path: Path) -> np.ndarray:
    """Read the values of a file as stored, (H, W) or (H, W, C), for masks and dense maps.

    A palette stays indices, bits become 0 and 1, alpha is dropped, no orientation is applied; floats may be NaN.

    Raises:
        UnusableFile: if the file cannot be read.
    """
    with _open_file(path) as file:
        if tiff.is_tiff(file):
            with tiff.open_tiff(file) as tif:
                if tif is not None:
                    values = tiff.values(tif, Preprocessing()).transpose(1, 2, 0)  # (H, W, C)
                    return values[..., 0] if values.shape[2] == 1 else values
        with _pillow(file) as image:
            if _is_16_bit_colour(image):
                return _read_png_16(file)
            is_supported = image.mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "I", "F") or image.mode.startswith(
                "I;16"
            )
            converted = np.array(image if is_supported else image.convert("RGB"))
            converted = converted.astype(np.uint8) if image.mode == "1" else converted
            return (
                converted[..., 0]
                if image.mode in ("LA", "PA")
                else converted[..., :3]
                if converted.ndim == 3
                else converted
            )


def is_lossy(path: Path) -> bool:
    """Whether a file is a JPEG or a lossy WebP, which changes values. Raises UnusableFile if it cannot be read."""
    with _open_file(path) as file:
        start = file.read(16)
        return start.startswith(b"\xff\xd8\xff") or (start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8 ")


def palette(path: Path) -> tuple[int, ...]:
    """The colours of a palette, r << 16 | g << 8 | b; none for a file without. Raises UnusableFile."""
    with _open_file(path) as file:
        if tiff.is_tiff(file):
            return ()
        with _pillow(file) as image:
            values = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    return tuple(r << 16 | g << 8 | b for r, g, b in zip(*[iter(values or ())] * 3, strict=False))


def orientation(path: Path) -> int:
    """EXIF orientation of an image, 1 to 8; 1 is as stored."""
    with _open_file(path) as file, _pillow(file) as image:
        return _orientation(image)


@contextlib.contextmanager
def _open_file(path: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Open a file; every failure to read it raises `UnusableFile`."""
    try:
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
            raise UnusableFile("unreadable", "is not a regular file", "Move it out of the data.")
        with open(path, "rb") if isinstance(path, Path) else contextlib.nullcontext(path) as file:
            file.seek(0)
            start = file.read(64).lstrip().lower()
            file.seek(0)
            if not start:
                raise UnusableFile("corrupt", "has 0 bytes", "Download or save it again.")
            if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
                raise UnusableFile("corrupt", "is a web page or XML, not an image", "Download it again.")
            yield file
    except FileNotFoundError as error:
        reason = "is a dangling link" if isinstance(path, Path) and path.is_symlink() else "does not exist"
        raise UnusableFile("unreadable", reason, "Restore or remove it.") from error
    except PermissionError as error:
        raise UnusableFile("unreadable", "has no read permission", "Fix its permissions.") from error
    except (DataError, UsageError):
        raise
    except MemoryError as error:
        raise UnusableFile("corrupt", "does not fit in memory", "Crop or resize it first.") from error
    except Exception as error:  # decoders raise many kinds of errors on broken files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnusableFile("corrupt", f"cannot be decoded ({reason})", "Save or download it again.") from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """The supported formats that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _PILLOW if name in Image.OPEN)


@contextlib.contextmanager
def _pillow(file: IO[bytes]) -> Iterator[Image.Image]:
    try:
        with _OPEN_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=_formats())
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"has more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnusableFile(
            "corrupt", "is not an image in a supported format", "Save it as PNG, JPEG or TIFF."
        ) from error
    with image:
        check_num_pixels(image.height, image.width)
        yield image


def _depth(image: Image.Image) -> str:
    if (
        image.mode.startswith("I;16")
        or (image.mode == "I" and image.format in ("PNG", "PPM"))
        or _is_16_bit_colour(image)
    ):
        return "uint16"
    return {"I": "float64", "F": "float32"}.get(image.mode, "uint8")


def _is_16_bit_colour(image: Image.Image) -> bool:
    return (
        image.format == "PNG"
        and image.mode in ("RGB", "RGBA")
        and isinstance(image, ImageFile.ImageFile)
        and bool(image.tile)
        and ";16" in str(image.tile[0].args)
    )


def _pillow_header(image: Image.Image) -> Header:
    height, width, notes = image.height, image.width, []
    if (orientation_tag := _orientation(image)) != 1:
        notes.append("rotated")
    if orientation_tag >= 5:
        height, width = width, height
    if image.has_transparency_data:
        notes.append("alpha")
    notes_of_mode = {"P": "palette", "PA": "palette", "CMYK": "cmyk", "YCbCr": "colour space", "LAB": "colour space"}
    if image.mode in notes_of_mode:
        notes.append(notes_of_mode[image.mode])
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
    converted = _to_grey_or_rgb(ImageOps.exif_transpose(image))
    if preprocessing.channels in (1, 3):
        converted = converted.convert("L" if preprocessing.channels == 1 else "RGB")
    if preprocessing.size is not None and converted.size != preprocessing.size[::-1]:
        converted = converted.resize(preprocessing.size[::-1], _RESAMPLING[preprocessing.resample])
    values = torch.from_numpy(np.array(converted))
    return _apply(values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous(), preprocessing)


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB: alpha composited on white, other modes by Pillow."""
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        composited = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", composited.size, "white"), composited).convert(
            "L" if grey else "RGB"
        )
    if image.mode in ("L", "RGB"):
        image.load()
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _read_png_16(file: IO[bytes]) -> np.ndarray:
    """Read a 16-bit colour PNG (H, W, 3) uint16, high and low bytes in turn, as Pillow reads only the high ones."""
    halves = []
    for order in ("B", "L"):
        file.seek(0)
        with _pillow(file) as image:
            assert isinstance(image, ImageFile.ImageFile)
            if not str(image.tile[0].args).startswith("RGB"):
                raise UnusableFile("corrupt", "is a 16-bit grey PNG with alpha", "Save it without alpha.")
            image.tile = [image.tile[0]._replace(args=f"{image.mode};16{order}")]
            halves.append(np.array(ImageOps.exif_transpose(image)).astype(np.uint16))
    values = halves[0] << 8 | halves[1]
    if values.shape[2] == 3:
        return values
    alpha = values[..., 3:] / 65535
    composited: np.ndarray = np.rint(values[..., :3] * alpha + 65535 * (1 - alpha)).astype(np.uint16)
    return composited


def _require_finite(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UnusableFile(
            "corrupt",
            f"has {int((~np.isfinite(x)).sum()):,} values that are NaN or infinite",
            "Correct the values, or skip the image with --quarantine.",
        )
    return x


def _apply(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    try:
        return apply_preprocessing(x[None], preprocessing)[0].contiguous()
    except DataError as error:
        raise UnusableFile("channels", error.cause, error.remedy) from error
