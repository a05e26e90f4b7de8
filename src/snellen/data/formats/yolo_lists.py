"""YOLO without a YAML file: class lists (classes.txt, obj.names), and Darknet's obj.data as CVAT exports it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_text
from snellen.data.file_index import Listing
from snellen.data.formats.file_names import in_system_folder

NAMES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")  # and any other name that ends in .names
_DARKNET = ".data"
_SPLIT_KEYS = ("train", "valid", "val", "validation", "test")
_SAME = "Make the lists equal, or remove all but one."


class ClassList(NamedTuple):
    """A list of class names. folder: where it lies, relative to the root; it holds for the labels below."""

    path: str
    folder: str
    names: tuple[str, ...]


class Darknet(NamedTuple):
    """The content of a Darknet data file. lists: split word -> the text file of its images."""

    path: str
    lists: dict[str, str]


def find_darknet(root: Path) -> str | None:
    """The name of the Darknet data file in the folder, if it is the only one."""
    try:
        files = [file for file in root.iterdir() if file.suffix.lower() == _DARKNET and file.is_file()]
    except OSError:
        return None
    names = [file.name for file in files if set(_entries(file)) & {"train", "classes", "names"}]
    return names[0] if len(names) == 1 else None


def read_darknet(root: Path, name: str, listing: Listing) -> Darknet:
    """Read a Darknet data file; split lists beside it count too, as exporters leave their lines out.

    Raises:
        DataError: it names a list that is not there.
    """
    existing = {file.path for file in listing.files}
    entries = _entries(root / name)
    lists = {}
    for word in _SPLIT_KEYS:
        entry = entries.get(word, f"{word}.txt")
        path = below_root(entry, existing)
        if path is not None:
            lists[word] = path
        elif word in entries:
            raise DataError(
                f"{root / name} has {word} = {short_repr(entry)}, which is not there", "Add the list, or fix its path."
            )
    return Darknet(name, lists)


def below_root(entry: str, existing: set[str]) -> str | None:
    """The file of an entry: Darknet writes paths relative to another folder, so leading folders are dropped."""
    parts = [part for part in PurePosixPath(entry.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    candidates = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((path for path in candidates if path in existing), None)


def _entries(file: Path) -> dict[str, str]:
    try:
        lines = read_text(file).splitlines() if file.stat().st_size < 1 << 16 else []
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def is_class_list(name: str) -> bool:
    return name.lower() in NAMES or name.lower().endswith(".names")


def class_lists(root: Path, listing: Listing) -> list[ClassList]:
    """All class lists, those of outer folders first. Raises DataError for an unreadable one."""
    paths = [
        file.path
        for file in listing.files
        if is_class_list(file.path.rpartition("/")[2]) and not in_system_folder(file.path.rpartition("/")[0] or "x")
    ]
    lists = []
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        try:
            lines = read_text(root / path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{root / path} cannot be read ({first_line(error)})", "Fix the file.") from error
        names = tuple(line.strip() for line in lines)
        while names and not names[-1]:
            names = names[:-1]
        if names:
            lists.append(ClassList(path, path.rpartition("/")[0], names))
    return lists


def list_of(file: str, lists: Sequence[ClassList], root: Path) -> ClassList | None:
    """The class list that holds for a label file: one in its folder or above, or the only one.

    Raises:
        DataError: two lists hold for it and differ, or only lists of other folders exist and differ.
    """
    folder = os.path.dirname(file)
    above = [entry for entry in lists if not entry.folder or f"{folder}/".startswith(f"{entry.folder}/")]
    candidates = above or list(lists)
    if not candidates:
        return None
    longest = max(candidates, key=lambda entry: len(entry.names))
    for entry in candidates:
        if longest.names[: len(entry.names)] != entry.names:
            raise differing_lists(root, longest, entry, "" if above else f", and neither lies with {file}")
    return longest


def differing_lists(root: Path, first: ClassList, second: ClassList, suffix: str = "") -> DataError:
    """The error that two lists give one index different names, with the first of them."""
    pairs = zip(first.names, second.names, strict=False)
    index = next(k for k, (a, b) in enumerate(pairs) if a != b)
    return DataError(
        f"{root}: class {index} is {short_repr(first.names[index])} in {first.path} and "
        f"{short_repr(second.names[index])} in {second.path}{suffix}",
        _SAME,
    )
