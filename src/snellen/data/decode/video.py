"""Films, a frame at a time, as pictures named after their number: clip.mp4#0, clip.mp4#1 ..."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import EnvironmentProblem, first_line
from snellen.data.decode.header import Unusable, too_large

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


def is_film(path: str | Path) -> bool:
    return Path(path).suffix.lower() in SUFFIXES


def name_of(path: Path, number: int) -> str:
    """What a frame is called; the first is 0."""
    return f"{path}#{number}"


def film_of(name: str) -> tuple[Path, int] | None:
    """The film and the number of a frame by its name; None for the name of anything else."""
    path, mark, number = name.rpartition("#")
    return (Path(path), int(number)) if mark and number.isascii() and number.isdigit() and is_film(path) else None


def frames(path: Path) -> Iterator[Tensor]:
    """(3, H, W) uint8 of each frame in its order, upright as players show it.

    Raises:
        EnvironmentProblem: where PyAV is missing.
        Unusable: where the file is no film, or breaks off; what came before it has been yielded.
    """
    if importlib.util.find_spec("av") is None:
        raise EnvironmentProblem(f"{path} is a film, and PyAV is not installed", 'pip install "snellen[video]"')
    import av

    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise Unusable("unreadable", "holds no pictures", "Give a film.")
            for frame in film.decode(video=0):
                too_large(frame.height, frame.width)
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (3, H, W)
    except (av.error.FFmpegError, OSError, EOFError) as error:
        raise Unusable("corrupt", f"is no film that can be read: {first_line(error)}", "Convert it.") from error
