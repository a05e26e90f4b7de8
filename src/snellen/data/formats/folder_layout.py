"""Layout of an image folder: which parts of a path are the split and the class.

Splits stand above the classes (`train/cat`, `training_set/cat`, `seg_train/cat`) or below them (`cat/train`). No part
of a class are folders above all others (`archive/train`), a last folder named for images (`cat/images`), and a last
folder of a date (`Rome/2023 summer`) or a numbered clip (`cat/clip3`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.core.views import Finding
from snellen.data.formats.file_names import split_and_rest, split_index
from snellen.data.formats.match_by_name import IMAGE_FOLDERS

AS_CLASSES = "--data-format folder reads every folder as a class"
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    rf"(?:19|20)\d\d(?:\D.*|[01]\d(?:[0-3]\d)?)?|(?:.*\W)?(?:{MONTHS})\w*\W+(?:19|20)\d\d", re.IGNORECASE
)
CLIPS = "clip|video|vid|movie|seq|sequence|scene|shot|take|recording|rec|track|tracklet|burst|trial|run"
_CLIP = re.compile(rf"(?:{CLIPS}|session|subject|patient)[\W_]*\d+", re.IGNORECASE)


class FolderLayout(NamedTuple):
    """The split (0 without splits) and class ("" outside class folders) of each folder, and the split folders' names.

    below: whether the splits stand below the classes. note: the folders that are no part of a class.
    """

    places: dict[str, tuple[int, str]]
    splits: tuple[str, ...] = ()
    below: bool = False
    note: str = ""


def folder_layout(root: Path, folders: Collection[str], literal: bool) -> FolderLayout:
    """The layout of the folders that hold images, by their names.

    Args:
        folders: relative to the root; "" is the root.
        literal: the user chose this format, so folders are classes where their names leave doubt.
    Raises:
        DataError: split folders beside other folders, several for one split, or no training folder.
    """
    parts = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    parts, prefix = (parts, "") if literal else _without_prefix(parts)
    note = f"; read from {prefix}" if prefix else ""
    splits = _splits_above(root, {path[0] for path in parts.values() if path}, literal)
    if splits:
        split_of = {folder: path[0] if path else "" for folder, path in parts.items()}
        classes = _without_repeated_folder({folder: path[1:] for folder, path in parts.items()}, split_of)
        classes, dropped = (classes, "") if literal else _without_last_folder(classes)
        places = {folder: (splits.get(split_of[folder], 0), _class(path)) for folder, path in classes.items()}
        return FolderLayout(places, tuple(sorted(splits, key=lambda name: (splits[name], name))), note=note + dropped)
    position = _position_below(root, parts, literal)
    if position is None:
        parts, dropped = (parts, "") if literal else _without_last_folder(parts)
        return FolderLayout({folder: (0, _class(path)) for folder, path in parts.items()}, note=note + dropped)
    places = {
        folder: (split_index(path[position]) or 0, _class(path[:position] + path[position + 1 :]))
        for folder, path in parts.items()
        if path
    }
    names = sorted({path[position] for path in parts.values() if path}, key=lambda name: (split_index(name), name))
    return FolderLayout({**dict.fromkeys(folders, (0, "")), **places}, tuple(names), True, note)


def _without_prefix(parts: dict[str, tuple[str, ...]]) -> tuple[dict[str, tuple[str, ...]], str]:
    """The paths without the folders above all of them, and these; a split and the folder of a class stay."""
    prefix = ""
    paths = {path for path in parts.values() if path}
    while paths and min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
        first = next(iter(paths))[0]
        if split_index(first) is not None:
            break
        prefix += f"{first}/"
        parts = {folder: path[1:] for folder, path in parts.items()}
        paths = {path[1:] for path in paths}
    return parts, prefix


def _without_last_folder(parts: dict[str, tuple[str, ...]]) -> tuple[dict[str, tuple[str, ...]], str]:
    """The paths without a last folder that is named for images, a date or a clip in all of them; and a note of it."""
    paths = sorted(path for path in parts.values() if path)
    last = {path[-1] for path in paths}
    nested = [path for path in paths if len(path) > 1]
    if nested and len(last) == 1 and next(iter(last)).lower() in IMAGE_FOLDERS:
        return {folder: path[:-1] for folder, path in parts.items()}, ""
    for pattern, what in ((_DATE, "dates"), (_CLIP, "clips")):
        named = {path for path in nested if pattern.fullmatch(path[-1])}
        outer = {path[:-1] for path in named}
        if len(outer) > 1 and all(path in outer or path in named for path in paths):
            shown = ", ".join(sorted({path[-1] for path in named})[:3])
            note = f"; the folders of {what} below them ({shown}) are no classes, --data-format folder makes them such"
            return {folder: path[:-1] if path in named else path for folder, path in parts.items()}, note
    return parts, ""


def _class(path: tuple[str, ...]) -> str:
    return unicodedata.normalize("NFC", "/".join(path))


def _splits_above(root: Path, tops: set[str], literal: bool) -> dict[str, int]:
    """Top folder -> index in SPLITS, if the top folders are splits; else {}."""
    words = {top: split_and_rest(top) for top in tops}
    splits = {top: split for top, (split, rest) in words.items() if split is not None and not rest}
    if not splits:  # seg_train, seg_test: the same other words in every name
        rests = {rest for split, rest in words.values() if split is not None}
        shared = {top: split for top, (split, _) in words.items() if split is not None}
        if len(rests) != 1 or 0 not in shared.values() or len(set(shared.values())) < max(2, len(shared)):
            return {}
        splits = shared
    others = sorted(tops - set(splits))
    if others and literal:
        return {}
    if others:
        raise DataError(
            f"{root} has {', '.join(sorted(splits))} beside {', '.join(others[:3])}",
            f"Keep only split folders, or only class folders, at the top; {AS_CLASSES}.",
        )
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{root} has several folders for one split: {', '.join(sorted(splits))}", "Keep one of them.")
    if 0 not in splits.values():
        raise DataError(f"{root} has {', '.join(sorted(splits))} but no train folder", "Add a train folder.")
    return splits


def _without_repeated_folder(
    classes: dict[str, tuple[str, ...]], split_of: dict[str, str]
) -> dict[str, tuple[str, ...]]:
    """Drop a single folder that stands between each split and its classes, as in train/train/cat."""
    while True:
        first: dict[str, set[str]] = {}
        for folder, path in classes.items():
            first.setdefault(split_of[folder], set()).add(path[0] if len(path) > 1 else "")
        if any("" in names or len(names) > 1 for names in first.values()):
            return classes
        classes = {folder: path[1:] for folder, path in classes.items()}


def _position_below(root: Path, parts: dict[str, tuple[str, ...]], literal: bool) -> int | None:
    """The position of the split in every path, if it stands below the classes; None without splits.

    Raises:
        DataError: only some paths have a training and another split at one position.
    """
    paths = [path for path in parts.values() if path]
    for position in range(1, max(map(len, paths), default=0)):
        split_of = {path: split_index(path[position]) if len(path) > position else None for path in paths}
        indices = set(split_of.values()) - {None}
        if 0 not in indices or len(indices) < 2:
            continue
        outside = sorted("/".join(path) for path, split in split_of.items() if split is None)
        if not outside:
            return position
        if not literal:
            inside = sorted("/".join(path) for path, split in split_of.items() if split is not None)
            raise DataError(
                f"{root} has split folders below some classes only: {', '.join(inside[:3])} beside {outside[0]}",
                f"Give every class its split folders, or put them above the classes; {AS_CLASSES}.",
            )
    return None


def unseen_class_findings(layout: FolderLayout, given: np.ndarray, labels: Sequence[str], noun: str) -> list[Finding]:
    """Finding on classes without training samples. given: (N,) split of each sample. noun: of a sample."""
    train = {label for split, label in zip(given.tolist(), labels, strict=True) if split == 0}
    unseen = sorted(set(labels) - train)
    if not layout.splits or not unseen:
        return []
    return [
        Finding(
            kind="empty-class",
            message=f"{len(unseen)} classes have no training {noun}: {', '.join(unseen[:5])}",
            remedy=f"Add training {noun}s of them, or remove them.",
            where=tuple(unseen),
            count=len(unseen),
        )
    ]
