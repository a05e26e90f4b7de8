"""Check of images of more than 8 bits for values that stand for "no data"."""

from __future__ import annotations

import numpy as np

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing
from snellen.data.decode.image_files import ImageFiles
from snellen.data.decode.nodata import likely_nodata, mark_nodata
from snellen.data.source import BadSamples

_SAMPLE_SIZE = 64  # images read


def check_nodata(source: object) -> None:
    """Raise DataError if a value of an even sample of the images looks like "no data" and is not marked as such.

    It would set the range of values, and make copies of all images with the same gaps.
    """
    if not isinstance(source, ImageFiles) or source.dtype == "uint8" or source.nodata is not None or not len(source):
        return
    ids = np.unique(np.linspace(0, len(source) - 1, _SAMPLE_SIZE).astype(np.int64))
    images = []
    for k in range(len(ids)):
        try:
            images.append(source.read(ids[k : k + 1], Preprocessing()).numpy().ravel())
        except BadSamples:
            continue
    value = likely_nodata(np.concatenate([np.unique(image) for image in images])) if images else None
    if value is None:
        return
    counts = [int(mark_nodata(image, value).sum()) for image in images]
    fraction = sum(counts) / sum(map(len, images))
    where = source.root if len(source) > 1 else source.path(0)
    raise DataError(
        f'{where}: the value {value:g} looks like "no data": {100 * fraction:.2g} % of the pixels, in '
        f"{sum(count > 0 for count in counts)} of {len(images)} images read",
        f"Mark it with --nodata={value:g}: it then counts neither for the range nor for copies. "
        "--nodata=none reads it as any value.",
    )
