"""A dataset: samples in splits with their spec. Nothing here knows how it lies on the disk; `formats/` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Boxes, Classes, Input, Labels, PixelClasses, Preprocessing, Spec, Target
from snellen.core.views import Finding
from snellen.data.annotations import Annotations
from snellen.data.cache import Announce, decoded, quietly, resident
from snellen.data.scenes import Scenes
from snellen.data.source import Skipped, Source

S_co = TypeVar("S_co", covariant=True)

SPLITS = ("train", "val", "test")


class Labelled(NamedTuple):
    """A batch whose every sample has one input and one target.

    x: (B, ...) at the depth of the source (uint8, uint16, float32, float64).
    y: (B,) int64 classes, (B, K) float32 zeros and ones for labels, or (B, T) float64 numbers.
    ids: (B,) int64, which samples of the dataset these are.
    """

    x: Tensor
    y: Tensor
    ids: Tensor


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """What a format found, before splits are made and contents are checked.

    Args:
        source: the inputs.
        inputs, target: what the spec will say; counts are filled in later.
        truth: (N,) int64 classes, (N, K) float32 labels, (N, T) float64 numbers, or None.
        annotations: the truth in their place where it is told of places in a picture.
        given: (N,) int64 index into SPLITS where the folder has its own splits, else None.
        groups: (N,) int64; samples of one group stay in one split. None: each its own.
        taken_for: one sentence: what the folder was taken for and how to say otherwise.
        same: train, val and test are the same samples (xor).
        files: how many files were "found", "used", "set aside", and known to be "no data".
        aside: the files and samples that were set aside, each with its reason.
        bad: samples of the source whose truth cannot be used, each with its reason.
        objections: the errors that are about these.
    """

    source: Source
    inputs: Mapping[str, Input]
    target: Target | None
    truth: Tensor | None
    recognised_as: str
    annotations: Annotations | None = None
    given: np.ndarray | None = None
    groups: np.ndarray | None = None
    same: bool = False
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    aside: tuple[Skipped, ...] = ()
    bad: Mapping[int, Skipped] = field(default_factory=dict)
    objections: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset(Generic[S_co]):
    """Samples in splits.

    Args:
        spec: shapes, classes, units, sizes.
        source: where the inputs come from.
        truth, annotations: all targets, see `RawDataset`.
        splits: "train", "val", "test" -> ids.
        taken_for: what the data was taken for.
        findings: what the check found worth saying.
        origin: plain data from which `dataset(**origin)` opens the same again; None for data made in memory.
        reading: how the model wants its inputs.
        cache: where decoded inputs are kept: "auto", "ram", "off", or the most bytes of disk, such as "20G".
        span: the range of values the user set (`--range`); None: the robust range of the training split.
    """

    spec: Spec
    source: Source
    truth: Tensor
    splits: Mapping[str, Tensor]
    recognised_as: str = ""
    findings: tuple[Finding, ...] = ()
    origin: Mapping[str, Any] | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    preprocessing: Preprocessing = Preprocessing()
    value_range: tuple[float, float] | None = None
    aside: tuple[Skipped, ...] = ()
    cache: str = "auto"
    annotations: Annotations | None = None

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.splits.values())

    def samples(self, split: str, device: torch.device | str = "cpu", announce: Announce = quietly) -> Samples:
        """Samples of a split, preprocessed: from memory, from the cache file, or from the source.

        Args:
            announce: told in a line where decoded inputs are kept, if they are.
        """
        ids = self.splits[split]
        values = None if self.cache == "off" else resident(self.source, ids, self.preprocessing)
        source = self.source if values is not None else decoded(self.source, self.preprocessing, self.cache, announce)
        return Samples(source, ids, self.truth[ids], self.preprocessing, values, device)

    def scenes(self, split: str, device: torch.device | str = "cpu") -> Scenes:
        """The pictures of a split, each at its own size with its truth, where that is told of places in it."""
        assert self.annotations is not None
        return Scenes(
            self.source, self.splits[split], self.annotations, self.preprocessing, self.cache != "off", device
        )

    def counts(self, split: str) -> tuple[int, ...]:
        """Samples, objects or pixels of each class in a split; nothing where there are no classes."""
        target, ids = self.spec.target, self.splits[split]
        if isinstance(target, PixelClasses | Boxes) and self.annotations is not None:
            return self.annotations.counts(ids, len(target.names))
        return counts(target, self.truth[ids])

    def example(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        """(1, ...) the first input of a split, as a model is given it."""
        if self.annotations is not None:
            return self.source.read(self.splits[split][:1].numpy(), self.preprocessing).to(device)
        return self.samples(split, device).take(torch.zeros(1, dtype=torch.int64)).x

    def name(self, id: int) -> str:
        return self.source.name(int(id))

    def picture(self, id: int) -> Tensor:
        """(C, H, W) one input as the model reads it."""
        return self.source.read(np.array([id]), self.preprocessing)[0]

    def _repr_html_(self) -> str:
        import html

        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{v:,}</td></tr>" for k, v in self.spec.sizes.items())
        return f"<p>{html.escape(self.recognised_as)}</p><table>{rows}</table>"


class Samples:
    """The samples of one split. Position 0 … n-1 here, `ids` there in the dataset.

    Args:
        values: (n, ...) all inputs where they fit in memory, else None: then each batch is read from the source.
    """

    def __init__(
        self,
        source: Source,
        ids: Tensor,
        y: Tensor,
        preprocessing: Preprocessing,
        values: Tensor | None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source = source
        self.device = torch.device(device)
        self.preprocessing = preprocessing
        self.ids = ids.to(self.device)
        self.y = y.to(self.device)
        self.values = None if values is None else values.to(self.device)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Tensor) -> Labelled:
        """(B,) positions to the batch, on the device."""
        positions = positions.to(self.device)
        ids, y = self.ids.index_select(0, positions), self.y.index_select(0, positions)
        if self.values is not None:
            return Labelled(self.values.index_select(0, positions), y, ids)
        x = self.source.read(ids.cpu().numpy(), self.preprocessing)
        return Labelled(x.to(self.device), y, ids)

    def in_order(self, size: int = 256) -> Iterator[Labelled]:
        """Every sample once, in batches."""
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))


def counts(target: Target | None, truth: Tensor) -> tuple[int, ...]:
    """How many samples have each class or label."""
    if isinstance(target, Classes):
        return tuple(torch.bincount(truth, minlength=len(target.names)).tolist())
    if isinstance(target, Labels):
        return tuple(int(n) for n in truth.sum(0).tolist())
    return ()
