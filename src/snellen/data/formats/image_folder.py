"""Image folder datasets: one folder for each class, with or without splits above or below; nested classes.

The class of an image is the path of its folder below the root, without the split folder, joined by "/". With
`--target none` images have no class, and may lie outside class folders.
Every file is used, counted as not data (hidden files, `Thumbs.db`, `desktop.ini`, text and sidecars), or reported with
reason and remedy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.errors import DataError, counted
from snellen.core.spec import Classes
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import SUFFIXES
from snellen.data.decode.image_files import open_pages
from snellen.data.file_index import File, Listing, links_outside, walk
from snellen.data.formats import NO_TARGET, Format, OpenOptions
from snellen.data.formats.class_folder_checks import (
    check_no_annotations,
    check_no_masks,
    check_no_pairs,
    documentation_finding,
    documentation_images,
    doubtful_class_findings,
    only_class_error,
    outside_error,
)
from snellen.data.formats.class_folder_masks import mask_class_findings
from snellen.data.formats.file_names import NO_DATA_NAMES, in_system_folder, is_image_name, is_sidecar, is_system_name
from snellen.data.formats.folder_layout import FolderLayout, folder_layout
from snellen.data.formats.groups import image_group_names, image_groups
from snellen.data.formats.unread_content import unsupported
from snellen.data.source import Skipped

_ENDINGS = frozenset(suffix[1:] for suffix in SUFFIXES)
_MAX_ENTRIES = 20_000  # entries that `recognises` reads at most


class SortedFiles(NamedTuple):
    """The files of a folder: images, skipped files, and the number of files that are not data."""

    images: list[File]
    no_data: int
    skipped: list[Skipped]


def recognises(path: Path) -> bool:
    """Whether the folder holds an image at any depth, or no file at all."""
    if not path.is_dir():
        return False
    entries_read = files = 0
    for _, folders, names in os.walk(path):
        folders.sort()
        folders[:] = [name for name in folders if not is_system_name(name)]
        if any(is_image_name(name) for name in names):
            return True
        entries_read += len(folders) + len(names)
        files += len(names)
        if entries_read > _MAX_ENTRIES:
            break
    return files == 0


def sort_files(listing: Listing) -> SortedFiles:
    """Sort files into images, sidecars and skipped files."""
    images, no_data, skipped = [], 0, list(listing.skipped)
    for file in listing.files:
        folder, _, name = file.path.rpartition("/")
        stem, _, ending = name.lower().rpartition(".")
        if (
            ending in _ENDINGS
            and stem
            and stem[0] != "."
            and stem not in NO_DATA_NAMES
            and not in_system_folder(folder)
        ):
            images.append(file)  # fast path, same result as below
        elif is_sidecar(file.path):
            no_data += 1
        elif is_image_name(name):
            images.append(file)
        else:
            skipped.append(unsupported(file.path))
    return SortedFiles(images, no_data, skipped)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Images with the class of their folder, or without a target.

    Raises:
        DataError: no image, no class folder, only one class, or split folders beside class folders.
    """
    listing = walk(path)
    sorted_files = sort_files(listing)
    if not sorted_files.images:
        raise DataError(
            f"{path} holds no image ({len(listing.files)} files){links_outside(listing)}",
            f"Images end in {', '.join(sorted(SUFFIXES))}: one folder for each class.",
        )
    literal = options.format is not None
    documentation: list[File] = []
    if not literal:
        documentation = documentation_images(path, listing, sorted_files.images)
        sorted_files = sorted_files._replace(images=[f for f in sorted_files.images if f not in documentation])
        check_no_annotations(path, listing, sorted_files.images)
    parents = [file.path.rpartition("/")[0] for file in sorted_files.images]
    layout = folder_layout(path, set(parents), literal)
    if not literal:
        check_no_masks(path, layout, sorted_files.images)
        check_no_pairs(path, layout, sorted_files.images)
    splits = layout.splits
    all_places = [layout.places[folder] for folder in parents]
    has_classes = options.target != NO_TARGET
    if options.optional_target and not options.target:
        has_classes = len({label for _, label in all_places if label}) > 1
    if not has_classes:
        all_places = [(split, "all") for split, _ in all_places]
    files = [file for file, place in zip(sorted_files.images, all_places, strict=True) if place[1]]
    places = [place for place in all_places if place[1]]  # split and class of each file
    unclassified = [file.path for file, place in zip(sorted_files.images, all_places, strict=True) if not place[1]]
    if not files:
        raise outside_error(path, unclassified, listing)
    names = sorted({label for _, label in set(places)})
    if len(names) < 2 and has_classes:
        raise only_class_error(path, names[0], listing, len(files))
    unused = [entry for entry in sorted_files.skipped if not _hides_images(entry)]
    findings = [
        *_empty(listing, splits, files + documentation, set(places)),
        *unused_files_findings(unused),
        *_unreadable(sorted_files.skipped),
    ]
    if has_classes:
        folders = sorted({file.path.rpartition("/")[0] for file in files})
        findings += doubtful_class_findings(path, names, folders, len(files))
    findings += [] if literal or not has_classes else mask_class_findings(path, layout, files)
    findings += [no_class_finding(unclassified)] if unclassified else []
    findings += [documentation_finding([file.path for file in documentation])] if documentation else []
    place = {name: k for k, name in enumerate(names)}
    source, file_of_sample = open_pages(path, files, options.pages)
    given = np.array([split for split, _ in places], np.int64)[file_of_sample]
    groups = image_groups(source, options.group) if options.group else source.stack_ids()
    return RawDataset(
        source=source,
        inputs={"image": source.input()},
        target=Classes(names=tuple(names)) if has_classes else None,
        truth=torch.tensor([place[label] for _, label in places])[torch.from_numpy(file_of_sample)]
        if has_classes
        else None,
        given_splits=given if splits else None,
        groups=groups,
        group_names=image_group_names(source, options.group),
        recognised_as=_recognised_as(_counted(len(files), len(source)), len(names) if has_classes else 0, layout),
        findings=tuple(findings),
        files={
            "found": len(listing.files) + len(listing.skipped),
            "used": len(files),
            "set aside": len(sorted_files.skipped) + len(unclassified) + len(documentation),
            "no data": sorted_files.no_data,
        },
        skipped=(
            *sorted_files.skipped,
            *(Skipped(p, _UNCLASSIFIED, _UNCLASSIFIED_REMEDY) for p in unclassified),
            *(Skipped(file.path, "is an image of documentation", "Move it, if it is data.") for file in documentation),
        ),
    )


_UNCLASSIFIED, _UNCLASSIFIED_REMEDY = (
    "lies outside the class folders",
    "Move each into the folder of its class, or out of the data.",
)


def no_class_finding(paths: list[str]) -> Finding:
    images = "1 image lies" if len(paths) == 1 else f"{len(paths)} images lie"
    return Finding(
        kind="no-class",
        message=f"{images} outside the class folders: {', '.join(paths[:3])}"
        + (f" and {len(paths) - 3} more" if len(paths) > 3 else ""),
        remedy=_UNCLASSIFIED_REMEDY,
        severity="error",
        where=tuple(paths),
        count=len(paths),
    )


def _empty(listing: Listing, splits: Sequence[str], files: list[File], places: set[tuple[int, str]]) -> list[Finding]:
    """Findings on class folders without images, and on classes without training images."""
    nonempty = {file.path.rpartition("/")[0] for file in files}
    parents = {folder.rpartition("/")[0] for folder in listing.folders if folder}
    empty = [f for f in listing.folders if f and f not in parents and f not in nonempty and not is_sidecar(f + "/x")]
    findings = []
    if empty:
        findings.append(
            Finding(
                kind="empty-class",
                message="1 folder holds no image and is no class"
                if len(empty) == 1
                else f"{len(empty)} folders hold no image and are not classes",
                remedy="Add images or remove the folders.",
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
                    message=f"{len(unseen)} classes have no training image: {', '.join(unseen[:5])}",
                    remedy="Add training images of them, or remove them.",
                    where=tuple(unseen),
                    count=len(unseen),
                )
            )
    return findings


def _unreadable(skipped: list[Skipped]) -> list[Finding]:
    unreadable = [entry for entry in skipped if _hides_images(entry)]
    if not unreadable:
        return []
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in unreadable[:5])
    return [
        Finding(
            kind="unreadable",
            severity="error",
            count=len(unreadable),
            where=tuple(entry.path for entry in unreadable),
            message=f"{counted(len(unreadable), 'image or folder', 'images or folders')} cannot be read: {first}",
            remedy=unreadable[0].remedy,
        )
    ]


def _hides_images(entry: Skipped) -> bool:
    return any(text in entry.reason for text in ("is a folder that cannot", "outside this folder")) or (
        "link to a folder" not in entry.reason and is_image_name(entry.path.rpartition("/")[2])
    )


def _counted(files: int, pages: int) -> str:
    return f"{files:,} images" if pages == files else f"{pages:,} pages of {files:,} images"


def _recognised_as(counted: str, classes: int, layout: FolderLayout) -> str:
    given = f" in the given splits {', '.join(layout.splits)}" if layout.splits else ""
    below = ", which are folders below the classes" if layout.below else ""
    if not classes:
        return f"an image folder: {counted} without a target{given}"
    return f"an image folder: {counted} in {classes} classes{given}{below}, one folder for each class{layout.note}"


FORMAT = Format("folder", recognises, open_raw, any_depth=True)
