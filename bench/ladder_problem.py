"""What a plain script of the ladder benchmark is given and gives back: data of a manifest, and complete results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Problem:
    """Data of a manifest: inputs of a split and their targets, from the files of a user."""

    def __init__(self, manifest: Path, seed: int) -> None:
        plain = json.loads(manifest.read_text())
        self.kind: str = plain["kind"]  # "classes", "numbers", "pixels", "boxes"
        self.classes: int = plain["classes"]
        self.flip: bool = plain["flip"]
        self.seed = seed
        self._root = Path(plain["root"])
        self._files: dict[str, list[str]] = plain["files"]
        self._arrays = np.load(manifest.with_suffix(".npz"))

    def targets(self, split: str) -> np.ndarray:
        return self._arrays[f"{split}_y"]

    def rows(self, split: str, size: int = 32) -> np.ndarray:
        """(N, D) float32: the row of a table, or the flat image."""
        if f"{split}_x" in self._arrays and self._arrays[f"{split}_x"].ndim == 2:
            return self._arrays[f"{split}_x"].astype(np.float32)
        images = self.images(split, size)
        return images.reshape(len(images), -1).astype(np.float32) / 255

    def images(self, split: str, size: int | None, mode: str = "RGB") -> np.ndarray:
        """(N, C, S, S) uint8; size None: (N, C, H, W) as they are."""
        if f"{split}_x" in self._arrays:
            arrays = self._arrays[f"{split}_x"]
            if size is None or arrays.shape[-1] <= size:
                return arrays
            return np.stack([np.asarray(Image.fromarray(a[0]).resize((size, size)))[None] for a in arrays])
        images = []
        for name in self._files[split]:
            image = Image.open(self._root / name)
            if size is not None:
                image.draft(mode, (size, size))
            image = image.convert(mode)
            images.append(np.asarray(image if size is None else image.resize((size, size), Image.Resampling.BILINEAR)))
        stacked = np.stack(images)
        return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)

    def is_small(self) -> bool:
        if f"{'train'}_x" in self._arrays:
            return True
        with Image.open(self._root / self._files["train"][0]) as image:
            return max(image.size) <= 40

    def scenes(self, split: str) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """(H, W, 3) uint8 of each image, with its objects: boxes (N, 4), labels (N,), masks (N, H, W) if there are."""
        last = np.cumsum(self._arrays[f"{split}_counts"])
        for k, name in enumerate(self._files[split]):
            rows = slice(last[k] - self._arrays[f"{split}_counts"][k], last[k])
            objects = {"boxes": self._arrays[f"{split}_boxes"][rows], "labels": self._arrays[f"{split}_labels"][rows]}
            if f"{split}_masks_{k}" in self._arrays:
                objects["masks"] = self._arrays[f"{split}_masks_{k}"]
            yield np.asarray(Image.open(self._root / name).convert("RGB")), objects


@dataclass
class Point:
    """A complete result.

    seconds: CPU time. value: on the validation split, higher is better; None for detections, which the benchmark
    scores. test: predictions of the test split, or the detections of both splits by name.
    """

    label: str
    seconds: float
    value: float | None
    test: Any


class Clock:
    """CPU time of the process, paused while the test split is predicted."""

    def __init__(self) -> None:
        self.paused = 0.0

    def now(self) -> float:
        return time.process_time() - self.paused

    def untimed(self, work: Callable[[], Any]) -> Any:
        before = time.process_time()
        result = work()
        self.paused += time.process_time() - before
        return result
