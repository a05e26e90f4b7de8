"""Films for tests."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def film(path: Path, frames: int, size: tuple[int, int] = (48, 64)) -> Path:
    """Grey frames, each lighter than the last."""
    with av.open(str(path), "w") as written:
        stream = written.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            pixels = np.full((*size, 3), min(255, 3 * number), np.uint8)
            written.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        written.mux(stream.encode())
    return path
