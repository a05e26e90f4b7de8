"""Image folders: one folder a class, with or without train, val and test above; classes may be nested.

The class of a picture is the path of its folder below the root or below the folder of its split, joined by "/".
Every file is used, known to be no data (hidden files, `Thumbs.db`, `desktop.ini`, text and sidecars: counted), or
named with reason and remedy.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes
from snellen.core.views import Finding
from snellen.data.check.findings import stray
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import SUFFIXES
from snellen.data.decode.image_files import open_pages
from snellen.data.file_index import File, Listing, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.source import Skipped

SPLIT_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
_NO_DATA_NAMES = frozenset({"thumbs.db", "desktop.ini", "readme", "license", "licence", "checksums", "md5sums"})
_NO_DATA_SUFFIXES = frozenset(
    {".txt", ".md", ".rst", ".xml", ".json", ".yaml", ".yml", ".xmp", ".log", ".pdf", ".html"}
)
_ENDINGS = frozenset(suffix[1:] for suffix in SUFFIXES)
_LOOKED_AT = 20_000  # entries that `recognises` looks at before it gives up


class Sorted(NamedTuple):
    """The files of a folder by what they are."""

    pictures: list[File]
    no_data: int
    aside: list[Skipped]


def recognises(path: Path) -> bool:
    """Whether a picture lies somewhere in the folder, or nothing at all."""
    if not path.is_dir():
        return False
    looked = files = 0
    for _, folders, names in os.walk(path):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(is_picture_name(name) for name in names):
            return True
        looked += len(folders) + len(names)
        files += len(names)
        if looked > _LOOKED_AT:
            break
    return files == 0


def is_picture_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def is_no_data(path: str) -> bool:
    """Hidden files and sidecars that every folder collects."""
    folder, _, name = path.rpartition("/")
    if name.startswith(".") or (folder and _is_hidden(folder)):
        return True
    lower = name.lower()
    stem, suffix = os.path.splitext(lower)
    return stem in _NO_DATA_NAMES or lower in _NO_DATA_NAMES or suffix in _NO_DATA_SUFFIXES


@functools.lru_cache(4096)  # a folder holds many files
def _is_hidden(folder: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in folder.split("/"))


def sort_files(listing: Listing) -> Sorted:
    pictures, no_data, aside = [], 0, list(listing.aside)
    for file in listing.files:
        folder, _, name = file.path.rpartition("/")
        stem, _, ending = name.lower().rpartition(".")
        if ending in _ENDINGS and stem and stem[0] != "." and stem not in _NO_DATA_NAMES and not _is_hidden(folder):
            pictures.append(file)  # as most are: what follows takes longer and says the same
        elif is_no_data(file.path):
            no_data += 1
        elif is_picture_name(name):
            pictures.append(file)
        else:
            aside.append(Skipped(file.path, "is of no kind that is read as a picture", "Convert it, or move it away."))
    return Sorted(pictures, no_data, aside)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Pictures with the class of their folder.

    Raises:
        DataError: when there is no picture, no class folder, one class only, or a split beside classes.
    """
    listing = walk(path)
    found = sort_files(listing)
    if not found.pictures:
        raise DataError(
            f"{path} holds no picture ({len(listing.files)} files found)",
            f"Pictures end in {', '.join(sorted(SUFFIXES))}: one folder for each class.",
        )
    splits = _split_folders(path, found.pictures)
    homes = [file.path.rpartition("/")[0] for file in found.pictures]
    place_of = {folder: _place(folder, splits) for folder in set(homes)}
    placed = [place_of[folder] for folder in homes]
    files = [file for file, place in zip(found.pictures, placed, strict=True) if place[1]]
    places = [place for place in placed if place[1]]  # split and class of each of them
    homeless = [file.path for file, place in zip(found.pictures, placed, strict=True) if not place[1]]
    if not files:
        raise DataError(
            f"{path} has {len(homeless)} pictures in no class folder ({homeless[0]} ...)",
            "Put them into one folder for each class, or give a table of file names and classes.",
        )
    names = sorted({label for _, label in set(places)})
    if len(names) < 2:
        raise DataError(
            f"{path} has one class only ({names[0]}): there is nothing to tell apart",
            "Add a folder for a second class.",
        )
    unused = [entry for entry in found.aside if not _hides_pictures(entry)]
    findings = [*_empty(listing, splits, files, set(places)), *stray(unused), *_unreadable(found.aside)]
    findings += [homeless_finding(homeless)] if homeless else []
    place = {name: k for k, name in enumerate(names)}
    source, which = open_pages(path, files, options.pages)
    given = np.array([split for split, _ in places], np.int64)[which]
    groups = group_ids([file.path for file in source.files], options.group) if options.group else source.stacks()
    return RawDataset(
        source=source,
        inputs={"image": source.input()},
        target=Classes(names=tuple(names)),
        truth=torch.tensor([place[label] for _, label in places])[torch.from_numpy(which)],
        given=given if splits else None,
        groups=groups,
        recognised_as=_taken_for(_counted(len(files), len(source)), len(names), splits),
        findings=tuple(findings),
        files={
            "found": len(listing.files) + len(listing.aside),
            "used": len(files),
            "set aside": len(found.aside) + len(homeless),
            "no data": found.no_data,
        },
        aside=(*found.aside, *(Skipped(p, _HOMELESS, _HOME) for p in homeless)),
    )


_EXAMPLE = "Write for example '{slide}_*'."
_HOMELESS, _HOME = "lies in no class folder", "Move it into the folder of its class, or out of the data."


def homeless_finding(paths: list[str]) -> Finding:
    return Finding(
        kind="no-class",
        message=f"{len(paths)} of the pictures lie in no class folder",
        remedy=_HOME,
        severity="error",
        where=tuple(paths),
        count=len(paths),
    )


def _split_folders(root: Path, pictures: list[File]) -> dict[str, int]:
    """Top folder -> place in SPLITS, where the top folders are splits; else nothing."""
    tops = {file.path.partition("/")[0] for file in pictures if "/" in file.path}
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    if not splits:
        return {}
    beside = sorted(tops - set(splits))
    if beside:
        raise DataError(
            f"{root} has {', '.join(sorted(splits))} beside {', '.join(beside[:3])}",
            "Keep only folders of splits, or only folders of classes, at the top.",
        )
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{root} has several folders of one split: {', '.join(sorted(splits))}", "Keep one of them.")
    if 0 not in splits.values():
        raise DataError(f"{root} has {', '.join(sorted(splits))} but no train folder", "Add one to learn from.")
    return splits


def _place(folder: str, splits: dict[str, int]) -> tuple[int, str]:
    """The split (0 where there are none) and the class of a folder; the class is "" where it is the root or a split."""
    folders = folder.split("/") if folder else []
    if splits:
        split = splits[folders[0]] if folders else 0
        folders = folders[1:]
    else:
        split = 0
    return split, unicodedata.normalize("NFC", "/".join(folders))


def _empty(listing: Listing, splits: dict[str, int], files: list[File], places: set[tuple[int, str]]) -> list[Finding]:
    """Class folders without a picture, and classes that the training part has none of."""
    holding = {file.path.rpartition("/")[0] for file in files}
    parents = {folder.rpartition("/")[0] for folder in listing.folders if folder}
    empty = [f for f in listing.folders if f and f not in parents and f not in holding and not is_no_data(f + "/x")]
    findings = []
    if empty:
        findings.append(
            Finding(
                kind="empty-class",
                message=f"{len(empty)} folders hold no picture and make no class",
                remedy="Add pictures or remove the folders.",
                where=tuple(empty),
                count=len(empty),
            )
        )
    if splits:
        unseen = sorted({label for _, label in places} - {label for split, label in places if split == 0})
        if unseen:
            findings.append(
                Finding(
                    kind="empty-class",
                    message=f"{len(unseen)} classes have nothing to learn from: {', '.join(unseen[:5])}",
                    remedy="Add training pictures of them, or remove them.",
                    where=tuple(unseen),
                    count=len(unseen),
                )
            )
    return findings


def _unreadable(aside: list[Skipped]) -> list[Finding]:
    lost = [entry for entry in aside if _hides_pictures(entry)]
    if not lost:
        return []
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in lost[:5])
    return [
        Finding(
            kind="unreadable",
            severity="error",
            count=len(lost),
            where=tuple(entry.path for entry in lost),
            message=f"{len(lost)} pictures or folders cannot be read: {first}",
            remedy=lost[0].remedy,
        )
    ]


def _hides_pictures(entry: Skipped) -> bool:
    return "is a folder that cannot" in entry.reason or (
        "link to a folder" not in entry.reason and is_picture_name(entry.path.rpartition("/")[2])
    )


def group_ids(paths: list[str], pattern: str) -> np.ndarray:
    """(N,) int64: pictures whose names agree in every `{field}` of the pattern are one group.

    In "{slide}_*" a field takes as little as it can, "*" anything, "?" one character. The pattern is held against
    the file's name, or against its whole path where the pattern has a "/".
    Raises:
        UsageError: for a pattern without a field. DataError: for names that do not fit.
    """
    if not re.search(r"\{\w+\}", pattern):
        raise UsageError(f"--group {pattern!r} names no field", _EXAMPLE)
    wildcards = {"*": ".*", "?": "."}
    parts = re.split(r"(\{\w+\}|\*|\?)", pattern)
    seen: set[str] = set()
    regex = ""
    for part in parts:
        if re.fullmatch(r"\{\w+\}", part):
            field = part[1:-1]
            regex += f"(?P={field})" if field in seen else f"(?P<{field}>.+?)"
            seen.add(field)
        else:
            regex += wildcards.get(part, re.escape(part))
    try:
        compiled = re.compile(regex, re.DOTALL)
    except re.error as error:
        raise UsageError(f"--group {pattern!r} cannot be understood: {error}", _EXAMPLE) from error
    fits = [compiled.fullmatch(p if "/" in pattern else p.rpartition("/")[2]) for p in paths]
    strangers = [path for path, fit in zip(paths, fits, strict=True) if fit is None]
    if strangers:
        first = ", ".join(name or "(an empty name)" for name in strangers[:3])
        raise DataError(
            f"{len(strangers)} of {len(paths)} names do not fit --group {pattern!r}: {first}",
            "Mend the pattern or the names.",
        )
    ids: dict[tuple[str, ...], int] = {}
    return np.array([ids.setdefault(fit.groups(), len(ids)) for fit in fits if fit is not None], np.int64)


def _counted(files: int, pages: int) -> str:
    return f"{files:,} pictures" if pages == files else f"{pages:,} pages of {files:,} pictures"


def _taken_for(counted: str, classes: int, splits: dict[str, int]) -> str:
    given = f" in the given splits {', '.join(sorted(splits, key=lambda s: splits[s]))}" if splits else ""
    return f"an image folder: {counted} in {classes} classes{given}, one folder a class"


FORMAT = Format("folder", recognises, open_raw)
