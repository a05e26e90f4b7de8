"""Two frames as one input: what flow is learned from, and asked of."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Input, Preprocessing
from snellen.data.check.duplicates import groups_of
from snellen.data.decode.header import Header, Unusable
from snellen.data.decode.image_files import ImageFiles


def following(name: str) -> str | None:
    """What a file after this one is called, where names count: "left_0009" to "left_0010"; None where they do not."""
    counted = re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL)
    return f"{counted[1]}{int(counted[2]) + 1:0{len(counted[2])}d}" if counted else None


def paired(paths: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Every frame with the one after it in its folder, and those that are in no pair. Two files alone are a pair."""
    there = {(path.parent, path.stem): path for path in paths}
    after = [there.get((path.parent, following(path.stem) or "")) for path in paths]
    pairs = [(path, other) for path, other in zip(paths, after, strict=True) if other is not None]
    if not pairs and len(paths) == 2:
        pairs = [(paths[0], paths[1])]
    used = {path for pair in pairs for path in pair}
    return pairs, [path for path in paths if path not in used]


class FramePairs:
    """A source whose samples are two picture files of one size, read as (2C, H, W).

    Args:
        first, second: as many of each.
        headers: those of the first frames, or why a pair cannot be used.
    """

    def __init__(self, first: ImageFiles, second: ImageFiles, headers: list[Header | Unusable] | None = None) -> None:
        self.first = first
        self.second = second
        self.headers = headers or [_both(first, second, k) for k in range(len(first))]
        self.root = first.root
        self.files = first.files

    def __len__(self) -> int:
        return len(self.first)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        channels = (
            preprocessing.channels // 2 if preprocessing.channels else self.first.channels or self.second.channels
        )
        one = dataclasses.replace(preprocessing, channels=channels)
        return torch.cat([self.first.read(ids, one), self.second.read(ids, one)], 1)  # (B, 2C, H, W)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def films(self) -> np.ndarray | None:
        """(N,) int64: samples that share a frame, or are joined by others that do, have one number.

        None where fewer than three films are left so: then no split could be made of whole films.
        """
        first_of: dict[str, int] = {}
        pairs = [
            (first_of.setdefault(source.name(k), k), k)
            for k in range(len(self))
            for source in (self.first, self.second)
        ]
        films = groups_of(len(self), [(a, b) for a, b in pairs if a != b])
        return films if len(np.unique(films)) >= 3 else None

    def path(self, id: int) -> Path:
        return self.first.path(id)

    def name(self, id: int) -> str:
        return self.first.name(id)

    def key(self) -> str | None:
        return f"{self.first.key()} {self.second.key()}"

    def subset(self, ids: np.ndarray) -> FramePairs:
        return FramePairs(self.first.subset(ids), self.second.subset(ids), [self.headers[i] for i in ids.tolist()])

    def input(self) -> Input:
        one = self.first.input()
        channels, height, width = one.shape
        return dataclasses.replace(one, shape=(None if channels is None else 2 * channels, height, width))


def _both(first: ImageFiles, second: ImageFiles, k: int) -> Header | Unusable:
    one, other = first.headers[k], second.headers[k]
    if isinstance(one, Unusable):
        return one
    if isinstance(other, Unusable):
        return Unusable(other.kind, f"has a second frame, {second.name(k)}, that {other.cause}", other.remedy)
    if (one.height, one.width) != (other.height, other.width):
        return Unusable(
            "corrupt",
            f"is {one.width}x{one.height} pixels, its second frame {second.name(k)} {other.width}x{other.height}",
            "Frames have one size: mend one of them.",
        )
    return one
