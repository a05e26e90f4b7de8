"""Limits of a TIFF before it is decoded: values of an image, pages that its metadata declare, size of its tiles."""

from __future__ import annotations

import math
import re
from typing import Any

from snellen.data.decode.header import MAX_PIXELS, TooManyPixels, UnusableFile

MAX_VALUES = 4 * MAX_PIXELS  # values of all channels
_MAX_TILE = 1 << 24  # values of a tile of a smaller image
_MAX_PLANES = 1 << 20  # planes in OME metadata
_OME_COUNT = re.compile(r"Size[CTZ]|First[CTZ]|PlaneCount|NumPlanes|IFD")


def check_num_values(count: int, where: str) -> None:
    """Raise TooManyPixels for more values than any image or stack may have."""
    if count > MAX_VALUES:
        raise TooManyPixels(f"has {count:,} values {where}, more than {MAX_VALUES:,}")


def check_ome_metadata(tif: Any) -> None:
    """Raise UnusableFile if OME metadata declare so many planes that their list alone would fill the memory."""
    if not tif.is_ome:
        return
    try:
        from defusedxml import ElementTree  # OME-XML needs no entities, which may expand to any size

        elements = list(ElementTree.fromstring(tif.ome_metadata).iter())
        counts = [int(value) for e in elements for name, value in e.attrib.items() if _OME_COUNT.fullmatch(name)]
        counts += [math.prod(int(e.get(f"Size{axis}", 1)) for axis in "CZT") for e in elements]
        steps = [e for e in elements if e.tag[:-1].endswith("Along") and "Start" in e.attrib]
        counts += [int((float(e.get("End", 0)) - float(e.get("Start", 0))) / float(e.get("Step", 1))) for e in steps]
    except (SyntaxError, ArithmeticError, ValueError) as error:  # a parse error is a SyntaxError
        raise UnusableFile("corrupt", f"has damaged OME metadata ({error})", "Save it again.") from error
    if max(counts, default=0) > _MAX_PLANES:
        raise UnusableFile("corrupt", f"declares {max(counts):,} planes in its OME metadata", "Save it again.")


def check_storage(tif: Any, series: Any) -> None:
    """Raise UnusableFile if the file stores fewer pages than a series has, or pads a small image to a huge tile."""
    page = series.keyframe
    values = math.prod(page.shape)
    is_contiguous = series.dataoffset is not None and series.dataoffset + series.nbytes <= tif.filehandle.size
    if math.prod(series.shape) > len(series._pages) * values and not is_contiguous:
        raise UnusableFile(
            "corrupt", f"is truncated: it declares the shape {tuple(series.shape)}", "Download it again."
        )
    if page.is_tiled:
        tile = page.tilewidth * page.tilelength * page.tiledepth * page.samplesperpixel
        if tile > max(values, _MAX_TILE):
            raise TooManyPixels(f"has tiles of {tile:,} values for an image of {values:,}")
