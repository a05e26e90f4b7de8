"""IDX, the format of MNIST: big-endian arrays, four files for train and test, gzipped or not.

Source: LeCun, Cortes and Burges, "The MNIST database", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.core.spec import Classes, Input
from snellen.data.cache import available_memory
from snellen.data.dataset import RawDataset
from snellen.data.formats import Format, OpenOptions
from snellen.data.source import ArraySource

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PARTS = (("train", 0), ("t10k", 2), ("test", 2))  # file name -> index in SPLITS
_MAX_LABEL = 1 << 16  # every number up to the largest is a class
_PART = 1 << 24  # bytes read at a time

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read(path: Path) -> np.ndarray:
    """Read the array in an IDX file.

    Raises:
        DataError: the header or the length is not that of an IDX file.
    """
    try:
        with open_regular(path) as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            return _array(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", "Download the file again.") from error


def _array(path: Path, file: gzip.GzipFile | BufferedReader) -> np.ndarray:
    """The array in an open file. No more is read than its header requires: a gzip file may unpack to any size."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise DataError(f"{path} is not an IDX file: it starts with {magic.hex() or 'nothing'}", "Download it again.")
    dtype, rank = np.dtype(_TYPES[magic[2]]), magic[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{path} is truncated: {4 + len(sizes)} bytes", "Download the file again.")
    shape = struct.unpack(f">{rank}I", sizes)
    size = math.prod(shape) * dtype.itemsize
    if size > available_memory():
        raise DataError(
            f"{path} needs {size:,} bytes of memory, of which {available_memory():,} are free",
            "Download the file again, or use a machine with more memory.",
        )
    content = bytearray()
    while len(content) < size and (part := file.read(min(_PART, size - len(content)))):
        content += part
    if len(content) < size or file.read(1):
        more = f"{len(content):,}" if len(content) < size else f"more than {size:,}"
        raise DataError(f"{path} has {more} bytes of values, its header requires {size:,}", "Download it again.")
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _find(folder: Path, prefix: str, content_name: str) -> Path | None:
    for base in (folder, folder / "raw"):
        for separator in ("-", "."):
            for end in ("", ".gz"):
                path = base / f"{prefix}-{content_name}{separator}idx{3 if content_name == 'images' else 1}-ubyte{end}"
                if path.exists():
                    return path
    return None


def recognises(path: Path) -> bool:
    return path.is_dir() and any(_find(path, prefix, "images") for prefix, _ in _PARTS)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Images (N, 1, H, W) uint8 and their classes, in the splits of the files."""
    images, labels, split_indices = [], [], []
    for prefix, split in _PARTS:
        image_file, label_file = _find(path, prefix, "images"), _find(path, prefix, "labels")
        if image_file is None:
            continue
        if label_file is None:
            raise DataError(f"{path} has {image_file.name} but no labels for it", "Download the label file too.")
        x, y = read(image_file), read(label_file)
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{image_file} holds {x.shape}, {label_file.name} {y.shape}: their shapes do not match",
                "Download both files again.",
            )
        images.append(x)
        labels.append(y.astype(np.int64))
        split_indices.append(np.full(len(y), split))
    x = images[0] if len(images) == 1 else np.concatenate(images)
    y = np.concatenate(labels)
    fashion = "fashion" in str(path).lower()
    names = FASHION if fashion else DIGITS
    if not len(x):
        raise DataError(f"{path} holds no image", "Download the files again.")
    if not 0 <= y.min() <= y.max() <= _MAX_LABEL:
        bad = y.min() if y.min() < 0 else y.max()
        raise DataError(f"{path} has the label {bad}", f"Labels are 0 and up, at most {_MAX_LABEL:,}.")
    if len(names) <= y.max():
        names = tuple(str(k) for k in range(int(y.max()) + 1))
    splits = np.concatenate(split_indices)
    return RawDataset(
        source=ArraySource(torch.from_numpy(np.ascontiguousarray(x[:, None])), "image"),
        inputs={"image": Input(modality="image", shape=(1, *x.shape[1:]), dtype="uint8")},
        target=Classes(names=names),
        truth=torch.from_numpy(y),
        given_splits=splits if len(set(splits.tolist())) > 1 else None,
        recognised_as=f"IDX images with labels ({len(x):,} of {x.shape[2]}x{x.shape[1]} pixels)",
        files={"found": 2 * len(images), "used": 2 * len(images)},
    )


FORMAT = Format("idx", recognises, open_raw)
