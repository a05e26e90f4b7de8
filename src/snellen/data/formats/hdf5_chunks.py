"""Check of the compressed chunks of an HDF5 array: HDF5 decompresses a chunk without a limit, whatever its shape is."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable
from typing import Any

_DEFLATE, _SHUFFLE, _FLETCHER32, _SCALE_OFFSET, _LZF = 1, 2, 3, 6, 32000
_FILTERS = frozenset((_DEFLATE, _SHUFFLE, _FLETCHER32, _SCALE_OFFSET, _LZF))
_MAX_RATIO = 1032  # of deflate
_HARMLESS = 1 << 26  # bytes: smaller results need no check
_CHECKSUM = 64  # bytes by which a chunk may exceed its values: the checksum of Fletcher
_PART = 1 << 20


class ChunkCheck:
    """Remembers which chunks of a file have been checked."""

    def __init__(self) -> None:
        self._checked: set[tuple[str, tuple[int, ...]]] = set()

    def __call__(self, array: Any, rows: Iterable[int]) -> None:
        """Check the chunks of an h5py dataset that hold these rows.

        Raises:
            ValueError: a chunk unpacks to more than its shape holds, or its filters have no known limit.
        """
        if array.chunks is None:
            return
        filters = array.id.get_create_plist()
        codes = [filters.get_filter(k)[0] for k in range(filters.get_nfilters())]
        if set(codes) - _FILTERS or len(set(codes)) < len(codes):
            raise ValueError(f"{array.name} is compressed by the filters {codes}; write it with gzip compression")
        size = math.prod(array.chunks) * array.dtype.itemsize
        inner = [range(0, n, step) for n, step in zip(array.shape[1:], array.chunks[1:], strict=True)]
        step = array.chunks[0]
        for start in {row // step * step for row in rows} if codes else ():
            for offset in itertools.product((start,), *inner):
                if (array.name, offset) not in self._checked:
                    _check_chunk(array, offset, size, _DEFLATE in codes)
                    self._checked.add((array.name, offset))


def _check_chunk(array: Any, offset: tuple[int, ...], size: int, is_deflated: bool) -> None:
    stored = array.id.get_chunk_info_by_coord(offset).size
    if not stored or stored * _MAX_RATIO <= _HARMLESS or not is_deflated:
        return
    mask, content = array.id.read_direct_chunk(offset)
    if mask:  # stored without one of the filters, so not unpacked, or with a checksum
        return
    decoder, unpacked = zlib.decompressobj(), 0
    while content and not decoder.eof:
        unpacked += len(decoder.decompress(content, _PART))
        content = decoder.unconsumed_tail
        if unpacked > size + _CHECKSUM:
            raise ValueError(f"a chunk of {array.name} unpacks to more than {size:,} bytes")
