"""Tables of image names: the image files are the inputs, the other columns the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.file_index import LinkCheck
from snellen.data.formats import OpenOptions
from snellen.data.formats.table_columns import TableProblems
from snellen.data.formats.table_text import TableText, is_image_name
from snellen.data.source import Skipped, Source

_NOT_LISTED = "is not listed in the table"


@dataclass(frozen=True, kw_only=True)
class TableInputs:
    """The inputs of a table, their description, and the skipped files.

    Args:
        name: of the input in the spec.
        groups: (N,) int64 group ids, from a pattern of file names or the pages of one file.
        rows: (N,) int64, the table row of each sample, if a row may have several samples.
    """

    source: Source
    input: Input
    name: str
    description: str
    findings: tuple[Finding, ...] = ()
    files: tuple[tuple[str, int], ...] = (("found", 1), ("used", 1))
    skipped: tuple[Skipped, ...] = ()
    groups: np.ndarray | None = None
    rows: np.ndarray | None = None


def image_column(table: TableText, names: Sequence[str]) -> str | None:
    """The first column in which most cells have an image file suffix."""
    for name in names:
        cells = table.column(name)[:200]
        if 2 * sum(map(is_image_name, cells)) > len(cells):
            return name
    return None


def image_inputs(
    path: Path, file: Path, table: TableText, column: str, names: Sequence[str], options: OpenOptions
) -> TableInputs:
    """The images listed in `column`, relative to the folder of the table.

    Args:
        path: the path given by the user: the table, or its folder, whose other files are then reported.
        file: the table.
        names: the columns that are neither target, split nor group.
    Raises:
        DataError: names outside the folder, or, without --quarantine, missing files.
    """
    from snellen.data.decode.image_files import open_pages, stat_files
    from snellen.data.formats.image_folder import group_ids

    root, cells = file.parent, [cell.replace("\\", "/") for cell in table.column(column)]
    problems = TableProblems(table)
    outside = [k for k, cell in enumerate(cells) if _is_outside(PurePosixPath(cell))]
    if outside:
        problems.cells(column, outside, "{} lies outside the folder of the table", "Put the images into it.")
    exists, is_inside = dict[str, bool](), LinkCheck(root)
    missing = [k for k, cell in enumerate(cells) if not exists.setdefault(cell, is_inside.is_file(cell))]
    if missing and not outside and not options.quarantine:
        problems.cells(
            column,
            missing,
            "{} does not exist, or is a link that leads out of the folder",
            f"Write names relative to {root}; skip missing files with --quarantine.",
        )
    problems.finish()
    source, rows = open_pages(root, stat_files(root, cells), options.pages)
    pattern = options.group if options.group is not None and "{" in options.group else None
    groups = source.stack_ids() if pattern is None else group_ids([file.path for file in source.files], pattern)
    skipped, no_data = _unlisted_files(root, file, set(exists)) if path.is_dir() else ((), 0)
    used = 1 + len(exists)
    pages = f", {len(source):,} pages" if source.page is not None else ""
    return TableInputs(
        source=source,
        input=source.input(),
        name="image",
        description=f"images listed in column {column!r}{pages}",
        skipped=skipped,
        findings=(*_ignored([name for name in names if name != column]), *unused_files_findings(skipped)),
        files=(
            ("found", used + len(skipped) + no_data),
            ("used", used),
            ("set aside", len(skipped)),
            ("no data", no_data),
        ),
        groups=groups,
        rows=rows,
    )


def _is_outside(name: PurePosixPath) -> bool:
    return name.is_absolute() or ".." in name.parts


def _unlisted_files(root: Path, file: Path, listed: set[str]) -> tuple[tuple[Skipped, ...], int]:
    """The files of the folder that are not in the table, and the number of files that are not data."""
    from snellen.data.file_index import walk
    from snellen.data.formats.image_folder import sort_files

    sorted_files = sort_files(walk(root))
    unlisted = [
        Skipped(image.path, _NOT_LISTED, "Add its row, or move it away.")
        for image in sorted_files.images
        if image.path not in listed
    ]
    others = [entry for entry in sorted_files.skipped if entry.path != file.name and entry.path not in listed]
    return (*unlisted, *others), sorted_files.no_data


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
            message=f"The images are the input; columns not used: {shown}.",
            remedy="Remove the column of file names to train on the other columns.",
        )
    ]
