"""Folders of recordings (WAV, FLAC, MP3, OGG): one folder for each class, or classes in the file names.

The class of a recording is the path of its folder below the root, without the split folder. Where the files lie in no
class folder, it is the first part of the file name, or the field of a pattern (`--target "*_{word}_*"`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.input_files import read_text
from snellen.core.spec import Classes
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import RawDataset
from snellen.data.decode.audio import CONVERT, READ, SUFFIXES, UNREAD_SUFFIXES
from snellen.data.decode.audio_files import open_audio
from snellen.data.file_index import File, links_outside, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.class_folder_checks import doubtful_class_findings
from snellen.data.formats.file_names import is_image_name, is_sidecar, is_system_name
from snellen.data.formats.folder_layout import FolderLayout, folder_layout, unseen_class_findings
from snellen.data.formats.groups import group_ids, group_names
from snellen.data.formats.name_pattern import NamePattern
from snellen.data.source import Skipped

_MAX_ENTRIES = 20_000  # entries that `recognises` reads at most
_SEPARATORS = ("_", "-", ".", " ")  # between the parts of a file name, the first that all names have
_EXAMPLE = "--target with one field, as '{word}_*' or '*_{word}_*'"


def is_audio_name(name: str) -> bool:
    """Whether a file name ends as those of recordings do, of any encoding."""
    return os.path.splitext(name)[1].lower() in SUFFIXES | UNREAD_SUFFIXES and not name.startswith(".")


def recognises(path: Path) -> bool:
    """Whether the folder holds more recordings than images, at any depth."""
    if not path.is_dir():
        return False
    entries_read = recordings = images = 0
    for _, folders, names in os.walk(path):
        folders.sort()
        folders[:] = [name for name in folders if not is_system_name(name)]
        recordings += sum(map(is_audio_name, names))
        images += sum(map(is_image_name, names))
        entries_read += len(folders) + len(names)
        if entries_read > _MAX_ENTRIES:
            break
    return recordings > images


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Recordings with the class of their folder or of their file name.

    Raises:
        DataError: no recording, no classes, only one class, split folders beside class folders.
        UsageError: a target that is no pattern of file names.
    """
    listing = walk(path)
    recordings, unread, no_data = _sort_files(listing.files)
    skipped = [*listing.skipped, *unread]
    if not recordings:
        other = f"{links_outside(listing)}" or f" ({len(unread):,} other files, as {unread[0].path})" * bool(unread)
        ending = sorted({os.path.splitext(entry.path)[1].lower() for entry in unread} & UNREAD_SUFFIXES)
        if ending:
            raise DataError(
                f"{path} holds {len(unread):,} recordings ({', '.join(ending)}), of which none can be read: {READ}",
                CONVERT,
            )
        raise DataError(
            f"{path} holds no recording{other}: {READ}", "Give a folder of recordings: one folder for each class."
        )
    parents = [file.path.rpartition("/")[0] for file in recordings]
    layout = folder_layout(path, set(parents), options.format is not None)
    places = [layout.places[folder] for folder in parents]
    listed = [] if layout.splits else listed_splits(path, [file.path for file in recordings])
    if listed:
        layout = layout._replace(splits=("testing_list.txt", "validation_list.txt"))
        places = [(split, label) for split, (_, label) in zip(listed, places, strict=True)]
    names_of_files, class_source, outside = _class_names(path, recordings, [label for _, label in places], options)
    if outside:
        skipped += [Skipped(recordings[k].path, "lies outside the class folders", _OUTSIDE) for k in outside]
    used = [k for k in range(len(recordings)) if k not in set(outside)]
    files, labels = [recordings[k] for k in used], [names_of_files[k] for k in used]
    names = sorted(set(labels))
    if len(names) < 2:
        raise DataError(
            f"{path} has one class only: {names[0]} ({len(files):,} recordings)",
            f"Add a folder for each class, or name the classes in the file names by {_EXAMPLE}.",
        )
    source = open_audio(path, files, options.sample_rate)
    index = {name: k for k, name in enumerate(names)}
    given = np.array([places[k][0] for k in used], np.int64)
    folders = [] if options.target else sorted({label for _, label in places if label})
    return RawDataset(
        source=source,
        inputs={"audio": source.input()},
        target=Classes(names=tuple(names)),
        truth=torch.tensor([index[label] for label in labels]),
        given_splits=given if layout.splits else None,
        groups=group_ids([file.path for file in files], options.group) if options.group else None,
        group_names=group_names([file.path for file in files], options.group) if options.group else (),
        identity=("recordings", "speaker"),
        recognised_as=_recognised_as(
            f"{len(files):,} recordings, {source.description()}", len(names), class_source, layout
        ),
        findings=(
            *unused_files_findings([entry for entry in skipped if not _is_lost(entry)]),
            *_lost_findings([entry for entry in skipped if _is_lost(entry)]),
            *unseen_class_findings(layout, given, labels, "recording"),
            *(doubtful_class_findings(path, names, folders, len(files), "recordings") if folders else []),
        ),
        files={
            "found": len(listing.files) + len(listing.skipped),
            "used": len(files),
            "set aside": len(skipped),
            "no data": no_data,
        },
        skipped=tuple(skipped),
    )


_OUTSIDE = "Move each into the folder of its class, or out of the data."


def _sort_files(files: Sequence[File]) -> tuple[list[File], list[Skipped], int]:
    """Recordings, other files that are no sidecars, and the number of sidecars."""
    recordings, unread, no_data = list[File](), list[Skipped](), 0
    for file in files:
        suffix = os.path.splitext(file.path)[1].lower()
        if is_sidecar(file.path):
            no_data += 1
        elif suffix in SUFFIXES:
            recordings.append(file)
        elif suffix in UNREAD_SUFFIXES:
            unread.append(Skipped(file.path, f"is {suffix[1:].upper()}; {READ}", CONVERT))
        else:
            unread.append(Skipped(file.path, "has an unsupported file type", "Convert it, or move it away."))
    return recordings, unread, no_data


def _class_names(
    path: Path, recordings: Sequence[File], folders: Sequence[str], options: OpenOptions
) -> tuple[list[str], str, list[int]]:
    """The class of each recording, where it was read from, and the recordings outside the class folders.

    Args:
        folders: the class folder of each recording, "" outside class folders.
    """
    stems = [os.path.splitext(file.path.rpartition("/")[2])[0] for file in recordings]
    if options.target:
        labels = _by_pattern(path, recordings, stems, options.target)
        return labels, f"the class is the field of --target {options.target[0]!r} in the file name", []
    if any(folders):
        return list(folders), "one folder for each class", [k for k, label in enumerate(folders) if not label]
    return *_by_first_part(path, recordings, stems), []


def _by_pattern(path: Path, recordings: Sequence[File], stems: Sequence[str], target: tuple[str, ...]) -> list[str]:
    pattern = target[0]
    try:
        compiled = NamePattern(pattern)
    except re.error as error:
        raise UsageError(f"--target {pattern!r} is not a valid pattern: {error}", f"Give {_EXAMPLE}.") from error
    if len(target) != 1 or len(compiled.fields) != 1:
        raise UsageError(
            f"--target {' '.join(target)!r} is no pattern of file names with one field, which {path} needs",
            f"Give {_EXAMPLE}.",
        )
    names = [file.path if "/" in pattern else file.path.rpartition("/")[2] for file in recordings]
    matches = [compiled.match(name) or compiled.match(stem) for name, stem in zip(names, stems, strict=True)]
    unmatched = [name for name, match in zip(names, matches, strict=True) if match is None]
    if unmatched:
        raise DataError(
            f"{len(unmatched):,} of {len(names):,} names do not match --target {pattern!r}: {', '.join(unmatched[:3])}",
            "Fix the pattern or the names.",
        )
    return [match[0] for match in matches if match is not None]


def _by_first_part(path: Path, recordings: Sequence[File], stems: Sequence[str]) -> tuple[list[str], str]:
    """The first part of each file name as its class, if all names have equally many parts."""
    separator = next((mark for mark in _SEPARATORS if all(mark in stem.strip(mark) for stem in stems)), None)
    parts = [stem.split(separator) for stem in stems] if separator is not None else []
    labels = [part[0] for part in parts]
    counts = {len(part) for part in parts}
    cause = ""
    if not parts:
        cause = "their names have no parts"
    elif len(counts) > 1:
        cause = f"their names have {min(counts)} to {max(counts)} parts between {separator!r}"
    elif len(set(labels)) < 2:
        cause = f"the first part of all names is {labels[0]!r}"
    elif 2 * len(set(labels)) > len(labels):
        cause = f"the first parts of their names are {len(set(labels)):,} different ones"
    if cause:
        raise DataError(
            f"{path} holds {len(recordings):,} recordings outside class folders, and {cause}: {recordings[0].path}",
            f"Move them into one folder for each class, or name the classes in the file names by {_EXAMPLE}.",
        )
    assert separator is not None
    other = separator.join(["*", "{class}", *["*"] * (next(iter(counts)) > 2)])
    class_source = (
        f"the class is the first of the {counts.pop()} parts of the file name ({labels[0]!r} of {recordings[0].path}); "
        f"another with --target {other!r}"
    )
    return labels, class_source


def listed_splits(root: Path, paths: Sequence[str]) -> list[int]:
    """Index in SPLITS of each recording by the lists of Speech Commands; empty without such lists.

    `validation_list.txt` and `testing_list.txt` hold the paths of these splits, one a line.
    Source: Warden 2018, "Speech Commands: a dataset for limited-vocabulary speech recognition".
    """
    split_of: dict[str, int] = {}
    for split, name in ((1, "validation_list.txt"), (2, "testing_list.txt")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            split_of |= {line.strip(): split for line in read_text(root / name).splitlines() if line.strip()}
    splits = [split_of.get(path, 0) for path in paths]
    return splits if 0 < sum(split > 0 for split in splits) < len(splits) else []


def _recognised_as(counted: str, classes: int, class_source: str, layout: FolderLayout) -> str:
    given = f" in the given splits {', '.join(layout.splits)}" if layout.splits else ""
    return f"an audio folder: {counted}; {classes} classes{given}: {class_source}{layout.note}"


def _is_lost(entry: Skipped) -> bool:
    """Whether a skipped entry is, or may hold, a recording."""
    is_folder = "is a folder that cannot" in entry.reason or "link to a folder outside" in entry.reason
    return is_folder or ("link to a folder" not in entry.reason and is_audio_name(entry.path.rpartition("/")[2]))


def _lost_findings(lost: Sequence[Skipped]) -> list[Finding]:
    """Errors about recordings that are not used, one for each remedy."""
    findings = []
    for remedy in dict.fromkeys(entry.remedy for entry in lost):
        entries = [entry for entry in lost if entry.remedy == remedy]
        noun = "recording" if len(entries) == 1 else "recordings or folders"
        first = "; ".join(f"{entry.path} {entry.reason}" for entry in entries[:3])
        more = f" and {len(entries) - 3:,} more" if len(entries) > 3 else ""
        findings.append(
            Finding(
                kind="no-class" if remedy == _OUTSIDE else "unreadable",
                message=f"{len(entries):,} {noun} cannot be used: {first}{more}",
                remedy=remedy,
                severity="error",
                where=tuple(entry.path for entry in entries),
                count=len(entries),
            )
        )
    return findings


FORMAT = Format("audio", recognises, open_raw, any_depth=True)
