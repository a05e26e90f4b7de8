"""Identity of the samples of a dataset: names, digests of contents and targets, split. Stored with a run.

A run is judged on the test samples that it was given, even if files were added, removed, renamed or replaced since:
samples are matched by content, first those of the same name. What is new belongs to no split.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core import file_io
from snellen.core.errors import DataError
from snellen.core.spec import Classes, Preprocessing, Several
from snellen.data.annotations import Annotations, ObjectAnnotations
from snellen.data.check.duplicates import CHANCE_FACTOR, chance_of_equal_rows, file_digests
from snellen.data.dataset import SPLITS, Dataset, Labelled, with_one_target
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.image_files import map_threads
from snellen.data.file_source import FileSource
from snellen.data.flat_sequences import RaggedSource
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource, BadSamples, Source

FILE = "samples.safetensors"
MAX_MAPS = 20_000  # masks and maps that are read for their digests
_BATCH = 256  # samples read at once
_CONTENTS: weakref.WeakKeyDictionary[Source, np.ndarray] = weakref.WeakKeyDictionary()  # computed once per source
_ANNOTATIONS: weakref.WeakKeyDictionary[Annotations, np.ndarray] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class SampleIdentity:
    """Identity of N samples.

    Args:
        key: `Source.key()`, or None.
        names: N names, or the prefix of the number, as of `ArraySource`.
        contents: (N,) int64 digests of the inputs.
        targets: (N,) int64 digests of the targets, or None for more maps than are read.
        split: (N,) int8 index into SPLITS, -1 for none.
    """

    key: str | None
    names: Sequence[str] | str
    contents: np.ndarray
    targets: np.ndarray | None
    split: np.ndarray

    def name(self, id: int) -> str:
        return f"{self.names} {id}" if isinstance(self.names, str) else self.names[id]


class Changes(NamedTuple):
    """Differences between the data and what a run was trained on. Names of samples.

    gone: of each split. new: in no split. changed: other content under the same name, also in `gone` and `new`.
    relabelled: another target. reordered: the samples have other ids.
    """

    gone: dict[str, list[str]]
    new: list[str]
    changed: list[str]
    relabelled: list[str]
    reordered: bool

    def __bool__(self) -> bool:
        return bool(any(self.gone.values()) or self.new or self.relabelled or self.reordered)

    def text(self) -> str:
        """The changes as one phrase, "3 of test are gone (a.png, b.png, …), 2 are new (c.png, d.png)"."""
        changed = set(self.changed)
        parts = [
            _phrase([name for name in names if name not in changed], f"of {split} are gone")
            for split, names in self.gone.items()
        ]
        parts.append(_phrase([name for name in self.new if name not in changed], "are new"))
        parts.append(_phrase(self.changed, "have another content"))
        parts.append(_phrase(self.relabelled, "have another target"))
        shown = [part for part in parts if part]
        return ", ".join(shown) or "the samples are in another order"


def _phrase(names: list[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names):,} {what} ({shown})" if names else ""


def identify(data: Dataset[Labelled]) -> SampleIdentity:
    """The identity of all samples; reads every input once, files by their cached digests."""
    source = data.source
    return SampleIdentity(
        key=source.key(), names=_names(source), contents=_contents(source), targets=_targets(data), split=_split(data)
    )


def write_identity(folder: Path, identity: SampleIdentity) -> None:
    """Write the identity into the folder of a run."""
    names = identity.names if isinstance(identity.names, str) else "\0".join(identity.names)
    tensors = {
        "contents": torch.from_numpy(identity.contents),
        "split": torch.from_numpy(identity.split),
        "names": torch.frombuffer(bytearray(names.encode("utf-8", "surrogateescape") or b" "), dtype=torch.uint8),
    }
    if identity.targets is not None:
        tensors["targets"] = torch.from_numpy(identity.targets)
    file_io.write_tensors(folder / FILE, tensors, {"key": identity.key, "one prefix": isinstance(identity.names, str)})


def read_identity(folder: Path) -> SampleIdentity | None:
    """Read the identity from the folder of a run; None for runs that have none.

    Raises:
        DataError: if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    tensors, about = file_io.read_tensors(path)
    try:
        text = bytes(tensors["names"].numpy()).decode("utf-8", "surrogateescape")
        contents, split, targets = tensors["contents"], tensors["split"], tensors.get("targets")
        names: Sequence[str] | str = text if about["one prefix"] else text.split("\0")
        count = len(contents)
        lengths = {count, len(split), *([] if targets is None else [len(targets)])}
        valid = lengths == {count} and (isinstance(names, str) or len(names) == count)
        valid = valid and contents.dtype == torch.int64 and split.dtype == torch.int8 and contents.ndim == 1
        valid = valid and (about["key"] is None or isinstance(about["key"], str))
        if not valid or (count and not -1 <= int(split.min()) <= int(split.max()) < len(SPLITS)):
            raise ValueError("it is no list of samples")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error}", "Restore it, or train again.") from error
    return SampleIdentity(
        key=about["key"],
        names=names,
        contents=contents.numpy(),
        targets=None if targets is None else targets.numpy(),
        split=split.numpy(),
    )


def with_stored_splits(data: Dataset[Labelled], stored: SampleIdentity) -> tuple[Dataset[Labelled], Changes]:
    """The data with the splits of a run, and how it differs from the data of the run."""
    names, targets = _names(data.source), _targets(data)
    unchanged = stored.key is not None and stored.key == data.source.key() and len(data.source) == len(stored.split)
    contents = stored.contents if unchanged else _contents(data.source)
    match = np.arange(len(stored.split)) if unchanged else _match(names, contents, targets, stored)
    split = np.where(match >= 0, stored.split[match], -1)
    splits = {name: torch.from_numpy(np.nonzero(split == index)[0]) for index, name in enumerate(SPLITS)}
    gone = np.ones(len(stored.split), bool)
    gone[match[match >= 0]] = False
    label = SampleIdentity(key=None, names=names, contents=contents, targets=None, split=split)
    new = [label.name(id) for id in np.nonzero(match < 0)[0].tolist()]
    gone_names = set() if isinstance(stored.names, str) else {stored.name(k) for k in np.nonzero(gone)[0].tolist()}
    relabelled: list[str] = []
    if stored.targets is not None and targets is not None:
        other = (match >= 0) & (stored.targets[match] != targets)
        relabelled = [label.name(id) for id in np.nonzero(other)[0].tolist()]
    changes = Changes(
        gone={
            name: [stored.name(id) for id in np.nonzero(gone & (stored.split == index))[0].tolist()]
            for index, name in enumerate(SPLITS)
        },
        new=new,
        changed=[name for name in new if name in gone_names],
        relabelled=relabelled,
        reordered=len(match) != len(stored.split) or not np.array_equal(match, np.arange(len(match))),
    )
    if not changes and np.array_equal(split, _split(data)):
        return data, changes
    sizes = {name: len(ids) for name, ids in splits.items()}
    return replace(data, splits=splits, spec=replace(data.spec, sizes=sizes)), changes


def without_training_samples(
    data: Dataset[Labelled], stored: SampleIdentity, split: str
) -> tuple[Dataset[Labelled], list[str]]:
    """Other data without the samples of one of its splits that a run was trained or selected on, and their names.

    Validation samples are left in if they are asked for. Rows of few categories and whole numbers that coincide no more
    often than by chance are other samples, and are left in.
    """
    ids = data.splits[split].numpy()
    learned_from = (stored.split == SPLITS.index("train")) | ((stored.split == SPLITS.index("val")) & (split != "val"))
    learned = stored.contents[learned_from]
    known = np.isin(_contents(data.source)[ids], learned)
    if known.any() and isinstance(data.source, ArraySource) and data.source.values.ndim == 2:
        counts = dict(zip(*np.unique(learned, return_counts=True), strict=True))
        pairs = sum(counts.get(content, 0) for content in _contents(data.source)[ids].tolist())
        chance = chance_of_equal_rows(data.source.values, data.spec.input.columns)
        if pairs <= CHANCE_FACTOR * chance * len(ids) * len(learned):
            return data, []
    rest = torch.from_numpy(ids[~known])
    spec = replace(data.spec, sizes={**data.spec.sizes, split: len(rest)})
    return replace(data, splits={**data.splits, split: rest}, spec=spec), [data.name(id) for id in ids[known]]


def _match(
    names: Sequence[str] | str, contents: np.ndarray, targets: np.ndarray | None, stored: SampleIdentity
) -> np.ndarray:
    """(M,) int64: for each present sample a stored one of the same content, or -1; no stored one twice.

    Samples of the same name, content and target are matched first, then those of the same content and target, then of
    the same content; equal ones in their order. Further copies of a stored sample are new.
    """
    ours, theirs = contents, stored.contents
    if targets is not None and stored.targets is not None:
        ours, theirs = targets, stored.targets
    present = list(zip(contents.tolist(), ours.tolist(), strict=True))
    former = list(zip(stored.contents.tolist(), theirs.tolist(), strict=True))
    keys: list[tuple[Sequence[Any], Sequence[Any]]] = [(present, former), (contents.tolist(), stored.contents.tolist())]
    if not isinstance(names, str) and not isinstance(stored.names, str):
        keys.insert(0, (list(zip(names, present, strict=True)), list(zip(stored.names, former, strict=True))))
    result = np.full(len(contents), -1, np.int64)
    taken = np.zeros(len(stored.contents), bool)
    for our_keys, their_keys in keys:
        waiting: dict[Any, deque[int]] = {}
        for k, key in enumerate(their_keys):
            if not taken[k]:
                waiting.setdefault(key, deque()).append(k)
        for i, key in enumerate(our_keys):
            if result[i] < 0 and waiting.get(key):
                result[i] = waiting[key].popleft()
                taken[result[i]] = True
    return result


def _split(data: Dataset[Labelled]) -> np.ndarray:
    """(N,) int8 index of the split of each sample, -1 for none; the last one of a sample in several."""
    split = np.full(len(data.source), -1, np.int8)
    for index, name in enumerate(SPLITS):
        split[data.splits[name].numpy()] = index
    return split


def _names(source: Source) -> Sequence[str] | str:
    names = getattr(source, "names", None)
    if isinstance(source, ArraySource) and isinstance(names, str):
        return names
    return [source.name(id) for id in range(len(source))]


def _contents(source: Source) -> np.ndarray:
    """(N,) int64 digests of the inputs: of files, else of the values."""
    if source not in _CONTENTS:
        _CONTENTS[source] = _compute_contents(source)
    return _CONTENTS[source]


def _compute_contents(source: Source) -> np.ndarray:
    if isinstance(source, FramePairs):
        first, second = _contents(source.first), _contents(source.second)
        return _digests(a.tobytes() + b.tobytes() for a, b in zip(first, second, strict=True))
    if isinstance(source, FileSource):
        digests = file_digests(source, range(len(source)), "whole")
        pages = source.page or [None] * len(source)
        return _digests(digests.get(id, b"") + f" {page}".encode() for id, page in enumerate(pages))
    if isinstance(source, SeveralInputs):
        parts = {name: _contents(of_input) for name, of_input in source.sources.items()}
        return _digests(
            b"".join(parts[name][at].tobytes() if at >= 0 else b"-" for name, at in zip(parts, positions, strict=True))
            for positions in np.stack(list(source.positions.values()), 1)
        )
    return _digests(_rows(source))


def _rows(source: Source) -> Iterator[bytes]:
    if isinstance(source, ArraySource) and source.missing is not None:
        # The value that replaces a missing cell depends on all rows.
        values = source.values.clone().masked_fill_(torch.from_numpy(source.missing), torch.nan)
        yield from (row.tobytes() for row in values.float().numpy())
        return
    if isinstance(source, RaggedSource):  # without padding, which depends on the other samples
        yield from (sequence.float().numpy().tobytes() for sequence in source.sequences)
        return
    for start in range(0, len(source), _BATCH):
        ids = np.arange(start, min(start + _BATCH, len(source)))
        values = source.read(ids, Preprocessing()).float().contiguous()  # the same numbers of another type are equal
        yield from (row.tobytes() for row in values.flatten(1).numpy())


def _targets(data: Dataset[Labelled]) -> np.ndarray | None:
    """(N,) int64 digests of the targets: of objects without their masks, of at most MAX_MAPS maps; None without."""
    annotations = data.annotations
    if annotations is not None:
        if not isinstance(annotations, ObjectAnnotations) and len(data.source) > MAX_MAPS:
            return None
        if annotations not in _ANNOTATIONS:
            _ANNOTATIONS[annotations] = _annotation_digests(annotations, len(data.source))
        return _ANNOTATIONS[annotations]
    truth: Tensor = data.truth
    if truth.numel() == 0:
        return None
    if isinstance(data.spec.target, Several):
        parts = [_targets(with_one_target(data, name)) for name in data.spec.target.names]
        return _digests(row.tobytes() for row in np.stack([part for part in parts if part is not None], 1))
    if isinstance(data.spec.target, Classes):  # by name: a new class changes the numbers of the others
        names = [name.encode("utf-8", "surrogateescape") for name in data.spec.target.names]
        return _digests(names[k] for k in truth.tolist())
    batches = (truth.index_select(0, ids) for ids in torch.split(torch.arange(len(truth)), _BATCH))
    return _digests(row.tobytes() for rows in batches for row in rows.contiguous().reshape(len(rows), -1).numpy())


def _annotation_digests(annotations: Annotations, count: int) -> np.ndarray:
    if isinstance(annotations, ObjectAnnotations):
        return _digests(_object_bytes(annotations, id) for id in range(count))
    return _digests(map_threads(lambda id: _map_bytes(annotations, id), range(count)))


def _object_bytes(annotations: ObjectAnnotations, id: int) -> bytes:
    image = int(annotations.image_of_sample[id])
    first, last = annotations.starts[image : image + 2].tolist()
    objects = annotations.objects.select(torch.arange(first, last))
    return b"".join(part.contiguous().numpy().tobytes() for part in objects if isinstance(part, Tensor))


def _map_bytes(annotations: Annotations, id: int) -> bytes:
    try:
        loaded = annotations.load(id)
    except BadSamples:  # said where it is read for training
        return b""
    parts = (loaded,) if isinstance(loaded, Tensor) else loaded
    return b"".join(part.contiguous().numpy().tobytes() for part in parts if isinstance(part, Tensor))


def _digests(contents: Iterable[bytes]) -> np.ndarray:
    made = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(made, np.int64).copy()
