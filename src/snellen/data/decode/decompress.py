"""Decompression bounded by the expected size, with the signature of tifffile's codecs: `decompress(data, out=size)`.

A few bytes of deflate, LZMA or PackBits may stand for gigabytes. Each function stops at `size` bytes, so that memory is
bounded by what the caller expects; further output is discarded.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Mapping

_LZMA_MEMORY = 1 << 27  # bytes; the strongest preset needs 65 MiB


def inflate(data: bytes, *, out: int) -> bytes:
    """At most `out` bytes of a zlib stream. Raises zlib.error if it is damaged or truncated."""
    decoder = zlib.decompressobj()
    result = decoder.decompress(data, max(out, 1))
    excess = b"" if decoder.eof else decoder.decompress(decoder.unconsumed_tail, 1)  # this reads the checksum too
    if not decoder.eof and not excess and len(result) < max(out, 1):
        raise zlib.error("the compressed data are truncated")
    return result


def inflate_lzma(data: bytes, *, out: int) -> bytes:
    """At most `out` bytes of an xz or lzma stream. Raises lzma.LZMAError if it is damaged, EOFError if truncated."""
    decoder = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    result = decoder.decompress(data, max(out, 1))
    if len(result) < out and not decoder.eof:
        raise EOFError("the compressed data are truncated")
    return result


def unpack_bits(data: bytes, *, out: int) -> bytes:
    """At most `out` bytes of PackBits: a count n, then n + 1 literal bytes, or one byte repeated 257 − n times.

    Source: TIFF 6.0, section 9.
    """
    result, position = bytearray(), 0
    while len(result) < out and position < len(data):
        count = data[position]
        if count < 128:
            result += data[position + 1 : position + 2 + count]
            position += 2 + count
        else:
            result += data[position + 1 : position + 2] * (257 - count if count > 128 else 0)
            position += 2 if count > 128 else 1
    return bytes(result[:out])


DECOMPRESSORS: Mapping[int, Callable[..., bytes]] = {
    8: inflate,
    32946: inflate,
    50013: inflate,
    32773: unpack_bits,
    34925: inflate_lzma,
}  # by the number of the compression in a TIFF
