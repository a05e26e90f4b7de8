"""Signs that a class folder holds the masks of the images of another, whatever their names: few values, equal sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.core.views import Finding
from snellen.data.decode import image_decoder
from snellen.data.decode.header import UnusableFile
from snellen.data.file_index import File
from snellen.data.formats.folder_layout import AS_CLASSES, FolderLayout

_MAX_CLASSES = 20  # more class folders are not looked at
_NUM_READ = 3  # images read of each folder, at even distances
_MAX_MASK_VALUES = 32  # distinct values or colours of a mask
_MIN_PHOTO_VALUES = 65  # of a photograph


class _Content(NamedTuple):
    """Height and width, the number of distinct values or colours, and whether the compression changes values."""

    size: tuple[int, int]
    values: int
    lossy: bool


def mask_class_findings(root: Path, layout: FolderLayout, images: Sequence[File]) -> list[Finding]:
    """A warning of each class folder that holds masks, beside one of photographs of the same sizes.

    Raises:
        DataError: both hold equally many images, so they are pairs.
    """
    files_of: dict[str, list[Path]] = {}
    for image in images:
        label = layout.places[image.path.rpartition("/")[0]][1]
        if label:
            files_of.setdefault(label, []).append(root / image.path)
    if not 1 < len(files_of) <= _MAX_CLASSES:
        return []
    masks = {label: sizes for label, files in sorted(files_of.items()) if (sizes := _sizes_of_masks(files))}
    if not masks or len(masks) == len(files_of):
        return []
    photos = {label: _sizes_of_photos(files) for label, files in sorted(files_of.items()) if label not in masks}
    findings = []
    for label, sizes in masks.items():
        other = next((photo for photo, photo_sizes in photos.items() if sizes & photo_sizes), None)
        if other is None:
            continue
        cause = (
            f"{label}/ looks like masks (at most {_MAX_MASK_VALUES} values in each image) of the images in {other}/, "
            "which have the same size"
        )
        remedy = f"Name the folders images/ and masks/, and each mask like its image; {AS_CLASSES}."
        if len(files_of[label]) == len(files_of[other]):
            raise DataError(f"{root}: {cause}", remedy)
        findings.append(Finding(kind="doubtful-classes", message=cause, remedy=remedy, where=(label,)))
    return findings


def _sizes_of_masks(files: Sequence[Path]) -> set[tuple[int, int]]:
    """The sizes of the images read; none if one of them is no mask, or all are blank."""
    contents = []
    for file in _some(files):
        content = _read(file)
        if content is None or content.lossy or content.values > _MAX_MASK_VALUES:
            return set()
        contents.append(content)
    return {content.size for content in contents} if any(content.values > 1 for content in contents) else set()


def _sizes_of_photos(files: Sequence[Path]) -> set[tuple[int, int]]:
    contents = [_read(file) for file in _some(files)]
    return {content.size for content in contents if content is not None and content.values >= _MIN_PHOTO_VALUES}


def _some(files: Sequence[Path]) -> list[Path]:
    return [files[k] for k in sorted(set(np.linspace(0, len(files) - 1, _NUM_READ).astype(int).tolist()))]


def _read(path: Path) -> _Content | None:
    try:
        values = image_decoder.read_raw_values(path)
        lossy = image_decoder.is_lossy(path)
    except UnusableFile:  # the check reports it
        return None
    if values.ndim == 3:
        values = values.astype(np.float64) @ (256.0 ** np.arange(values.shape[2]))
    return _Content((values.shape[0], values.shape[1]), len(np.unique(values)), lossy)
