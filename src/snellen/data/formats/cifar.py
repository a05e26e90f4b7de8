"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the published pickles of 32x32 colour images, read without executing them.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.safe_pickle import read_pickle
from snellen.data.source import ArraySource

_SIDE = 32


class CifarLayout(NamedTuple):
    """File names and keys of a dataset. files: name and index in SPLITS. meta, names: file and key of the class names.

    labels: the key of each image's class.
    """

    title: str
    files: tuple[tuple[str, int], ...]
    meta: str
    names: str
    labels: str


LAYOUTS = (
    CifarLayout(
        "CIFAR-10",
        (*((f"data_batch_{k}", 0) for k in range(1, 6)), ("test_batch", 2)),
        "batches.meta",
        "label_names",
        "labels",
    ),
    CifarLayout("CIFAR-100", (("train", 0), ("test", 2)), "meta", "fine_label_names", "fine_labels"),
)


def _layout(path: Path) -> CifarLayout | None:
    if not path.is_dir():
        return None
    return next(
        (
            layout
            for layout in LAYOUTS
            if (path / layout.meta).is_file() and any((path / name).is_file() for name, _ in layout.files)
        ),
        None,
    )


def recognises(path: Path) -> bool:
    return _layout(path) is not None


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Images (N, 3, 32, 32) uint8 with their classes (CIFAR-100: the fine ones), in the published splits."""
    layout = _layout(path)
    if layout is None:
        raise DataError(
            f"{path} holds no CIFAR pickles", "Give the folder of data_batch_1 ... test_batch, or of train and test."
        )
    present = [(path / name, split) for name, split in layout.files if (path / name).is_file()]
    names = _names(path / layout.meta, layout)
    images, labels, split_indices = [], [], []
    for file, split in present:
        x, y = _read_split(file, read_pickle(file), layout, len(names))
        images.append(x)
        labels.append(y)
        split_indices.append(np.full(len(y), split))
    splits = np.concatenate(split_indices)
    if not (splits == 0).any():
        raise DataError(f"{path} has no training images", "Download all files of the dataset.")
    values = torch.from_numpy(np.concatenate(images))
    return RawDataset(
        source=ArraySource(values, "image"),
        inputs={"image": Input(modality="image", shape=(3, _SIDE, _SIDE), dtype="uint8")},
        target=Classes(names=names),
        truth=torch.from_numpy(np.concatenate(labels)),
        given_splits=splits if len(set(splits.tolist())) > 1 else None,
        recognised_as=f"images of {layout.title} ({len(values):,} of 32x32 pixels, {len(names)} classes)",
        files={"found": 1 + len(present), "used": 1 + len(present)},
    )


def _names(file: Path, layout: CifarLayout) -> tuple[str, ...]:
    names = read_pickle(file).get(layout.names)
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"{file} has no {layout.names}", "Download the file again.")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)


def _read_split(
    file: Path, content: dict[str, Any], layout: CifarLayout, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    x, labels = content.get("data"), content.get(layout.labels)
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3 * _SIDE * _SIDE:
        raise DataError(f"{file} has no data of (N, 3072) bytes", "Download the file again.")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels) or len(labels) != len(x):
        raise DataError(f"{file} has no {layout.labels} for its {len(x):,} images", "Download the file again.")
    wrong = [k for k, label in enumerate(labels) if not 0 <= label < classes]
    if wrong:
        label = str(labels[wrong[0]])[:20]
        raise DataError(
            f"{file}: image {wrong[0]} has label {label}, there are {classes} classes",
            "Labels are 0 and up, below the number of class names.",
        )
    return x.reshape(-1, 3, _SIDE, _SIDE), np.array(labels, dtype=np.int64)


FORMAT = Format("cifar", recognises, open_raw)
