"""Shared parts of the object formats (COCO, Pascal VOC, YOLO): splits, unused files, the raw dataset."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.object_checks import check_objects
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import SUFFIXES
from snellen.data.decode.image_files import ImageFiles
from snellen.data.file_index import Listing
from snellen.data.formats import OpenOptions
from snellen.data.formats.file_names import SPLIT_NAMES, is_image_name, is_sidecar, is_system_name
from snellen.data.formats.groups import image_groups
from snellen.data.formats.object_table import ObjectTable
from snellen.data.formats.unread_content import unsupported
from snellen.data.source import Skipped

_MAX_ENTRIES, _MAX_TRIED, _MAX_FOLDERS = 2000, 20, 50  # entries of a folder; files and folders looked at


@dataclass(frozen=True, kw_only=True)
class ObjectDatasetInfo:
    """Properties of an object dataset besides its objects.

    Args:
        target: the names of classes and keypoints.
        name: of the format, for messages.
        note: remarks for the user on how the data was read.
        given_splits: (N,) indices into SPLITS, or None.
        findings, files, skipped: see `RawDataset`.
    """

    target: Boxes
    name: str
    note: str = ""
    given_splits: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()


def to_raw_dataset(source: ImageFiles, table: ObjectTable, info: ObjectDatasetInfo, options: OpenOptions) -> RawDataset:
    """The raw dataset of an object table, with all errors in its objects.

    Raises:
        DataError: it has splits but no training split, or no object at all.
    """
    lost = next((finding for finding in info.findings if finding.severity == "error"), None)
    if not len(table.image_index) and not table.problems and lost is not None:
        raise DataError(f"{source.root}: {lost.message}", lost.remedy)
    if not len(table.image_index) and not table.problems:
        raise DataError(f"{source.root} has no object in {len(source)} images", "Annotate the objects to detect.")
    if info.given_splits is not None and not (info.given_splits == 0).any():
        split_names = ", ".join(sorted({SPLITS[index] for index in info.given_splits.tolist()}))
        raise DataError(f"{source.root} has {split_names} but no train split", "Add a train split.")
    result = check_objects(table, source, info.target.names, info.given_splits)
    return RawDataset(
        source=source,
        inputs={"image": source.input()},
        target=info.target,
        truth=None,
        annotations=result.annotations,
        given_splits=info.given_splits,
        groups=image_groups(source, options.group) if options.group else None,
        recognised_as=_recognised_as(source, table, info),
        findings=(*info.findings, *result.findings),
        bad_sample_findings=tuple(result.bad_sample_findings),
        bad_samples=result.bad_samples,
        files=info.files,
        skipped=info.skipped,
    )


def missing_masks(unmasked: Sequence[str], count: int) -> Finding:
    """The finding that masks are not used because some objects have none.

    Args:
        without: the names of objects without mask.
        count: the number of all objects.
    """
    fraction, others = f"{len(unmasked):,} of {count:,} objects", len(unmasked) - 1
    cause = (
        f"{fraction} have no mask: {unmasked[0]}" if not others else f"{fraction} have no mask, the first {unmasked[0]}"
    )
    return Finding(
        kind="some-masks",
        count=len(unmasked),
        where=tuple(unmasked[:20]),
        message=f"{cause}. All objects are read as boxes only; the masks of the other "
        f"{count - len(unmasked):,} are not used.",
        remedy="To train on masks, add the missing ones, or remove their images from the dataset.",
    )


def _recognised_as(source: ImageFiles, table: ObjectTable, info: ObjectDatasetInfo) -> str:
    given = (
        ""
        if info.given_splits is None
        else " in the given splits " + ", ".join(SPLITS[index] for index in np.unique(info.given_splits).tolist())
    )
    note = f"; {info.note}" if info.note else ""
    return (
        f"{info.name}: {len(table.image_index):,} objects of {len(info.target.names)} "
        f"class{'es' if len(info.target.names) != 1 else ''} in {len(source):,} "
        f"images{given}{note}"
    )


def split_of(name: str) -> int | None:
    """The index in SPLITS of the split word in a name ("instances_train2017", "valid"), or None."""
    words = [SPLIT_NAMES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SPLIT_NAMES]
    return words[0] if words else None


def file_counts(listing: Listing, used: Collection[str], skipped: Sequence[Skipped], no_data: int) -> dict[str, int]:
    """`RawDataset.files` of a folder."""
    total = len(listing.files) + len(listing.skipped)
    return {"found": total, "used": len(used), "set aside": len(skipped), "no data": no_data}


def unused_files(listing: Listing, used: set[str], reason: str, remedy: str) -> tuple[list[Skipped], int]:
    """The unused files, each with its reason, and the number of files that are not data.

    Args:
        used: paths of the used files.
        reason, remedy: for an unused image.
    """
    skipped, no_data = list(listing.skipped), 0
    for file in listing.files:
        if file.path in used:
            continue
        if is_sidecar(file.path):
            no_data += 1
        elif is_image_name(file.path.rpartition("/")[2]):
            skipped.append(Skipped(file.path, reason, remedy))
        else:
            skipped.append(unsupported(file.path))
    return skipped, no_data


def list_names(folder: Path) -> list[str]:
    """Names in a folder, up to a limit, without hidden files and system folders; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, _MAX_ENTRIES) if not is_system_name(entry.name)]
    except OSError:
        return []


def has_annotations(root: Path, suffix: str, folders: Collection[str], is_annotation: Callable[[Path], bool]) -> bool:
    """Whether annotation files lie beside images of the same names, or in folders of these names, at any depth.

    Looks at the first files of the first folders only.
    """
    pending, tried = [root], 0
    while pending and tried < _MAX_FOLDERS:
        folder, tried = pending.pop(0), tried + 1
        names = list_names(folder)
        files = [folder / name for name in names if name.lower().endswith(suffix)]
        is_named = any(part.lower() in folders for part in folder.relative_to(root).parts)
        if any((is_named or _has_image(file)) and is_annotation(file) for file in files[:_MAX_TRIED]):
            return True
        below = (folder / name for name in sorted(names) if "." not in name)
        pending += [place for place in below if place.is_dir() and not place.is_symlink()]
    return False


def _has_image(file: Path) -> bool:
    """Whether an image of the same name lies beside a file."""
    return any(file.with_suffix(ending).exists() for one in sorted(SUFFIXES) for ending in (one, one.upper()))


def leads_out(name: str) -> bool:
    """Whether a file name is absolute or leads out of its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))


def is_name(text: str) -> bool:
    """Whether a text is a valid class or file name: not empty, no zero byte, no lone surrogate."""
    try:
        return bool(text.strip()) and "\0" not in text and all(len(part) < 256 for part in text.encode().split(b"/"))
    except UnicodeEncodeError:
        return False


_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^A-Za-z]+")  # leftEye, LEye, left_eye, EYE_L
_SWAP = {"left": "right", "right": "left", "l": "r", "r": "l"}


def mirrored_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Index pairs of keypoints whose names differ only in left/right, or l/r."""
    index = {tuple(_WORDS.findall(name)): k for k, name in enumerate(names)}
    lower = {tuple(word.lower() for word in words): k for words, k in index.items()}
    pairs = []
    for words, k in lower.items():
        other = lower.get(tuple(_other_side(word) for word in words), k)
        if k < other:
            pairs.append((k, other))
    return tuple(pairs)


def _other_side(word: str) -> str:
    """The word with left and right exchanged: alone, or at the start or the end, as in lefteye."""
    if word in _SWAP:
        return _SWAP[word]
    for side in ("left", "right"):
        if word.startswith(side):
            return _SWAP[side] + word.removeprefix(side)
        if word.endswith(side):
            return word.removesuffix(side) + _SWAP[side]
    return word
