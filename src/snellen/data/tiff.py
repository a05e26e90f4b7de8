"""Scientific TIFF at its own depth: 16 bits, floats, any number of channels, stacks of pages."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from snellen.core.errors import UsageError
from snellen.core.spec import Reading
from snellen.data.header import Header, Unusable, too_large

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


def _axes(tif: Any) -> tuple[str, tuple[int, ...]]:
    """The first series' axes of more than one entry, and their lengths; Y and X always stay."""
    series = tif.series[0]
    kept = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n != 1 or axis in "YX"]
    return "".join(axis for axis, _ in kept), tuple(n for _, n in kept)


def header(tif: Any) -> Header:
    axes, shape = _axes(tif)
    sizes = dict(zip(axes, shape, strict=True))
    if "Y" not in sizes or "X" not in sizes or 0 in shape:
        raise Unusable("corrupt", f"is a TIFF of axes {axes or 'none'} {shape}, not a picture", "Save it again.")
    too_large(sizes["Y"], sizes["X"])
    pages = int(np.prod([n for axis, n in sizes.items() if axis not in "YXSC"], dtype=np.int64))
    pages *= len([s for s in tif.series if s.kind != "label"]) if len(tif.series) > 1 else 1
    channels = sizes.get("S", 1) * sizes.get("C", 1)
    turned = _orientation(tif)
    height, width = (sizes["X"], sizes["Y"]) if turned >= 5 else (sizes["Y"], sizes["X"])
    return Header(height, width, channels, kept_depth(tif.series[0].dtype), pages, ("rotated",) if turned != 1 else ())


def kept_depth(dtype: np.dtype[Any]) -> str:
    """The depth among uint8, uint16, float32 and float64 that holds every value of `dtype`."""
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return "uint8" if dtype.itemsize == 1 else "uint16"
    if dtype.kind in "iuf":
        return "float32" if dtype.itemsize <= 2 or dtype == np.float32 else "float64"
    raise Unusable("corrupt", f"holds values of type {dtype}", "Save it as integers or floats.")


def values(tif: Any, reading: Reading) -> np.ndarray:
    """(C, H, W) at the kept depth.

    Raises:
        Unusable: for a stack of pages when nothing says what they mean, and for a file that is cut short.
        UsageError: for a meaning of pages that is not there yet.
    """
    promised = header(tif)
    if promised.pages > 1:
        if reading.pages is None:
            raise stack(promised.pages)
        if reading.pages in ("each", "volume"):
            raise not_yet(reading.pages)
    _whole(tif)
    axes, shape = _axes(tif)
    content = np.asarray(tif.series[0].asarray()).reshape(shape)
    order = [k for k, axis in enumerate(axes) if axis not in "YXSC"]
    order += [axes.index(axis) for axis in "CSYX" if axis in axes]
    content = content.transpose(order)
    content = content.reshape(-1, promised.channels, *content.shape[-2:])  # (pages, C, H, W)
    if reading.pages == "max":
        planes = [content] + [np.asarray(s.asarray()).reshape(-1, *content.shape[1:]) for s in tif.series[1:]]
        content = np.concatenate(planes).max(0, keepdims=True)
    depth = kept_depth(content.dtype)
    scale = 255 if content.dtype == np.bool_ else 1
    return _turned(content[0].astype(depth) * np.asarray(scale, depth), _orientation(tif))


def stack(pages: int) -> Unusable:
    return Unusable("pages", f"is a stack of {pages} pages",
                    "Say what they mean with --pages first or --pages max.")


def not_yet(pages: str) -> UsageError:
    return UsageError(f"--pages {pages} is not there yet", "Take --pages first or --pages max.")


def _whole(tif: Any) -> None:
    """tifffile fills what lies beyond the end of the file with zeros; here that is an error."""
    size = tif.filehandle.size
    for page in tif.pages:
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

