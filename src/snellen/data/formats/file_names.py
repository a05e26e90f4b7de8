"""File and folder names with a meaning: splits, images, sidecars, folders of the system."""

from __future__ import annotations

import functools
import os
import re

from snellen.data.decode.header import SUFFIXES

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), 0),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), 1),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), 2),
}
# Words of a split folder that say nothing: training_set, test_images, valdata. Plurals and digits are dropped too.
_FILLERS = ("set", "data", "dataset", "image", "images", "imgs", "img", "split", "folder")
_DOCUMENTATION = frozenset({"doc", "docs", "documentation"})
NO_DATA_NAMES = frozenset({"thumbs.db", "desktop.ini", "readme", "license", "licence", "checksums", "md5sums"})
_NO_DATA_SUFFIXES = frozenset(
    {".txt", ".md", ".rst", ".xml", ".json", ".yaml", ".yml", ".xmp", ".log", ".pdf", ".html"}
)
# Folders that operating systems, network drives and tools make beside data; hidden ones begin with a dot.
_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "@eadir",
        "@__thumb",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "network trash folder",
        "temporary items",
        "lost+found",
        "__pycache__",
    }
)


def split_index(name: str) -> int | None:
    """The index in SPLITS of a folder that is named like a split ("train", "test_set", "val2017"); else None."""
    split, rest = split_and_rest(name)
    return split if not rest else None


@functools.lru_cache(4096)
def split_and_rest(name: str) -> tuple[int | None, str]:
    """The split of a name that has exactly one split word, else None, and its other words: ("seg_train": 0, "seg")."""
    splits: list[int] = []
    rest: list[str] = []
    for word in re.findall(r"[^\W\d_]+", name.lower()):
        base = next((word.removesuffix(filler) for filler in _FILLERS if word.endswith(filler)), word)
        if word in SPLIT_NAMES or base in SPLIT_NAMES:
            splits.append(SPLIT_NAMES[word if word in SPLIT_NAMES else base])
        elif word not in _FILLERS:
            rest.append(word)
    return (splits[0] if len(splits) == 1 else None), " ".join(rest)


def is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def is_sidecar(path: str) -> bool:
    """Whether a file is hidden, in a folder of the system, or a sidecar: not data."""
    folder, _, name = path.rpartition("/")
    if name.startswith(".") or (folder and in_system_folder(folder)):
        return True
    lower = name.lower()
    stem, suffix = os.path.splitext(lower)
    return stem in NO_DATA_NAMES or lower in NO_DATA_NAMES or suffix in _NO_DATA_SUFFIXES


@functools.lru_cache(4096)  # one lookup for all files of a folder
def in_system_folder(folder: str) -> bool:
    """Whether any part of a folder's path is hidden or a folder of the system."""
    return any(map(is_system_name, folder.split("/")))


def is_system_name(name: str) -> bool:
    """Whether a folder is hidden, or made by an operating system, a network drive or a tool."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_documentation(folder: str) -> bool:
    """Whether a folder is one of documentation, or in one: docs/images, README_files."""
    return any(part in _DOCUMENTATION or part.startswith("readme") for part in folder.lower().split("/"))
