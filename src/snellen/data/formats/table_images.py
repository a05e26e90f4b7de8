"""Tables of names of images or recordings: these files are the inputs, the other columns the target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.file_index import LinkCheck
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_lists import endings_of, is_outside, prefixes
from snellen.data.formats.table_columns import TableProblems, parse_cells
from snellen.data.formats.table_text import TableText, is_recording_name, is_sample_name, read_table
from snellen.data.source import Skipped, Source

_BOX_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bboxx", "bboxy", "bboxw", "bboxh"),
    ("xcenter", "ycenter", "width", "height"),
)
_OBJECT_COLUMNS = frozenset({"bbox", "box", "boundingbox", "encodedpixels", "segmentation", "polygon", "rle"})
_TRIED = 200  # cells that are looked at
_NOT_LISTED = "is not listed in the table"


@dataclass(frozen=True, kw_only=True)
class TableInputs:
    """The inputs of a table, their description, and the skipped files.

    Args:
        inputs: those of the spec, by name.
        groups: (N,) int64 group ids, from a pattern of file names or the pages of one file.
        group_names: (N,) their names, from a pattern of file names; else ().
        rows: (N,) int64, the table row of each sample, if a row may have several samples.
    """

    source: Source
    inputs: Mapping[str, Input]
    description: str
    findings: tuple[Finding, ...] = ()
    files: tuple[tuple[str, int], ...] = (("found", 1), ("used", 1))
    skipped: tuple[Skipped, ...] = ()
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    rows: np.ndarray | None = None


class ImageColumn(NamedTuple):
    """A column of image names. prefix: the folder of the images with "/"; ending: what the cells lack, as ".jpg"."""

    name: str
    prefix: str = ""
    ending: str = ""

    def path(self, cell: str) -> str:
        """The path of a cell's image, relative to the folder of the table."""
        return f"{self.prefix}{cell}{self.ending}" if cell else cell


def image_column(root: Path, table: TableText, names: Sequence[str]) -> ImageColumn | None:
    """The first column in which most cells are names of images: with an ending, or of images that are there without it.

    Args:
        root: the folder of the table; the images may lie in one of its subfolders.
    Raises:
        DataError: images of these names lie in several subfolders.
    """
    named = next((name for name in names if _are_sample_names(table.column(name)[:_TRIED])), None)
    is_inside = LinkCheck(root)
    for name in names if named is None else [named]:
        cells = [cell.replace("\\", "/") for cell in table.column(name)[:_TRIED]]
        tried = [cell for cell in cells if cell and not is_outside(PurePosixPath(cell))]
        if named is None and 2 * len(set(tried)) <= len(cells):  # names of images seldom repeat
            continue
        endings = [""] if named is not None else endings_of(root)
        places = [
            (prefix, ending)
            for prefix in (prefixes(root) if endings else [])
            for ending in endings
            if 2 * sum(is_inside.is_file(f"{prefix}{cell}{ending}") for cell in tried) > len(tried)
        ]
        if ("", "") in places or (named is not None and not places):
            return ImageColumn(name)
        if len(places) > 1:
            raise DataError(
                f"{table.where}: images of column {name!r} lie in {' and in '.join(f'{p}*{e}' for p, e in places[:3])}",
                "Write their paths relative to the table.",
            )
        if places:
            return ImageColumn(name, *places[0])
    return None


def listed_images(file: Path, problems: dict[str, str]) -> list[Path]:
    """The images that a table lists, each once; those outside its folder or missing are recorded in `problems`.

    Raises:
        DataError: no column names images.
    """
    table, is_inside = read_table(file), LinkCheck(file.parent)
    column = image_column(file.parent, table, table.names)
    if column is None:
        raise DataError(f"{file} lists no images, which the model reads", "Give images, or a table of their names.")
    names = dict.fromkeys(column.path(cell.replace("\\", "/")) for cell in table.column(column.name))
    missing = {name for name in names if is_outside(PurePosixPath(name)) or not is_inside.is_file(name)}
    problems.update({f"{file}, {name!r}": "does not exist, or leads out of the folder" for name in missing})
    return [file.parent / name for name in names if name not in missing]


def _are_sample_names(cells: Sequence[str]) -> bool:
    return 2 * sum(map(is_sample_name, cells)) > len(cells)


def check_no_boxes(table: TableText, image_column: str) -> None:
    """Raise DataError if the rows are boxes or masks of objects: their class is not the class of the image."""
    names = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in table.names}
    columns = next(([names[word] for word in words] for words in _BOX_COLUMNS if set(words) <= set(names)), [])
    columns = columns or [name for word, name in names.items() if word in _OBJECT_COLUMNS][:1]
    if not columns and not table.header and table.names[0] == image_column and len(table.names) == 6:
        corners = [parse_cells(column).values for column in table.columns[1:5]]  # as RetinaNet's CSV files
        x1, y1, x2, y2 = ([np.nan] if values is None else values for values in corners)
        columns = list(table.names[1:5]) if bool(np.all(x2 > x1) and np.all(y2 > y1)) else []
    if columns:
        raise DataError(
            f"{table.where} lists objects, not images: columns {', '.join(map(repr, columns))}",
            "A table of boxes or masks is not read: convert it to COCO, Pascal VOC or YOLO. To learn one value of each "
            "row anyway, name its column with --target.",
        )


def image_inputs(
    path: Path, files: Sequence[Path], table: TableText, column: ImageColumn, names: Sequence[str], options: OpenOptions
) -> TableInputs:
    """The images or recordings listed in `column`, relative to the folder of the table, or of those of several splits.

    Args:
        path: the path given by the user: the table, or its folder, whose other files are then reported.
        files: of the table.
        names: the columns that are neither target, split nor group.
    Raises:
        DataError: names outside the folder, or, without --quarantine, missing files.
    """
    from snellen.data.decode.audio_files import AudioFiles, open_audio
    from snellen.data.decode.image_files import ImageFiles, open_pages, stat_files
    from snellen.data.formats.groups import group_ids, group_names, image_group_names, image_groups, is_image_group

    root, name = path if path.is_dir() else path.parent, column.name
    cells = [column.path(cell.replace("\\", "/")) for cell in table.column(name)]
    problems = TableProblems(table)
    outside = [k for k, cell in enumerate(cells) if is_outside(PurePosixPath(cell))]
    if outside:
        problems.cells(name, outside, "{} lies outside the folder of the table", "Put the images into it.")
    exists, is_inside = dict[str, bool](), LinkCheck(root)
    missing = [k for k, cell in enumerate(cells) if not exists.setdefault(cell, is_inside.is_file(cell))]
    if missing and not outside and not options.quarantine:
        problems.cells(
            name,
            missing,
            "{} does not exist, or is a link that leads out of the folder",
            f"Write names relative to {root}; skip missing files with --quarantine.",
        )
    problems.finish()
    by_file = options.group if is_image_group(options.group, table.names) else None
    source: ImageFiles | AudioFiles
    if 2 * sum(map(is_recording_name, cells)) > len(cells):
        source, rows = open_audio(root, stat_files(root, cells), options.sample_rate), np.arange(len(cells))
        groups = group_ids(cells, by_file) if by_file is not None else None
        names_of_groups = group_names(cells, by_file) if by_file is not None else ()
        kind, pages = "audio", f", {source.description()}"
    else:
        if options.sample_rate is not None:
            raise UsageError("--sample-rate applies to recordings; the files are images", "Omit --sample-rate.")
        source, rows = open_pages(root, stat_files(root, cells), options.pages)
        groups = image_groups(source, by_file) if by_file is not None else source.stack_ids()
        names_of_groups = image_group_names(source, by_file)
        kind, pages = "image", f", {len(source):,} pages" if source.page is not None else ""
    tables = {file.relative_to(root).as_posix() for file in files}
    skipped, no_data = _unlisted_files(root, tables, set(exists)) if path.is_dir() else ((), 0)
    used = len(files) + len(exists)
    place = f", as {column.prefix}NAME{column.ending}" if column.prefix or column.ending else ""
    return TableInputs(
        source=source,
        inputs={kind: source.input()},
        description=f"{source.noun} listed in column {name!r}{place}{pages}",
        skipped=skipped,
        findings=(*_ignored([other for other in names if other != name]), *unused_files_findings(skipped)),
        files=(
            ("found", used + len(skipped) + no_data),
            ("used", used),
            ("set aside", len(skipped)),
            ("no data", no_data),
        ),
        groups=groups,
        group_names=names_of_groups,
        rows=rows,
    )


def _unlisted_files(root: Path, tables: set[str], listed: set[str]) -> tuple[tuple[Skipped, ...], int]:
    """The files of the folder that are not in the table, and the number of files that are not data."""
    from snellen.data.file_index import walk
    from snellen.data.formats.image_folder import sort_files

    sorted_files = sort_files(walk(root))
    unlisted = [
        Skipped(image.path, _NOT_LISTED, "Add its row, or move it away.")
        for image in sorted_files.images
        if image.path not in listed
    ]
    others = [entry for entry in sorted_files.skipped if entry.path not in tables and entry.path not in listed]
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
            message=f"The files are the input; columns not used: {shown}.",
            remedy="Remove the column of file names to train on the other columns.",
        )
    ]
