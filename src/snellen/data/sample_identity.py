"""Identity of the samples of a dataset: names, digests of contents and targets, split. Stored with a run.

A run is judged on the test samples that it was given, even if files were added, removed, renamed or replaced since:
samples are matched by content, first those of the same name. What is new belongs to no split.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core import file_io
from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing
from snellen.data.check.duplicates import file_digests
from snellen.data.dataset import SPLITS, Dataset, Labelled
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.image_files import ImageFiles
from snellen.data.source import ArraySource, Source

FILE = "samples.safetensors"
_BATCH = 256  # samples read at once
_CONTENTS: weakref.WeakKeyDictionary[Source, np.ndarray] = weakref.WeakKeyDictionary()  # computed once per source


@dataclass(frozen=True, kw_only=True)
class SampleIdentity:
    """Identity of N samples.

    Args:
        key: `Source.key()`, or None.
        names: N names, or the prefix of the number, as of `ArraySource`.
        contents: (N,) int64 digests of the inputs.
        targets: (N,) int64 digests of the targets, or None for annotations in files.
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
    if unchanged:
        match = np.arange(len(stored.split))
        contents = stored.contents
    else:
        contents = _contents(data.source)
        match = _match(names, contents, stored)
    split = np.where(match >= 0, stored.split[match], -1)
    splits = {name: torch.from_numpy(np.nonzero(split == index)[0]) for index, name in enumerate(SPLITS)}
    present = np.zeros(len(stored.split), bool)
    present[match[match >= 0]] = True
    # An exact copy of a sample that is still there is not gone.
    gone = ~present & ~np.isin(stored.contents, contents)
    label = SampleIdentity(key=None, names=names, contents=contents, targets=None, split=split)
    new = [label.name(id) for id in np.nonzero(match < 0)[0].tolist()]
    stored_names = set() if isinstance(stored.names, str) else {stored.name(k) for k in np.nonzero(gone)[0].tolist()}
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
        changed=[name for name in new if name in stored_names],
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

    Validation samples are left in if they are asked for.
    """
    ids = data.splits[split].numpy()
    learned_from = (stored.split == SPLITS.index("train")) | ((stored.split == SPLITS.index("val")) & (split != "val"))
    known = np.isin(_contents(data.source)[ids], stored.contents[learned_from])
    rest = torch.from_numpy(ids[~known])
    spec = replace(data.spec, sizes={**data.spec.sizes, split: len(rest)})
    return replace(data, splits={**data.splits, split: rest}, spec=spec), [data.name(id) for id in ids[known]]


def _match(names: Sequence[str] | str, contents: np.ndarray, stored: SampleIdentity) -> np.ndarray:
    """(M,) int64: for each present sample the stored one of the same content, or -1.

    Of several, that of the same name; else one of the training split, so that no copy of it is judged on.
    """
    by_content: dict[int, list[int]] = {}
    for k, content in enumerate(stored.contents.tolist()):
        by_content.setdefault(content, []).append(k)
    result = np.full(len(contents), -1, np.int64)
    same_names = isinstance(names, str) and names == stored.names
    for i, content in enumerate(contents.tolist()):
        candidates = by_content.get(content, ())
        if not candidates:
            continue
        if same_names and i in candidates:
            result[i] = i
            continue
        named = [] if isinstance(names, str) else [k for k in candidates if stored.name(k) == names[i]]
        result[i] = named[0] if named else min(candidates, key=lambda k: int(stored.split[k]) % len(SPLITS))
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
    """(N,) int64 digests of the inputs: of the files of images, else of the values."""
    if source not in _CONTENTS:
        _CONTENTS[source] = _compute_contents(source)
    return _CONTENTS[source]


def _compute_contents(source: Source) -> np.ndarray:
    if isinstance(source, FramePairs):
        first, second = _contents(source.first), _contents(source.second)
        return _digests(a.tobytes() + b.tobytes() for a, b in zip(first, second, strict=True))
    if isinstance(source, ImageFiles):
        digests = file_digests(source, range(len(source)), "whole")
        pages = source.page or [None] * len(source)
        return _digests(digests.get(id, b"") + f" {page}".encode() for id, page in enumerate(pages))
    return _digests(_rows(source))


def _rows(source: Source) -> Iterator[bytes]:
    for start in range(0, len(source), _BATCH):
        ids = np.arange(start, min(start + _BATCH, len(source)))
        values = source.read(ids, Preprocessing()).contiguous()
        yield from (row.tobytes() for row in values.flatten(1).numpy())


def _targets(data: Dataset[Labelled]) -> np.ndarray | None:
    """(N,) int64 digests of the targets; None for annotations, which lie in files of their own."""
    truth: Tensor = data.truth
    if data.annotations is not None or truth.numel() == 0:
        return None
    return _digests(row.tobytes() for row in truth.contiguous().reshape(len(truth), -1).numpy())


def _digests(contents: Iterable[bytes]) -> np.ndarray:
    made = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(made, np.int64).copy()
