"""CIFAR-10 and CIFAR-100 as their authors give them: pickles of 32x32 colour pictures, read without executing them.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the set's own page.
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
from snellen.data.source import Array

_SIDE = 32


class Layout(NamedTuple):
    """Where a set keeps its parts: file -> place in SPLITS, the names of the classes, and each picture's class."""

    title: str
    files: tuple[tuple[str, int], ...]
    meta: str
    names: str
    labels: str


LAYOUTS = (
    Layout(
        "CIFAR-10",
        (*((f"data_batch_{k}", 0) for k in range(1, 6)), ("test_batch", 2)),
        "batches.meta",
        "label_names",
        "labels",
    ),
    Layout("CIFAR-100", (("train", 0), ("test", 2)), "meta", "fine_label_names", "fine_labels"),
)


def _layout(path: Path) -> Layout | None:
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
    """Pictures (N, 3, 32, 32) uint8 with their classes (of CIFAR-100 the fine ones), in the splits of the files."""
    layout = _layout(path)
    if layout is None:
        raise DataError(f"{path} holds no CIFAR pickles", "They are data_batch_1 ... test_batch, or train and test.")
    present = [(path / name, split) for name, split in layout.files if (path / name).is_file()]
    names = _names(path / layout.meta, layout)
    images, labels, given = [], [], []
    for file, split in present:
        x, y = _part(file, read_pickle(file), layout, len(names))
        images.append(x)
        labels.append(y)
        given.append(np.full(len(y), split))
    splits = np.concatenate(given)
    if not (splits == 0).any():
        raise DataError(f"{path} has no training pictures", "Fetch all files of the set.")
    values = torch.from_numpy(np.concatenate(images))
    return RawDataset(
        source=Array(values, "image"),
        inputs={"image": Input(modality="image", shape=(3, _SIDE, _SIDE), dtype="uint8")},
        target=Classes(names=names),
        truth=torch.from_numpy(np.concatenate(labels)),
        given=splits if len(set(splits.tolist())) > 1 else None,
        recognised_as=f"the pictures of {layout.title} ({len(values):,} of 32x32 pixels, {len(names)} classes)",
        files={"found": 1 + len(present), "used": 1 + len(present)},
    )


def _names(file: Path, layout: Layout) -> tuple[str, ...]:
    names = read_pickle(file).get(layout.names)
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"{file} has no {layout.names}", "Fetch the file again.")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)


def _part(file: Path, content: dict[str, Any], layout: Layout, classes: int) -> tuple[np.ndarray, np.ndarray]:
    x, labels = content.get("data"), content.get(layout.labels)
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3 * _SIDE * _SIDE:
        raise DataError(f"{file} has no data of (N, 3072) bytes", "Fetch the file again.")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels) or len(labels) != len(x):
        raise DataError(f"{file} has no {layout.labels} for its {len(x):,} pictures", "Fetch the file again.")
    wrong = [k for k, label in enumerate(labels) if not 0 <= label < classes]
    if wrong:
        label = str(labels[wrong[0]])[:20]
        raise DataError(
            f"{file}: picture {wrong[0]} has label {label}, there are {classes} classes",
            "Labels are 0 and up, below the number of class names.",
        )
    return x.reshape(-1, 3, _SIDE, _SIDE), np.array(labels, dtype=np.int64)


FORMAT = Format("cifar", recognises, open_raw)
