"""Folders that hold nothing but one folder, as archives are unpacked: `archive/dataset/train` for `train`."""

from __future__ import annotations

import os
from pathlib import Path

from snellen.data.formats.annotation_files import is_label_studio
from snellen.data.formats.file_names import is_image_name, is_sidecar, is_system_name, split_index

_MAX_ENTRIES, _MAX_DEPTH = 64, 8  # entries of a folder; folders above the data


def single_folders(path: Path) -> list[Path]:
    """The path, and below it each folder that is the only content of the one above.

    A split folder and a folder of images keep their meaning: neither is descended into.
    """
    places = [path]
    while len(places) <= _MAX_DEPTH and (below := _only_folder(places[-1])) is not None:
        places.append(below)
    return places


def _only_folder(folder: Path) -> Path | None:
    """The only folder in a folder without data of its own; None if it is a split or holds images or nothing."""
    entries = _entries(folder)
    if entries is None:
        return None
    folders = [entry for entry in entries if _is_folder(entry) and not is_system_name(entry.name)]
    files = [entry for entry in entries if not _is_folder(entry)]
    files = [entry for entry in files if not is_sidecar(entry.name) or _holds_annotations(Path(entry.path))]
    if len(folders) != 1 or files or folders[0].is_symlink() or split_index(folders[0].name) is not None:
        return None
    inner = _entries(Path(folders[0].path), True)
    if not inner or any(is_image_name(entry.name) for entry in inner):
        return None
    return folder / folders[0].name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads back to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _holds_annotations(file: Path) -> bool:
    """Whether a sidecar tells of the images below: Label Studio's export, which is refused with its remedy."""
    return file.suffix.lower() == ".json" and is_label_studio(file)


def _entries(folder: Path, first: bool = False) -> list[os.DirEntry[str]] | None:
    """The entries of a folder; None if it cannot be read, or has too many and not only the first are wanted."""
    entries: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as iterator:
            for entry in iterator:
                if len(entries) == _MAX_ENTRIES:
                    return entries if first else None
                entries.append(entry)
    except OSError:
        return None
    return entries
