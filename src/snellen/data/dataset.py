"""Datasets: samples in splits with their spec. File layouts are in `formats/`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Boxes, Classes, Input, Labels, PixelClasses, Preprocessing, Several, Spec, Target
from snellen.core.views import Finding
from snellen.data.annotations import Annotations
from snellen.data.cache import LineCallback, decode_to_disk, ignore_line, load_into_memory
from snellen.data.flat_sequences import RaggedSource
from snellen.data.scenes import Scenes
from snellen.data.source import Skipped, Source

S_co = TypeVar("S_co", covariant=True)

SPLITS = ("train", "val", "test")
MAX_BATCH_VALUES = 2**21  # of a batch for prediction: the feature maps of more images do not fit into a CPU's cache


class Labelled(NamedTuple):
    """A batch of samples with one input and one target each.

    x: (B, ...) at the depth of the source (uint8, uint16, float32, float64).
    y: (B,) int64 classes, (B, K) float32 zeros and ones for labels, (B, T) float64 numbers, or (B, columns) float64 of
        several targets.
    ids: (B,) int64, ids of the samples in the dataset.
    """

    x: Tensor
    y: Tensor
    ids: Tensor


class Withheld(NamedTuple):
    """The target that a task without a target leaves aside: no model is trained on it, predictions may be compared.

    truth: see `RawDataset`, by the id of the sample.
    """

    target: Target
    truth: Tensor


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A dataset as a format reads it, before splits are made and contents are checked.

    Args:
        source: the inputs.
        inputs, target: those of the spec; counts are filled in later.
        truth: (N,) int64 classes, (N, K) float32 labels, (N, T) float64 numbers, (N, columns) float64 of several
            targets, or None.
        annotations: dense or object annotations of images, in place of `truth`.
        given_splits: (N,) int64 index into SPLITS if the folder has its own splits, else None.
        groups: (N,) int64; samples of one group stay in one split. None: every sample is its own group.
        group_names: (N,) name of the group of each sample as `--group` gives it; (): the groups have no names.
        recognised_as: one sentence: what the folder was recognised as and how to override it.
        same_samples: train, val and test are the same samples (xor).
        files: number of files "found", "used", "set aside" (skipped), and known to be "no data".
        skipped: files and samples that are not used, each with its reason.
        bad_samples: samples of the source whose annotation cannot be used, each with its reason.
        bad_sample_findings: the errors about these samples.
        identity: of samples that are one file each: the samples, in the plural, and what a part of the file names may
            be: ("recordings", "speaker"); (): others.
        nodata_replaced: whether the format has replaced the pixels without data (`OpenOptions.nodata`).
    """

    source: Source
    inputs: Mapping[str, Input]
    target: Target | None
    truth: Tensor | None
    recognised_as: str
    annotations: Annotations | None = None
    given_splits: np.ndarray | None = None
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    same_samples: bool = False
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    bad_samples: Mapping[int, Skipped] = field(default_factory=dict)
    bad_sample_findings: tuple[Finding, ...] = ()
    identity: tuple[str, str] | tuple[()] = ()
    nodata_replaced: bool = False


@dataclass(frozen=True, kw_only=True)
class Dataset(Generic[S_co]):
    """Samples in splits.

    Args:
        spec: shapes, classes, units, sizes.
        source: source of the inputs.
        truth, annotations: all targets, see `RawDataset`.
        splits: "train", "val", "test" -> ids.
        recognised_as: what the data was recognised as.
        findings: findings of the data check.
        origin: arguments with which `dataset(**origin)` reopens the same data; None for data made in memory.
        preprocessing: preprocessing of the inputs for the model.
        cache: where decoded inputs are cached: "auto", "ram", "off", or the maximum bytes of disk, such as "20G".
        value_range: range of values set by the user (`--range`); None: the robust range of the training split.
        group_names: see `RawDataset`, by the id of the sample.
        withheld: the target that the data had before `without_target`; None: it had none with one row per sample.
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
    skipped: tuple[Skipped, ...] = ()
    cache: str = "auto"
    annotations: Annotations | None = None
    group_names: tuple[str, ...] = ()
    withheld: Withheld | None = None

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.splits.values())

    def samples(self, split: str, device: torch.device | str = "cpu", announce: LineCallback = ignore_line) -> Samples:
        """Preprocessed samples of a split: from memory, from the cache file, or from the source.

        Args:
            announce: called with one line about the file of decoded inputs, if there is one.
        """
        ids = self.splits[split]
        values = None if self.cache == "off" else load_into_memory(self.source, ids, self.preprocessing)
        source = (
            self.source if values is not None else decode_to_disk(self.source, self.preprocessing, self.cache, announce)
        )
        return Samples(source, ids, self.truth[ids], self.preprocessing, values, device)

    def scenes(self, split: str, device: torch.device | str = "cpu") -> Scenes:
        """Images of a split, each at its own size, with dense or object annotations."""
        assert self.annotations is not None
        return Scenes(
            self.source, self.splits[split], self.annotations, self.preprocessing, self.cache != "off", device
        )

    def counts(self, split: str) -> tuple[int, ...]:
        """Samples, objects or pixels per class in a split; empty if there are no classes."""
        target, ids = self.spec.target, self.splits[split]
        if isinstance(target, PixelClasses | Boxes) and self.annotations is not None:
            return self.annotations.counts(ids, len(target.names))
        return class_counts(target, self.truth[ids])

    def example(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        """(1, ...) first input of a split, preprocessed for the model."""
        if self.annotations is not None:
            return self.source.read(self.splits[split][:1].numpy(), self.preprocessing).to(device)
        return self.samples(split, device).take(torch.zeros(1, dtype=torch.int64)).x

    def name(self, id: int) -> str:
        return self.source.name(int(id))

    def image(self, id: int) -> Tensor:
        """(C, H, W) one input, preprocessed for the model."""
        return self.source.read(np.array([id]), self.preprocessing)[0]

    def _repr_html_(self) -> str:
        import html

        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{v:,}</td></tr>" for k, v in self.spec.sizes.items())
        return f"<p>{html.escape(self.recognised_as)}</p><table>{rows}</table>"


def truth_of(target: Several, name: str, truth: Tensor) -> Tensor:
    """Ground truth of one of several targets, in the form that it has alone (see `RawDataset.truth`).

    Args:
        truth: (N, columns) float64 of all targets.
    """
    part, columns = target.parts[name], truth[:, target.columns[name]]
    if isinstance(part, Classes):
        return columns[:, 0].long()
    return columns.float() if isinstance(part, Labels) else columns


def with_one_target(data: Dataset[Labelled], name: str) -> Dataset[Labelled]:
    """The same samples with one of their several targets."""
    target = data.spec.target
    assert isinstance(target, Several)
    spec = replace(data.spec, target=target.parts[name])
    return replace(data, spec=spec, truth=truth_of(target, name, data.truth))


def each_target(raw: RawDataset) -> list[RawDataset]:
    """The same samples with each of their targets; one item where there is one target."""
    if not isinstance(raw.target, Several) or raw.truth is None:
        return [raw]
    return [replace(raw, target=t, truth=truth_of(raw.target, n, raw.truth)) for n, t in raw.target.parts.items()]


def strata(target: Target | None, truth: Tensor | None) -> Tensor | None:
    """(N,) int64 class of each sample, by which splits are stratified: of several targets the first of classes."""
    if truth is None:
        return None
    if isinstance(target, Several):
        name = next((name for name, part in target.parts.items() if isinstance(part, Classes)), None)
        return None if name is None else truth_of(target, name, truth)
    return truth if isinstance(target, Classes) else None


class Samples:
    """Samples of one split, at positions 0 … n-1; `ids` are their ids in the dataset.

    Args:
        values: (n, ...) all inputs if they fit in memory; None: each batch is read from the source.
    lengths: (n,) int64 steps of each sample on the CPU, of ragged data in memory; else None.
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
        self.lengths = source.sequences.lengths[ids.cpu()] if isinstance(source, RaggedSource) else None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Tensor) -> Labelled:
        """Batch of the samples at (B,) positions, on the device."""
        positions = positions.to(self.device)
        ids, y = self.ids.index_select(0, positions), self.y.index_select(0, positions)
        if self.values is not None:
            return Labelled(self.values.index_select(0, positions), y, ids)
        x = self.source.read(ids.cpu().numpy(), self.preprocessing)
        return Labelled(x.to(self.device), y, ids)

    def values_per_sample(self) -> int:
        """Number of values of one sample."""
        if self.preprocessing.size is not None:
            return math.prod(self.preprocessing.size) * (self.preprocessing.channels or 3)
        return self.take(torch.zeros(min(1, len(self)), dtype=torch.int64)).x.numel()

    def in_order(self, size: int = 256) -> Iterator[Labelled]:
        """All samples once, in batches of `size`, or fewer of large ones (see MAX_BATCH_VALUES)."""
        if self.lengths is not None:
            yield from map(self.take, self._ragged_batches(self.lengths, size))
            return
        size = min(size, max(1, MAX_BATCH_VALUES // max(1, self.values_per_sample())))
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))

    def _ragged_batches(self, lengths: Tensor, size: int) -> Iterator[Tensor]:
        """Consecutive positions, as many as fit when they are padded to the longest of them."""
        row = math.prod(self.source.read(self.ids[:1].cpu().numpy(), self.preprocessing).shape[2:])
        start, longest = 0, 0
        for position, length in enumerate(lengths.tolist()):
            longest = max(longest, length)
            count = position - start + 1
            if count > 1 and (count > size or count * longest * row > MAX_BATCH_VALUES):
                yield torch.arange(start, position)
                start, longest = position, length
        if len(lengths):
            yield torch.arange(start, len(lengths))


def without_target(data: Dataset[Labelled]) -> Dataset[Labelled]:
    """The same samples without their targets, for tasks that have none; those in `truth` are withheld."""
    if data.spec.target is None and data.annotations is None:
        return data
    target = data.spec.target
    withheld = None if target is None or data.annotations is not None else Withheld(target, data.truth)
    truth = torch.zeros(len(data.source), 0)
    return replace(data, spec=replace(data.spec, target=None), truth=truth, annotations=None, withheld=withheld)


def withheld_classes(data: Dataset[Labelled]) -> tuple[tuple[str, ...], Tensor] | None:
    """Names of the classes that were withheld from a task, and the class of each sample by its id, (N,) int64.

    Of several targets the first of classes; None where there is no such target.
    """
    if data.withheld is None:
        return None
    target, truth = data.withheld
    classes = strata(target, truth)
    parts = target.parts.values() if isinstance(target, Several) else (target,)
    names = next((part.names for part in parts if isinstance(part, Classes)), None)
    return None if classes is None or names is None else (names, classes)


def class_counts(target: Target | None, truth: Tensor) -> tuple[int, ...]:
    """Number of samples of each class or label."""
    if isinstance(target, Classes):
        return tuple(torch.bincount(truth, minlength=len(target.names)).tolist())
    if isinstance(target, Labels):
        return tuple(int(n) for n in truth.sum(0).tolist())
    return ()
