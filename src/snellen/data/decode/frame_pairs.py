"""Pairs of frames as one input, for optical flow."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Input, Preprocessing
from snellen.data.check.duplicates import connected_groups
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles


def next_frame_name(name: str) -> str | None:
    """Name of the next frame of a numbered file, "left_0009" -> "left_0010"; None for other names."""
    match = re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL)
    return f"{match[1]}{int(match[2]) + 1:0{len(match[2])}d}" if match else None


def pair_frames(paths: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pair every frame with the next one of its folder; return pairs and unpaired files. Two files alone are a pair."""
    path_of = {(path.parent, path.stem): path for path in paths}
    next_paths = [path_of.get((path.parent, next_frame_name(path.stem) or "")) for path in paths]
    pairs = [(path, next_path) for path, next_path in zip(paths, next_paths, strict=True) if next_path is not None]
    if not pairs and len(paths) == 2:
        pairs = [(paths[0], paths[1])]
    used = {path for pair in pairs for path in pair}
    return pairs, [path for path in paths if path not in used]


class FramePairs:
    """A source whose samples are two image files of one size, read as (2C, H, W).

    Args:
        first, second: image files of equal number.
        headers: those of the first frames, or the error of an unusable pair.
    """

    def __init__(
        self, first: ImageFiles, second: ImageFiles, headers: list[Header | UnusableFile] | None = None
    ) -> None:
        self.first = first
        self.second = second
        self.headers = headers or [_pair_header(first, second, k) for k in range(len(first))]
        self.root = first.root
        self.files = first.files

    def __len__(self) -> int:
        return len(self.first)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        channels = (
            preprocessing.channels // 2 if preprocessing.channels else self.first.channels or self.second.channels
        )
        first_header = dataclasses.replace(preprocessing, channels=channels)
        return torch.cat([self.first.read(ids, first_header), self.second.read(ids, first_header)], 1)  # (B, 2C, H, W)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def video_groups(self) -> np.ndarray | None:
        """(N,) int64: video of each sample; samples that share frames, directly or via others, are one video.

        None for fewer than three videos, which cannot be split by video.
        """
        first_of: dict[str, int] = {}
        pairs = [
            (first_of.setdefault(source.name(k), k), k)
            for k in range(len(self))
            for source in (self.first, self.second)
        ]
        videos = connected_groups(len(self), [(a, b) for a, b in pairs if a != b])
        return videos if len(np.unique(videos)) >= 3 else None

    def path(self, id: int) -> Path:
        return self.first.path(id)

    def name(self, id: int) -> str:
        return self.first.name(id)

    def key(self) -> str | None:
        return f"{self.first.key()} {self.second.key()}"

    def subset(self, ids: np.ndarray) -> FramePairs:
        return FramePairs(self.first.subset(ids), self.second.subset(ids), [self.headers[i] for i in ids.tolist()])

    def input(self) -> Input:
        first_header = self.first.input()
        channels, height, width = first_header.shape
        return dataclasses.replace(first_header, shape=(None if channels is None else 2 * channels, height, width))


def _pair_header(first: ImageFiles, second: ImageFiles, k: int) -> Header | UnusableFile:
    first_header, second_header = first.headers[k], second.headers[k]
    if isinstance(first_header, UnusableFile):
        return first_header
    if isinstance(second_header, UnusableFile):
        return UnusableFile(
            second_header.kind,
            f"has a second frame, {second.name(k)}, that {second_header.cause}",
            second_header.remedy,
        )
    if (first_header.height, first_header.width) != (second_header.height, second_header.width):
        return UnusableFile(
            "corrupt",
            f"has {first_header.width}x{first_header.height} pixels, "
            f"its second frame {second.name(k)} {second_header.width}x{second_header.height}",
            "Give frames of one size.",
        )
    return first_header
