"""Video decoding, frame by frame; frames are named by number: clip.mp4#0, clip.mp4#1 ..."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import EnvironmentProblem, first_line
from snellen.core.input_files import open_regular
from snellen.data.decode.header import UnusableFile, check_num_pixels

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
# Containers that hold their frames themselves: playlists name other files and addresses, which FFmpeg would open.
_OPTIONS = {"format_whitelist": "mov,avi,matroska,webm,mpeg,mpegts,mpegvideo,m4v", "protocol_whitelist": "file"}


def is_video(path: str | Path) -> bool:
    return Path(path).suffix.lower() in SUFFIXES


def frame_name(path: Path, number: int) -> str:
    """Name of a frame; the first has number 0."""
    return f"{path}#{number}"


def parse_frame_name(name: str) -> tuple[Path, int] | None:
    """Video file and number of a frame, from its name; None for any other name."""
    path, separator, number = name.rpartition("#")
    return (Path(path), int(number)) if separator and number.isascii() and number.isdigit() and is_video(path) else None


def frames(path: Path) -> Iterator[Tensor]:
    """Frames (3, H, W) uint8 of a video in order, upright.

    Raises:
        EnvironmentProblem: if PyAV is missing.
        UnusableFile: if the file is not a video, or is truncated; earlier frames have been yielded.
    """
    if importlib.util.find_spec("av") is None:
        raise EnvironmentProblem(f"{path} is a video, and PyAV is not installed", 'pip install "snellen[video]"')
    import av

    try:
        open_regular(path).close()
        with av.open(str(path), options=_OPTIONS) as container:
            if not container.streams.video:
                raise UnusableFile("unreadable", "contains no frames", "Give a video file.")
            check_num_pixels(container.streams.video[0].height, container.streams.video[0].width)
            for frame in container.decode(video=0):
                check_num_pixels(frame.height, frame.width)
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (3, H, W)
    except (av.error.FFmpegError, OSError, EOFError) as error:
        raise UnusableFile(
            "corrupt", f"cannot be decoded as a video: {first_line(error)}", "Convert it to another format."
        ) from error
