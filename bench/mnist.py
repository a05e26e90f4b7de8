"""MNIST for all peers, read from the torchvision layout under $SNELLEN_DATA without their libraries."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

MEAN, STD = 33.318, 78.567  # of the training pixels, 0 to 255


def idx(name: str) -> np.ndarray:
    """The array of an IDX file, gzipped or not."""
    folder = Path(os.environ.get("SNELLEN_DATA", "data"), "MNIST", "raw")
    plain = folder / name
    content = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    rank = content[3]
    shape = [int.from_bytes(content[4 + 4 * k : 8 + 4 * k], "big") for k in range(rank)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def images(split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 28, 28) uint8 and (N,) int64 of "train" or "t10k"."""
    return idx(f"{split}-images-idx3-ubyte"), idx(f"{split}-labels-idx1-ubyte").astype(np.int64)


def standardised(split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 28, 28) float32 of zero mean and unit variance, and (N,) int64."""
    x, y = images(split)
    return ((x.astype(np.float32) - MEAN) / STD).astype(np.float32), y
