"""Datasets from tensors, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.core.spec import Classes, Input, Labels, Modality, Numbers, Target
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource


def numbers(
    x: Tensor, y: Tensor, names: Sequence[str] = ("y",), units: Sequence[str] = (), *, same: bool = False
) -> Dataset[Labelled]:
    """(N, ...) inputs with (N, T) or (N,) numbers. `same`: train, val and test are the same samples."""
    y = y.double().reshape(len(x), -1)
    return _dataset(x, Numbers(names=tuple(names), units=tuple(units)), y, same)


def classes(x: Tensor, y: Tensor, count: int, *, same: bool = False) -> Dataset[Labelled]:
    """(N, ...) inputs with (N,) classes. `same`: train, val and test are the same samples."""
    return _dataset(x, Classes(names=tuple(f"class {k}" for k in range(count))), y.long(), same)


def labels(x: Tensor, y: Tensor) -> Dataset[Labelled]:
    """(N, ...) inputs with (N, K) zeros and ones."""
    return _dataset(x, Labels(names=tuple(f"label {k}" for k in range(y.shape[1]))), y.float(), same=False)


def _dataset(x: Tensor, target: Target, y: Tensor, same: bool) -> Dataset[Labelled]:
    modality: Modality = "image" if x.ndim == 4 else "vector"
    inputs = {"x": Input(modality=modality, shape=tuple(x.shape[1:]), dtype=str(x.dtype).removeprefix("torch."))}
    raw = RawDataset(
        source=ArraySource(x),
        inputs=inputs,
        target=target,
        truth=y,
        recognised_as="tensors of a test",
        same_samples=same,
    )
    return assemble(raw, "made", 0, None)


def seeded(seed: int = 0) -> torch.Generator:
    """Generator with a fixed seed."""
    return torch.Generator().manual_seed(seed)
