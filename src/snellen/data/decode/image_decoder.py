"""Image decoder: one file to a tensor at its own depth, with an error and remedy for unreadable files.

Pillow decodes 8-bit files (HEIC with another package), tifffile deeper ones and TIFF with any number of channels.
Conversions: the EXIF orientation is applied; alpha is composited on white; CMYK, palette and other colour spaces become
RGB; of an animation the first frame is used; HEIC of more than 8 bits is reduced to 8; a JPEG that is reduced in size
is decoded at the smallest sufficient power-of-two scale. `Header.notes` lists the conversions of a file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.input_files import open_regular
from snellen.core.spec import Preprocessing
from snellen.data.decode import tiff
from snellen.data.decode.header import HEIF_PACKAGES, MAX_PIXELS, Header, TooManyPixels, UnusableFile, check_num_pixels
from snellen.data.decode.nodata import fill_nodata
from snellen.data.source import apply_preprocessing

_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO 23008-12, annex B
_ORIENTATION = 274
_TILE_PIXELS = 1 << 20
_LARGE = 1 << 24  # values
_WARNINGS_LOCK = threading.Lock()  # `warnings.catch_warnings` is not thread-safe
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
            if _is_16_bit_colour(image):
                deep = _read_png_16(file)
            else:
                deep = to_array(_upright(image))[..., None]
            deep = _require_finite(fill_nodata(deep, preprocessing.nodata))
            deep = deep.astype(_depth(image), copy=False).transpose(2, 0, 1)  # (C, H, W)
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
            converted = to_array(image, None if is_supported else lambda part: part.convert("RGB"))
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


def exif(path: Path) -> dict[int, Any]:
    """EXIF tags of an image by number, those of the camera included. Raises UnusableFile if it cannot be read."""
    with _open_file(path) as file, _pillow(file) as image:
        if "exif" not in image.info and image.format != "TIFF":
            return {}
        with _without_warnings():
            tags = image.getexif()
            return {**tags, **tags.get_ifd(ExifTags.IFD.Exif)}


@contextlib.contextmanager
def _open_file(path: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Open a file; every failure to read it raises `UnusableFile`."""
    try:
        with open_regular(path) if isinstance(path, Path) else contextlib.nullcontext(path) as file:
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
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EISDIR):
            raise UnusableFile("unreadable", "is not a regular file", "Move it out of the data.") from error
        if error.errno == errno.ELOOP:
            raise UnusableFile("unreadable", "is a symbolic link that leads back to itself", "Remove it.") from error
        raise UnusableFile("corrupt", f"cannot be decoded ({_reason(error)})", "Save or download it again.") from error
    except (DataError, UsageError):
        raise
    except MemoryError as error:
        raise UnusableFile("corrupt", "does not fit in memory", "Crop or resize it first.") from error
    except Exception as error:  # decoders raise many kinds of errors on broken files
        raise UnusableFile("corrupt", f"cannot be decoded ({_reason(error)})", "Save or download it again.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@functools.cache
def _formats() -> tuple[str, ...]:
    """The supported formats that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _PILLOW if name in Image.OPEN)


@functools.cache
def _heif_formats() -> tuple[str, ...]:
    """The format of HEIC files, registered with Pillow, if a package for it is installed."""
    if not HEIF_PACKAGES:
        return ()
    importlib.import_module(HEIF_PACKAGES[0]).register_heif_opener()
    return ("HEIF",)


def _formats_of(file: IO[bytes]) -> tuple[str, ...]:
    """The formats that a file may have; the package for HEIC is imported for such a file only."""
    start = file.read(12)
    file.seek(0)
    return _formats() + (_heif_formats() if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS else ())


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings of large images, which have a limit here, and of corrupt EXIF data."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _pillow(file: IO[bytes]) -> Iterator[Image.Image]:
    try:
        with _without_warnings():
            image = Image.open(file, formats=_formats_of(file))
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
    if image.format == "HEIF" and getattr(image, "is_animated", False):
        notes.append("several images")
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return Header(height, width, 1 if grey else 3, _depth(image), 1, tuple(notes))


def _orientation(image: Image.Image) -> int:
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    with _without_warnings():
        return int(image.getexif().get(_ORIENTATION, 1))


def _eight_bits(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    if preprocessing.size is not None:
        height, width = preprocessing.size
        image.draft(None, (height, width) if _orientation(image) >= 5 else (width, height))
    upright = _upright(image)
    mode = {1: "L", 3: "RGB"}.get(preprocessing.channels or 0)

    def convert(part: Image.Image) -> Image.Image:
        part = _to_grey_or_rgb(part)
        return part if mode is None else part.convert(mode)

    if preprocessing.size is not None and upright.size != preprocessing.size[::-1]:
        is_plain = upright.mode == (mode or upright.mode) and upright.mode in ("L", "RGB")
        plain = is_plain and not upright.has_transparency_data
        converted = upright if plain else Image.fromarray(to_array(upright, convert))
        values = to_array(converted.resize(preprocessing.size[::-1], _RESAMPLING[preprocessing.resample]))
    else:
        values = to_array(upright, convert)
    x = torch.from_numpy(values)
    return _apply(x[None] if x.ndim == 2 else x.permute(2, 0, 1).contiguous(), preprocessing)


def _upright(image: Image.Image) -> Image.Image:
    """The image with its EXIF orientation applied; itself, not a copy, if there is none."""
    return ImageOps.exif_transpose(image) if _orientation(image) != 1 else image


def to_array(image: Image.Image, convert: Callable[[Image.Image], Image.Image] | None = None) -> np.ndarray:
    """Values of an image, (H, W) or (H, W, C), after a conversion of its pixels.

    A large image is converted and copied tile by tile: whole, Pillow would hold several copies of it.
    """
    image.load()
    if image.width * image.height <= _TILE_PIXELS:
        return np.array(image if convert is None else convert(image))
    values: np.ndarray | None = None
    for rows, columns in tiles(image.height, image.width):
        part = image.crop((columns.start, rows.start, columns.stop, rows.stop))
        tile = np.asarray(part if convert is None else convert(part))
        if values is None:  # channels first in memory, as the decoder returns them
            values = np.moveaxis(np.empty((*tile.shape[2:], image.height, image.width), tile.dtype), (-2, -1), (0, 1))
        values[rows, columns] = tile
    assert values is not None
    return values


def tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles of at most `_TILE_PIXELS` pixels that cover an image."""
    step = max(1, _TILE_PIXELS // width)
    for top, left in itertools.product(range(0, height, step), range(0, width, _TILE_PIXELS)):
        yield slice(top, min(top + step, height)), slice(left, min(left + _TILE_PIXELS, width))


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
    values: np.ndarray | None = None
    for order in ("B", "L"):
        file.seek(0)
        with _pillow(file) as image:
            assert isinstance(image, ImageFile.ImageFile)
            if not str(image.tile[0].args).startswith("RGB"):
                raise UnusableFile("corrupt", "is a 16-bit grey PNG with alpha", "Save it without alpha.")
            image.tile = [image.tile[0]._replace(args=f"{image.mode};16{order}")]
            half = to_array(_upright(image))
        if values is None:
            values = half.astype(np.uint16) << 8
        else:
            values |= half
    assert values is not None
    if values.shape[2] == 3:
        return values
    composited = np.empty((*values.shape[:2], 3), np.uint16)
    for tile in tiles(*values.shape[:2]):
        alpha = values[tile][..., 3:] / 65535
        composited[tile] = np.rint(values[tile][..., :3] * alpha + 65535 * (1 - alpha))
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
        if x.numel() > _LARGE and preprocessing.size is not None and preprocessing.channels in (None, len(x)):
            one = replace(preprocessing, channels=None)  # one channel at a time: values are resized in float32
            return torch.cat([apply_preprocessing(channel[None, None], one)[0] for channel in x])
        return apply_preprocessing(x[None], preprocessing)[0].contiguous()
    except DataError as error:
        raise UnusableFile("channels", error.cause, error.remedy) from error
