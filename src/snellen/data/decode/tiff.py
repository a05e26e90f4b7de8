"""Scientific TIFF at its own depth: 16 bits, floats, any number of channels, stacks of pages."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from snellen.core.spec import Preprocessing
from snellen.data.decode.header import Header, Unusable, too_large

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_DECODED = (1, 8, 32946, 32773, 34925)  # none, deflate, PackBits, LZMA: what tifffile decodes by itself
_FOR_PILLOW = ("PALETTE", "YCBCR", "SEPARATED", "CIELAB", "MINISWHITE")  # 8-bit pictures, not measurements


def is_tiff(file: IO[bytes]) -> bool:
    start = file.read(4)
    file.seek(0)
    return start in _STARTS


@functools.cache
def _tifffile() -> Any:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong comes as our error
    return tifffile


@contextlib.contextmanager
def opened(file: IO[bytes]) -> Iterator[Any]:
    """The open TIFF, or None where Pillow reads it better: 8 bits in the colours of photographs, LZW."""
    with _tifffile().TiffFile(file) as tif:
        yield None if _is_for_pillow(tif) else tif
    file.seek(0)


def _is_for_pillow(tif: Any) -> bool:
    page = tif.pages.first
    if len(tif.series) > 1 or tif.series[0].shape != page.shape:
        return False
    if page.samplesperpixel == 1 and int(page.compression) not in _DECODED:
        return True
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if bits > 8 or page.sampleformat not in (None, 1):
        return False
    alpha = page.samplesperpixel in (2, 4) and any(int(extra) in (1, 2) for extra in page.extrasamples)
    return page.samplesperpixel in (1, 3) or alpha or page.photometric.name in _FOR_PILLOW


def _axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """The axes of more than one entry of a series, or of a page, and their lengths; Y and X always stay."""
    kept = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n != 1 or axis in "YX"]
    return "".join(axis for axis, _ in kept), tuple(n for _, n in kept)


def header(tif: Any) -> Header:
    """Of the first page; `pages` counts all."""
    stacks = _stacks(tif)
    return stacks[0][1]._replace(pages=sum(stack.pages for _, stack in stacks))


def headers(tif: Any) -> list[Header]:
    """Of each page."""
    return [stack._replace(pages=1) for _, stack in _stacks(tif) for _ in range(stack.pages)]


def _stacks(tif: Any) -> list[tuple[Any, Header]]:
    """Every series of pictures, which are alike within one, with the header of its pages and their number.

    Raises:
        Unusable: where the first is none.
    """
    found = [(tif.series[0], _header(tif, tif.series[0]))]
    for series in tif.series[1:]:
        if series.kind != "label":
            with contextlib.suppress(Unusable):
                found.append((series, _header(tif, series)))
    return found


def _header(tif: Any, series: Any) -> Header:
    axes, shape = _axes(series)
    sizes = dict(zip(axes, shape, strict=True))
    if "Y" not in sizes or "X" not in sizes or 0 in shape:
        raise Unusable("corrupt", f"is a TIFF of axes {axes or 'none'} {shape}, not a picture", "Save it again.")
    too_large(sizes["Y"], sizes["X"])
    pages = int(np.prod([n for axis, n in sizes.items() if axis not in "YXSC"], dtype=np.int64))
    channels = sizes.get("S", 1) * sizes.get("C", 1)
    turned = _orientation(tif)
    height, width = (sizes["X"], sizes["Y"]) if turned >= 5 else (sizes["Y"], sizes["X"])
    return Header(height, width, channels, kept_depth(series.dtype), pages, ("rotated",) if turned != 1 else ())


def kept_depth(dtype: np.dtype[Any]) -> str:
    """The depth among uint8, uint16, float32 and float64 that holds every value of `dtype`."""
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return "uint8" if dtype.itemsize == 1 else "uint16"
    if dtype.kind in "iuf":
        return "float32" if dtype.itemsize <= 2 or dtype == np.float32 else "float64"
    raise Unusable("corrupt", f"holds values of type {dtype}", "Save it as integers or floats.")


def values(tif: Any, preprocessing: Preprocessing, page: int | None = None) -> np.ndarray:
    """(C, H, W) at the kept depth.

    Args:
        page: the one that is wanted, from 0; None: what the reading makes of all.
    Raises:
        Unusable: for a stack of pages when nothing says what they mean, and for a file that is cut short.
    """
    if page is not None:
        content = _page(tif, page)
    else:
        promised = header(tif)
        if promised.pages > 1 and preprocessing.pages not in ("first", "max"):
            raise stack(promised.pages)
        _whole(tif, tif.pages)
        every = _planes(tif.series[0])
        if preprocessing.pages == "max":
            planes = [every] + [np.asarray(s.asarray()).reshape(-1, *every.shape[1:]) for s in tif.series[1:]]
            every = np.concatenate(planes).max(0, keepdims=True)
        content = every[0]
    depth = kept_depth(content.dtype)
    scale = 255 if content.dtype == np.bool_ else 1
    return _turned(content.astype(depth) * np.asarray(scale, depth), _orientation(tif))


def _planes(series: Any) -> np.ndarray:
    """(pages, C, H, W) all of a series."""
    axes, shape = _axes(series)
    content = np.asarray(series.asarray()).reshape(shape)
    order = [k for k, axis in enumerate(axes) if axis not in "YXSC"]
    order += [axes.index(axis) for axis in "CSYX" if axis in axes]
    content = content.transpose(order)
    channels = int(np.prod([n for axis, n in zip(axes, shape, strict=True) if axis in "SC"], dtype=np.int64))
    return content.reshape(-1, channels, *content.shape[-2:])


def _page(tif: Any, number: int) -> np.ndarray:
    """(C, H, W) one page of all series, without decoding the others where the file keeps them apart."""
    left = number
    for series, promised in _stacks(tif):
        if left < promised.pages:
            plane = _alone(tif, series, left)
            if plane is None:
                _whole(tif, tif.pages)
                plane = _planes(series)[left]
            return plane
        left -= promised.pages
    raise Unusable("corrupt", f"has no page {number + 1}", "Open the data again.")


def _alone(tif: Any, series: Any, number: int) -> np.ndarray | None:
    """(C, H, W) one page, which is one directory of the file for each channel or for all; None where it is not."""
    axes, shape = _axes(series)
    inner, size = _axes(series.keyframe)
    outer = len(axes) - len(inner)
    places = np.arange(np.prod(shape[:outer], dtype=np.int64)).reshape(shape[:outer])
    if axes[outer:] != inner or shape[outer:] != size or set(inner) - set("YXSC") or len(series.pages) != places.size:
        return None
    order = sorted(range(outer), key=lambda k: axes[k] in "SC")  # which keeps the order of those that are alike
    channels = int(np.prod([shape[k] for k in range(outer) if axes[k] in "SC"], dtype=np.int64))
    try:
        own = [series.pages[place] for place in places.transpose(order).reshape(-1, channels)[number].tolist()]
    except IndexError:  # ImageJ writes one directory for all pages of a large file
        return None
    _whole(tif, own)
    content = np.stack([np.asarray(page.asarray()).reshape(size) for page in own])
    content = content.transpose(0, *(1 + inner.index(axis) for axis in "CSYX" if axis in inner))
    return content.reshape(-1, *content.shape[-2:])


def stack(pages: int) -> Unusable:
    return Unusable(
        "pages",
        f"is a stack of {pages} pages",
        "Say what they mean: --pages first, max, or each (every page a sample).",
    )


def _whole(tif: Any, pages: Iterable[Any]) -> None:
    """tifffile fills what lies beyond the end of the file with zeros; here that is an error."""
    size = tif.filehandle.size
    for page in pages:
        if page is None:
            raise Unusable("corrupt", "lacks one of its pages", "Fetch it again.")
        frame = page.aspage() if hasattr(page, "aspage") else page
        for offset, count in zip(frame.dataoffsets, frame.databytecounts, strict=True):
            if offset + count > size:
                raise Unusable("corrupt", f"is cut short: {size:,} of {offset + count:,} bytes", "Fetch it again.")


def _orientation(tif: Any) -> int:
    tag = tif.pages.first.tags.get(_ORIENTATION)
    value = int(tag.value) if tag is not None else 1
    return value if 1 <= value <= 8 else 1


def _turned(x: np.ndarray, orientation: int) -> np.ndarray:
    """(C, H, W) as the orientation tag of TIFF 6.0 wants it seen."""
    if orientation >= 5:
        x = x.swapaxes(1, 2)
    if orientation in (2, 3, 7, 6):
        x = x[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        x = x[:, ::-1]
    return np.ascontiguousarray(x)
