"""Folders of sequences: one text or NPY file for each, one folder for each class, with or without splits.

A text file (CSV, TSV, TXT, DAT) has one row of numbers for each step, with or without a header; a column of times is
no feature: its steps must be equal. An NPY file holds (T, D) or (T,). The files may have any number of steps, and must
have equal columns. The class is the path of the folder below the root, without the split folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Column, Input
from snellen.data.check.findings import unused_files_findings
from snellen.data.check.number_range import LARGEST
from snellen.data.dataset import RawDataset
from snellen.data.decode.audio import SUFFIXES as AUDIO
from snellen.data.decode.audio import UNREAD_SUFFIXES as UNREAD_AUDIO
from snellen.data.file_index import File, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.annotation_files import is_annotation_text
from snellen.data.formats.array_layout import plural
from snellen.data.formats.class_folder_checks import doubtful_class_findings
from snellen.data.formats.file_names import is_image_name, is_sidecar
from snellen.data.formats.folder_layout import folder_layout, unseen_class_findings
from snellen.data.formats.groups import group_ids
from snellen.data.formats.json_sequences import padded
from snellen.data.formats.recording_arrays import NPY, read_npy
from snellen.data.formats.series_text import SUFFIXES as TEXT
from snellen.data.formats.series_text import SeriesText, check_equal_columns, read_series, sniff_numbers
from snellen.data.source import ArraySource, Skipped

SUFFIXES = (*TEXT, *NPY)
MAX_SKIPPED = 0.01  # fraction of the files that quarantine leaves out without --allow-skipped
SHOWN = 5  # files that an error names
_SNIFFED = 6  # files whose start is read to recognise a folder
_OTHER = frozenset(AUDIO) | frozenset(UNREAD_AUDIO)


def recognises(path: Path) -> bool:
    """Whether text and NPY files of numbers, and no images or recordings of sound, lie in several class folders."""
    if not path.is_dir():
        return False
    files = [file.path for file in walk(path).files]
    if any(is_image_name(_name(file)) or Path(file).suffix.lower() in _OTHER for file in files):
        return False
    used = [file for file in files if _is_sequence_name(file)]
    if not used or any("/" not in file for file in used):
        return False
    try:
        layout = folder_layout(path, {_folder(file) for file in used}, False)
    except DataError:
        return False
    classes = {layout.places[_folder(file)][1] for file in used}
    if "" in classes or not 2 <= len(classes) < len(used):
        return False
    chosen = [path / file for file in used[:: max(1, len(used) // _SNIFFED)]]
    return 2 * sum(map(_holds_numbers, chosen)) > len(chosen)  # a damaged one is reported later


def _holds_numbers(path: Path) -> bool:
    return path.suffix.lower() in NPY or (sniff_numbers(path) and not is_annotation_text(path))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _is_sequence_name(path: str) -> bool:
    """Whether a file has the suffix of a sequence, and does not describe the data (a README, a hidden file)."""
    return Path(path).suffix.lower() in SUFFIXES and not is_sidecar(str(Path(path).with_suffix(".csv")))


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Sequences with the class of their folder, padded with NaN after the end of each.

    Raises:
        DataError: no sequences, no class folders, unreadable files, or files with other columns than the first.
        UsageError: a target: the folders are the classes.
    """
    if options.target:
        raise UsageError(
            f"--target {','.join(options.target)} does not apply to {path}: the folders of its sequences are the "
            "classes",
            "Omit it. To forecast the next steps, give --task forecast; other targets are columns of one table with "
            "--sequence-id.",
        )
    if not path.is_dir():
        raise DataError(f"{path} is no folder", "Give a folder that holds one folder of sequences for each class.")
    listing = walk(path)
    files = [file for file in listing.files if _is_sequence_name(file.path)]
    others = [file for file in listing.files if not _is_sequence_name(file.path)]
    if not files:
        raise DataError(f"{path} holds no sequences", f"Give one file for each: {', '.join(SUFFIXES)}.")
    layout = folder_layout(path, {_folder(file.path) for file in files}, options.format is not None)
    outside = [file.path for file in files if not layout.places[_folder(file.path)][1]]
    if outside:
        raise DataError(
            f"{path}: {len(outside):,} of {len(files):,} sequences lie in no class folder, as {outside[0]}",
            "Move each into the folder of its class, or out of the data.",
        )
    read, skipped = _read_all(path, files, options)
    places = [layout.places[_folder(one.file.path)] for one in read]
    names = sorted({label for _, label in places})
    if len(names) < 2:
        raise DataError(
            f"{path} has one class only: {names[0]} ({len(read):,} sequences)",
            "Add a folder for each class. To forecast the next steps, give --task forecast.",
        )
    given = np.array([split for split, _ in places], np.int64)
    paths = [one.file.path for one in read]
    lengths = [len(one.series.values) for one in read]
    first = read[0].series
    step = "" if first.duration is None else f"{first.duration:g} {first.unit}".rstrip()
    times = f", a step of {step} (column {first.time!r})" if step else ""
    steps = f"{lengths[0]:,}" if len(set(lengths)) == 1 else f"{min(lengths):,} to {max(lengths):,}"
    splits = f" in the given splits {', '.join(layout.splits)}" if layout.splits else ""
    unused = [Skipped(file.path, "has an unsupported file type", "Move it away.") for file in others]
    unused = [entry for entry in unused if not is_sidecar(entry.path)]
    values = padded(path, [one.series.values for one in read])
    return RawDataset(
        source=ArraySource(values, paths),
        inputs={
            "sequence": Input(
                modality="sequence",
                shape=(lengths[0] if len(set(lengths)) == 1 else None, len(first.names)),
                dtype=str(values.dtype).removeprefix("torch."),
                columns=tuple(Column(name=name) for name in first.names) if first.has_header else (),
                rate=None if first.duration is None else 1 / first.duration,
            )
        },
        target=Classes(names=tuple(names)),
        truth=torch.tensor([names.index(label) for _, label in places]),
        given_splits=given if layout.splits else None,
        groups=group_ids(paths, options.group) if options.group else None,
        identity=("sequences", "person"),
        recognised_as=f"a folder of sequences: {len(read):,} files of {plural(steps, 'step')} and "
        f"{plural(len(first.names), 'feature')}{times}; {len(names)} classes{splits}: one folder for each class "
        f"(to forecast their next steps: --task forecast){layout.note}",
        findings=(
            *unused_files_findings([*listing.skipped, *unused, *skipped]),
            *unseen_class_findings(layout, given, [label for _, label in places], "sequence"),
            *doubtful_class_findings(path, names, sorted({label for _, label in places}), len(read), "sequences"),
        ),
        files={
            "found": len(listing.files) + len(listing.skipped),
            "used": len(read),
            "set aside": len(skipped) + len(unused) + len(listing.skipped),
            "no data": len(others) - len(unused),
        },
        skipped=(*listing.skipped, *unused, *skipped),
    )


class _Read(NamedTuple):
    file: File
    series: SeriesText


def _read_all(root: Path, files: Sequence[File], options: OpenOptions) -> tuple[list[_Read], list[Skipped]]:
    """All sequences, and the files that quarantine leaves out. The columns and the step are those of most files."""
    read: list[_Read] = []
    bad: list[Skipped] = []
    for file in files:
        where = root / file.path
        try:
            series = _read_npy(where) if where.suffix.lower() in NPY else read_series(where)
            large = np.argwhere(np.abs(series.values) > LARGEST)
            if len(large):
                raise DataError(
                    f"{where} holds {series.values[tuple(large[0])]:g} at step {large[0, 0] + 1}: squares of such "
                    "numbers exceed the range of float64",
                    "Correct it, or give the column in another unit.",
                )
        except DataError as error:
            bad.append(_skipped(where, file, error, root))
            continue
        read.append(_Read(file, series))
    if read:
        kinds = [(len(one.series.names), one.series.time, f"{one.series.duration or 0:.2g}") for one in read]
        first = read[kinds.index(max(set(kinds), key=kinds.count))]
        fitting = []
        for one in read:
            try:
                check_equal_columns(root / one.file.path, one.series, root / first.file.path, first.series)
                fitting.append(one)
            except DataError as error:
                bad.append(_skipped(root / one.file.path, one.file, error, root))
        read = fitting
    if bad and (not options.quarantine or not read):
        shown = "; ".join(f"{entry.path} {entry.reason}" for entry in bad[:SHOWN])
        more = f" (and {len(bad) - SHOWN:,} more)" if len(bad) > SHOWN else ""
        remedy = bad[0].remedy if not read else f"{bad[0].remedy} Or skip such files with --quarantine."
        raise DataError(f"{root}: {len(bad):,} of {len(files):,} sequences cannot be used: {shown}{more}", remedy)
    if len(bad) > MAX_SKIPPED * len(files) and not options.allow_skipped:
        raise DataError(
            f"{root}: quarantine would skip {len(bad):,} of {len(files):,} sequences ({bad[0].path} {bad[0].reason})",
            "Repair them, or allow this with --allow-skipped.",
        )
    return read, bad


def _skipped(where: Path, file: File, error: DataError, root: Path) -> Skipped:
    """The file and its problem, with names relative to the root."""
    reason = error.cause.removeprefix(str(where)).replace(f"{root}/", "")
    return Skipped(file.path, reason.strip(" :,"), error.remedy)


def _read_npy(path: Path) -> SeriesText:
    values = read_npy(path)
    if values.ndim not in (1, 2) or 0 in values.shape or values.dtype.kind not in "biuf":
        raise DataError(
            f"{path} has the shape {values.shape} of {values.dtype}", "Save one sequence as (T, D) or (T,) numbers."
        )
    values = values.reshape(len(values), -1).astype(np.float64)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{path} holds NaN or infinity at step {bad[0, 0] + 1}",
            "Fill missing steps by interpolation, or cut the sequence there.",
        )
    names = tuple(f"column {k + 1}" for k in range(values.shape[1]))
    return SeriesText(names=names, values=values, has_header=False)


FORMAT = Format("sequences", recognises, open_raw, any_depth=True)
