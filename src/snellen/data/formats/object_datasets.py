"""What the formats of objects in pictures share: their splits, the files that they leave over, and the draft."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.object_checks import checked
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import SUFFIXES
from snellen.data.decode.image_files import ImageFiles
from snellen.data.file_index import Listing
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_folder import SPLIT_NAMES, group_ids, is_no_data, is_picture_name
from snellen.data.formats.object_table import ObjectTable
from snellen.data.source import Skipped

_LOOKED_AT, _TRIED = 2000, 5  # entries of a folder, and of these names whose pictures are looked for


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a set says beside its objects.

    Args:
        target: the names of classes and keypoints.
        name: of the format, as it stands in a sentence.
        note: what else the user must know of how it was read.
        given: (N,) places in SPLITS, or None.
        findings, files, aside: see `RawDataset`.
    """

    target: Boxes
    name: str
    note: str = ""
    given: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    aside: tuple[Skipped, ...] = ()


def draft_of(source: ImageFiles, table: ObjectTable, told: Told, options: OpenOptions) -> RawDataset:
    """The draft of a set of objects, with all that is wrong with them.

    Raises:
        DataError: where it has splits but nothing to learn from, or no object at all.
    """
    if not len(table.picture) and not table.wrong:
        raise DataError(
            f"{source.root} tells of no object in {len(source)} pictures", "Add annotations of what is to be found."
        )
    if told.given is not None and not (told.given == 0).any():
        there = ", ".join(sorted({SPLITS[place] for place in told.given.tolist()}))
        raise DataError(f"{source.root} has {there} but no train split", "Add one to learn from.")
    found = checked(table, source, told.target.names, told.given)
    paths = [source.name(k) for k in range(len(source))]
    return RawDataset(
        source=source,
        inputs={"image": source.input()},
        target=told.target,
        truth=None,
        annotations=found.annotations,
        given=told.given,
        groups=group_ids(paths, options.group) if options.group else None,
        recognised_as=_taken_for(source, table, told),
        findings=(*told.findings, *found.findings),
        objections=tuple(found.objections),
        bad=found.bad,
        files=told.files,
        aside=told.aside,
    )


def some_masks(without: Sequence[str], count: int) -> Finding:
    """That masks are not used, as some objects have none.

    Args:
        without: where these are told, each once.
        count: of all objects.
    """
    few, others = f"{len(without):,} of {count:,} objects", len(without) - 1
    told = f"{few} have no mask: {without[0]}" if not others else f"{few} have no mask, the first {without[0]}"
    return Finding(
        kind="some-masks",
        count=len(without),
        where=tuple(without[:20]),
        message=f"{told}. So all are read as boxes only, and the masks of the other "
        f"{count - len(without):,} are not used.",
        remedy="To learn masks, draw one for each of them, or take their pictures out of the set.",
    )


def _taken_for(source: ImageFiles, table: ObjectTable, told: Told) -> str:
    given = (
        ""
        if told.given is None
        else " in the given splits " + ", ".join(SPLITS[place] for place in np.unique(told.given).tolist())
    )
    note = f"; {told.note}" if told.note else ""
    return (
        f"{told.name}: {len(table.picture):,} objects of {len(told.target.names)} classes in {len(source):,} "
        f"pictures{given}{note}"
    )


def split_of(name: str) -> int | None:
    """The place in SPLITS that a word of a name tells: "instances_train2017", "valid"."""
    words = [SPLIT_NAMES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SPLIT_NAMES]
    return words[0] if words else None


def left_over(listing: Listing, used: set[str], reason: str, remedy: str) -> tuple[list[Skipped], int]:
    """The files that are not used, each with its reason, and how many are known to be no data.

    Args:
        used: paths of the others.
        reason, remedy: of a picture that is not used.
    """
    aside, no_data = list(listing.aside), 0
    for file in listing.files:
        if file.path in used:
            continue
        if is_no_data(file.path):
            no_data += 1
        elif is_picture_name(file.path.rpartition("/")[2]):
            aside.append(Skipped(file.path, reason, remedy))
        else:
            aside.append(Skipped(file.path, "is of no kind that is read", "Convert it, or move it away."))
    return aside, no_data


def some_names(folder: Path) -> list[str]:
    """Names in a folder that are not hidden, the first of very many; none where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in itertools.islice(found, _LOOKED_AT) if not entry.name.startswith(".")]
    except OSError:
        return []


def beside_pictures(folder: Path, suffix: str) -> bool:
    """Whether one of the first files of this ending has the name of a picture beside it."""
    stems = [name[: -len(suffix)] for name in some_names(folder) if name.lower().endswith(suffix)]
    return any(
        (folder / f"{stem}{ending}").exists()
        for stem in stems[:_TRIED]
        for ending in itertools.chain.from_iterable((one, one.upper()) for one in sorted(SUFFIXES))
    )


def leads_out(name: str) -> bool:
    """Whether a name of a file leads out of the folder that it is told in."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))


def is_name(text: str) -> bool:
    """Whether a class, or a file, can be called so: not empty, without zero bytes and halves of characters."""
    try:
        return bool(text.strip()) and "\0" not in text and all(len(part) < 256 for part in text.encode().split(b"/"))
    except UnicodeEncodeError:
        return False


def mirrored(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of keypoints whose names differ in left and right, or l and r, only."""
    swap = {"left": "right", "l": "r"}
    place = {tuple(re.findall(r"[a-z]+|[^a-z]+", name.lower())): k for k, name in enumerate(names)}
    pairs = []
    for words, k in place.items():
        other = place.get(tuple(swap.get(word, word) for word in words), k)
        if other != k:
            pairs.append((k, other))
    return tuple(pairs)
