"""Text files that list images: names in a table or a list, with or without endings, relative to its folder."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from snellen.core.input_files import open_regular
from snellen.data.file_index import LinkCheck
from snellen.data.formats.object_datasets import list_names
from snellen.data.formats.table_text import SUFFIXES, is_sample_name

_MAX_NAMES, _MAX_FOLDERS = 200, 20  # names of a folder and folders that are looked at
_MIN_HITS = 3  # names without endings that make a table one of images


def lists_images_of(file: Path) -> bool:
    """Whether the first lines of a text file name images in its folder or a subfolder."""
    if file.suffix.lower() not in (*SUFFIXES, ".txt"):
        return False
    try:
        with io.TextIOWrapper(open_regular(file), "utf-8-sig", errors="replace") as stream:
            start = "".join(stream.readline(1 << 14) for _ in range(20))
    except OSError:
        return False
    cells = [cell.strip() for cell in re.split(r'[",;\t\n]', start)]
    return lists_images(file.parent, cells) or lists_images(
        file.parent, [c for c in start.split() if is_sample_name(c)]
    )


def lists_images(root: Path, cells: Sequence[str]) -> bool:
    """Whether cells of a table in a folder name images there or in a subfolder, at least three if without endings.

    Only in one subfolder: class folders may hold images of equal names, and a table of numbers beside them.
    """
    inside = [cell for cell in dict.fromkeys(cells) if cell and not is_outside(PurePosixPath(cell.replace("\\", "/")))]
    is_inside = LinkCheck(root)
    named = [cell for cell in inside if is_sample_name(cell)]
    if named:
        return any(is_inside.is_file(f"{prefix}{cell}") for prefix in prefixes(root) for cell in named)
    endings = endings_of(root)
    hits = {
        prefix: sum(any(is_inside.is_file(f"{prefix}{cell}{ending}") for ending in endings) for cell in inside)
        for prefix in prefixes(root)
    }
    return max(hits.values()) >= _MIN_HITS and sum(count > 0 for count in hits.values()) == 1


def prefixes(root: Path) -> list[str]:
    """The folder of the table and its subfolders, as prefixes of file names."""
    folders = sorted(name for name in list_names(root)[:_MAX_NAMES] if (root / name).is_dir())
    return ["", *(f"{name}/" for name in folders[:_MAX_FOLDERS])]


def endings_of(root: Path) -> list[str]:
    """The endings of the images in the folder of the table and its subfolders."""
    names = (name for prefix in prefixes(root) for name in list_names(root / prefix)[:_MAX_NAMES])
    return sorted({name[name.rindex(".") :] for name in names if is_sample_name(name)})


def is_outside(name: PurePosixPath) -> bool:
    return name.is_absolute() or ".." in name.parts
