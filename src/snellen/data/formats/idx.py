"""IDX, the format of MNIST: big-endian arrays of bytes, four files for train and test, gzipped or not.

Source: LeCun, Cortes and Burges, "The MNIST database", section "File formats".
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.formats import Format, OpenOptions
from snellen.data.source import Array

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PARTS = (("train", 0), ("t10k", 2), ("test", 2))  # file name -> place in SPLITS
_LIMIT = 1 << 34  # bytes an unpacked file may have

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read(path: Path) -> np.ndarray:
    """The array in an IDX file.

    Raises:
        DataError: when the header or the length is not that of an IDX file.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                content = file.read(_LIMIT)
        else:
            content = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", "Fetch the file again.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path} is no IDX file: it starts with {content[:4].hex() or 'nothing'}", "Fetch it again.")
    dtype, rank = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path} is cut short: {len(content)} bytes", "Fetch the file again.")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{path} has {len(content):,} bytes, its header promises {expected:,}", "Fetch it again.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(folder: Path, part: str, what: str) -> Path | None:
    for base in (folder, folder / "raw"):
        for joint in ("-", "."):
            for end in ("", ".gz"):
                path = base / f"{part}-{what}{joint}idx{3 if what == 'images' else 1}-ubyte{end}"
                if path.exists():
                    return path
    return None


def recognises(path: Path) -> bool:
    return path.is_dir() and any(_find(path, part, "images") for part, _ in _PARTS)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Pictures (N, 1, H, W) uint8 and their classes, in the splits the files are in."""
    images, labels, given = [], [], []
    for part, split in _PARTS:
        pictures, classes = _find(path, part, "images"), _find(path, part, "labels")
        if pictures is None:
            continue
        if classes is None:
            raise DataError(f"{path} has {pictures.name} but no labels for it", "Fetch the labels' file too.")
        x, y = read(pictures), read(classes)
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{pictures} holds {x.shape}, {classes.name} {y.shape}: they do not belong together",
                "Fetch both files again.",
            )
        images.append(x)
        labels.append(y.astype(np.int64))
        given.append(np.full(len(y), split))
    x, y = np.concatenate(images), np.concatenate(labels)
    fashion = "fashion" in str(path).lower()
    names = FASHION if fashion else DIGITS
    if len(names) <= y.max():
        names = tuple(str(k) for k in range(int(y.max()) + 1))
    if y.min() < 0:
        raise DataError(f"{path} has a label of {y.min()}", "Labels are 0 and up.")
    splits = np.concatenate(given)
    return RawDataset(
        source=Array(torch.from_numpy(np.ascontiguousarray(x[:, None])), "image"),
        inputs={"image": Input(modality="image", shape=(1, *x.shape[1:]), dtype="uint8")},
        target=Classes(names=names),
        truth=torch.from_numpy(y),
        given=splits if len(set(splits.tolist())) > 1 else None,
        recognised_as=f"IDX pictures with labels ({len(x):,} of {x.shape[2]}x{x.shape[1]} pixels)",
        files={"found": 2 * len(images), "used": 2 * len(images)},
    )


FORMAT = Format("idx", recognises, open_raw)
