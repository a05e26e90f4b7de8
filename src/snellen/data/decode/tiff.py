"""TIFF decoder for scientific images: 16 bits, floats, any number of channels, stacks of pages.

Only the file itself is read, never others that its metadata name.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections import ChainMap
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from snellen.core.spec import Preprocessing
from snellen.data.decode.decompress import DECOMPRESSORS
from snellen.data.decode.header import Header, UnusableFile, check_num_pixels
from snellen.data.decode.tiff_limits import check_num_values, check_ome_metadata, check_storage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_COMPRESSIONS = (1, 8, 32946, 32773, 34925)  # none, deflate, PackBits, LZMA: decoded by tifffile itself
_PILLOW_PHOTOMETRICS = ("PALETTE", "YCBCR", "SEPARATED", "CIELAB", "MINISWHITE")  # 8-bit photographs


def is_tiff(file: IO[bytes]) -> bool:
    start = file.read(4)
    file.seek(0)
    return start in _MAGIC


@functools.cache
def _tifffile() -> Any:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # problems are reported as our errors
    # Its own decompressors have no limit; it passes the size of a strip or tile to each as `out`.
    tifffile.TIFF.DECOMPRESSORS = ChainMap(dict(DECOMPRESSORS), tifffile.TIFF.DECOMPRESSORS)
    return tifffile


@contextlib.contextmanager
def open_tiff(file: IO[bytes]) -> Iterator[Any]:
    """Open a TIFF; None if Pillow is to read it: 8-bit photographs, LZW."""
    with _tifffile().TiffFile(file, _multifile=False) as tif:  # OME metadata may name other files
        tif.is_mmstack = tif.is_ndtiff = False  # formats of several files
        check_ome_metadata(tif)
        yield None if _use_pillow(tif) else tif
    file.seek(0)


def _use_pillow(tif: Any) -> bool:
    page = tif.pages.first
    if len(tif.series) > 1 or tif.series[0].shape != page.shape:
        return False
    if page.samplesperpixel == 1 and int(page.compression) not in _COMPRESSIONS:
        return True
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if bits > 8 or page.sampleformat not in (None, 1):
        return False
    alpha = page.samplesperpixel in (2, 4) and any(int(extra) in (1, 2) for extra in page.extrasamples)
    return page.samplesperpixel in (1, 3) or alpha or page.photometric.name in _PILLOW_PHOTOMETRICS


def _axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes, and their lengths, of a series or page, without axes of length 1 except Y and X."""
    axis_lengths = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n != 1 or axis in "YX"]
    return "".join(axis for axis, _ in axis_lengths), tuple(n for _, n in axis_lengths)


def header(tif: Any) -> Header:
    """Header of the first page; `pages` is the number of all pages."""
    stacks = _stacks(tif)
    return stacks[0][1]._replace(pages=sum(stack.pages for _, stack in stacks))


def headers(tif: Any) -> list[Header]:
    """Header of each page."""
    return [stack._replace(pages=1) for _, stack in _stacks(tif) for _ in range(stack.pages)]


def _stacks(tif: Any) -> list[tuple[Any, Header]]:
    """All series of images, each with the header and number of its pages, which are equal within a series.

    Raises:
        UnusableFile: if the first series is not an image.
    """
    stacks = [(tif.series[0], _header(tif, tif.series[0]))]
    for series in tif.series[1:]:
        if series.kind != "label":
            with contextlib.suppress(UnusableFile):
                stacks.append((series, _header(tif, series)))
    return stacks


def _header(tif: Any, series: Any) -> Header:
    axes, shape = _axes(series)
    sizes = dict(zip(axes, shape, strict=True))
    if "Y" not in sizes or "X" not in sizes or 0 in shape:
        raise UnusableFile(
            "corrupt", f"is a TIFF of axes {axes or 'none'} {shape}, not an image", "Save it as an image."
        )
    channels = sizes.get("S", 1) * sizes.get("C", 1)
    check_num_pixels(sizes["Y"], sizes["X"])
    check_num_values(sizes["Y"] * sizes["X"] * channels, "in an image")
    check_storage(tif, series)
    pages = math.prod(n for axis, n in sizes.items() if axis not in "YXSC")
    orientation_tag = _orientation(tif)
    height, width = (sizes["X"], sizes["Y"]) if orientation_tag >= 5 else (sizes["Y"], sizes["X"])
    return Header(
        height, width, channels, storage_dtype(series.dtype), pages, ("rotated",) if orientation_tag != 1 else ()
    )


def storage_dtype(dtype: np.dtype[Any]) -> str:
    """Smallest of uint8, uint16, float32 and float64 that represents all values of `dtype`."""
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return "uint8" if dtype.itemsize == 1 else "uint16"
    if dtype.kind in "iuf":
        return "float32" if dtype.itemsize <= 2 or dtype == np.float32 else "float64"
    raise UnusableFile("corrupt", f"has values of type {dtype}", "Save it as integers or floats.")


def values(tif: Any, preprocessing: Preprocessing, page: int | None = None) -> np.ndarray:
    """Read an image (C, H, W) at its storage dtype.

    Args:
        page: page from 0; None: as `preprocessing.pages` states.
    Raises:
        UnusableFile: for a stack if `preprocessing.pages` is not set, and for a truncated file.
    """
    if page is None:
        pages = header(tif).pages
        if pages > 1 and preprocessing.pages not in ("first", "max"):
            raise stack_error(pages)
        _require_complete(tif, tif.pages)
    if page is None and preprocessing.pages == "max":
        every = ((series, range(stack.pages)) for series, stack in _stacks(tif))
        content = functools.reduce(_maximum, (plane for place in every for plane in _read_pages(tif, *place)))
    else:
        content = _page(tif, page or 0)
    depth = storage_dtype(content.dtype)
    content = content.astype(depth) * np.uint8(255) if content.dtype == np.bool_ else content.astype(depth, copy=False)
    return _apply_orientation(content, _orientation(tif))


def _maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.shape != b.shape:
        raise UnusableFile("corrupt", "has pages of several sizes", "Choose --pages first or each.")
    largest: np.ndarray = np.maximum(a, b)
    return largest


def _planes(series: Any) -> np.ndarray:
    """All pages of a series, (pages, C, H, W)."""
    axes, shape = _axes(series)
    content = np.asarray(series.asarray()).reshape(shape)
    order = [k for k, axis in enumerate(axes) if axis not in "YXSC"]
    order += [axes.index(axis) for axis in "CSYX" if axis in axes]
    content = content.transpose(order)
    channels = int(np.prod([n for axis, n in zip(axes, shape, strict=True) if axis in "SC"], dtype=np.int64))
    return content.reshape(-1, channels, *content.shape[-2:])


def _page(tif: Any, number: int) -> np.ndarray:
    """One page (C, H, W), counted over all series; decodes only this page if the file stores pages separately."""
    index = number
    for series, page_header in _stacks(tif):
        if index < page_header.pages:
            return next(_read_pages(tif, series, [index]))
        index -= page_header.pages
    raise UnusableFile("corrupt", f"has no page {number + 1}", "Open the data again.")


def _read_pages(tif: Any, series: Any, indices: Iterable[int]) -> Iterator[np.ndarray]:
    """Pages (C, H, W) of a series, decoded one by one if the file stores them separately, else all at once."""
    planes: np.ndarray | None = None
    for index in indices:
        plane = _read_page_directories(tif, series, index) if planes is None else planes[index]
        if plane is None:
            check_num_values(math.prod(series.shape), "in all pages, which are stored as one")
            _require_complete(tif, tif.pages)
            planes = _planes(series)
            plane = planes[index]
        yield plane


def _read_page_directories(tif: Any, series: Any, number: int) -> np.ndarray | None:
    """One page (C, H, W) stored in one file directory per channel or for all channels; None if stored otherwise."""
    axes, shape = _axes(series)
    inner, size = _axes(series.keyframe)
    outer = len(axes) - len(inner)
    directory_indices = np.arange(np.prod(shape[:outer], dtype=np.int64)).reshape(shape[:outer])
    if (
        axes[outer:] != inner
        or shape[outer:] != size
        or set(inner) - set("YXSC")
        or len(series.pages) != directory_indices.size
    ):
        return None
    order = sorted(range(outer), key=lambda k: axes[k] in "SC")  # a stable sort
    channels = int(np.prod([shape[k] for k in range(outer) if axes[k] in "SC"], dtype=np.int64))
    try:
        directories = [
            series.pages[k] for k in directory_indices.transpose(order).reshape(-1, channels)[number].tolist()
        ]
    except IndexError:  # ImageJ writes one directory for all pages of a large file
        return None
    _require_complete(tif, directories)
    content = np.stack([np.asarray(page.asarray()).reshape(size) for page in directories])
    content = content.transpose(0, *(1 + inner.index(axis) for axis in "CSYX" if axis in inner))
    return content.reshape(-1, *content.shape[-2:])


def stack_error(pages: int) -> UnusableFile:
    """Error for a stack of pages if `--pages` is not set."""
    return UnusableFile(
        "pages",
        f"is a stack of {pages} pages",
        "Choose --pages first, max, or each (one sample per page).",
    )


def _require_complete(tif: Any, pages: Iterable[Any]) -> None:
    """Raise an error for a truncated file, in which tifffile would fill missing data with zeros."""
    size = tif.filehandle.size
    for page in pages:
        if page is None:
            raise UnusableFile("corrupt", "lacks one of its pages", "Download it again.")
        frame = page.aspage() if hasattr(page, "aspage") else page
        for offset, count in zip(frame.dataoffsets, frame.databytecounts, strict=True):
            if offset + count > size:
                raise UnusableFile(
                    "corrupt", f"is truncated: {size:,} of {offset + count:,} bytes", "Download it again."
                )


def _orientation(tif: Any) -> int:
    tag = tif.pages.first.tags.get(_ORIENTATION)
    value = int(tag.value) if tag is not None else 1
    return value if 1 <= value <= 8 else 1


def _apply_orientation(x: np.ndarray, orientation: int) -> np.ndarray:
    """Apply the orientation tag of TIFF 6.0 to (C, H, W)."""
    if orientation >= 5:
        x = x.swapaxes(1, 2)
    if orientation in (2, 3, 7, 6):
        x = x[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        x = x[:, ::-1]
    return np.ascontiguousarray(x)
