"""Tables whose rows name pictures: the files are the input, and the other columns only the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.check.findings import stray
from snellen.data.formats import OpenOptions
from snellen.data.formats.table_columns import Problems
from snellen.data.formats.table_text import Grid, is_picture
from snellen.data.source import Skipped, Source

_NOT_NAMED = "is not named in the table"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs found in a table, what they are taken for, and what was left out.

    Args:
        name: of the input in the spec.
        groups: (N,) int64 where a pattern of file names makes them, or the pages of one file.
        rows: (N,) int64, which row of the table each sample is of, where a row may be several.
    """

    source: Source
    input: Input
    name: str
    said: str
    findings: tuple[Finding, ...] = ()
    files: tuple[tuple[str, int], ...] = (("found", 1), ("used", 1))
    aside: tuple[Skipped, ...] = ()
    groups: np.ndarray | None = None
    rows: np.ndarray | None = None


def picture_column(grid: Grid, names: Sequence[str]) -> str | None:
    """The first column most of whose cells end like pictures."""
    for name in names:
        cells = grid.column(name)[:200]
        if 2 * sum(map(is_picture, cells)) > len(cells):
            return name
    return None


def picture_inputs(
    path: Path, file: Path, grid: Grid, column: str, names: Sequence[str], options: OpenOptions
) -> Inputs:
    """The pictures that `column` names, relative to the folder of the table.

    Args:
        path: what the user gave: the table, or its folder, whose other files are then accounted for.
        file: the table.
        names: the columns that are neither target, split nor group.
    Raises:
        DataError: names that lead out of the folder, or, unless quarantined, to nothing.
    """
    from snellen.data.decode.image_files import named_files, open_pages
    from snellen.data.formats.image_folder import group_ids

    root, cells = file.parent, [cell.replace("\\", "/") for cell in grid.column(column)]
    problems = Problems(grid)
    outside = [k for k, cell in enumerate(cells) if _leads_out(PurePosixPath(cell))]
    if outside:
        problems.cells(column, outside, "{} lies outside the folder of the table", "Put the pictures beside it.")
    there: dict[str, bool] = {}
    absent = [k for k, cell in enumerate(cells) if not there.setdefault(cell, is_file(root / cell))]
    if absent and not outside and not options.quarantine:
        problems.cells(
            column, absent, "{} is not there", f"Names are looked for from {root}; leave them out with --quarantine."
        )
    problems.finish()
    source, rows = open_pages(root, named_files(root, cells), options.pages)
    pattern = options.group if options.group is not None and "{" in options.group else None
    groups = source.stacks() if pattern is None else group_ids([file.path for file in source.files], pattern)
    aside, no_data = _beside(root, file, set(there)) if path.is_dir() else ((), 0)
    used = 1 + len(there)
    pages = f", {len(source):,} pages" if source.page is not None else ""
    return Inputs(
        source=source,
        input=source.input(),
        name="image",
        said=f"pictures named in column {column!r}{pages}",
        aside=aside,
        findings=(*_ignored([name for name in names if name != column]), *stray(aside)),
        files=(("found", used + len(aside) + no_data), ("used", used), ("set aside", len(aside)), ("no data", no_data)),
        groups=groups,
        rows=rows,
    )


def _leads_out(name: PurePosixPath) -> bool:
    return name.is_absolute() or ".." in name.parts


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a zero byte
        return False


def _beside(root: Path, file: Path, named: set[str]) -> tuple[tuple[Skipped, ...], int]:
    """The files of the folder that the table does not name, and how many others are known to be no data."""
    from snellen.data.file_index import walk
    from snellen.data.formats.image_folder import sort_files

    found = sort_files(walk(root))
    unnamed = [
        Skipped(picture.path, _NOT_NAMED, "Add its row, or move it away.")
        for picture in found.pictures
        if picture.path not in named
    ]
    others = [entry for entry in found.aside if entry.path != file.name and entry.path not in named]
    return (*unnamed, *others), found.no_data


def _ignored(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [
        Finding(
            kind="ignored-column",
            severity="note",
            where=tuple(names),
            count=len(names),
            message=f"The pictures are the input; not used: {shown}.",
            remedy="Take the file names out of the table to learn from the other columns.",
        )
    ]
