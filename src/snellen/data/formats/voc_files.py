"""Pascal VOC file layout: annotation, image, mask and split of each entry."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_text
from snellen.data.dataset import SPLITS
from snellen.data.file_index import Listing
from snellen.data.formats.file_names import in_system_folder, is_image_name
from snellen.data.formats.object_datasets import list_names, split_of, unused_files
from snellen.data.source import Skipped

MASKS = "SegmentationObject"
ANNOTATION_FOLDERS = ("annotations", "annotation", "annots", "xmls", "xml", "labels", "label")
IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")


class VocEntry(NamedTuple):
    """An image with its annotations: paths relative to the root.

    split: index in SPLITS, or None. mask: its file, or None if masks are not requested or missing.
    """

    image: str
    xml: str
    split: int | None
    mask: str | None = None


def subfolder(folder: Path, *names: str) -> str:
    """The name of a subfolder, matched case-insensitively; "" if there is none."""
    lists_by_path = (name for name in sorted(list_names(folder)) if name.lower() in names)
    return next((name for name in lists_by_path if (folder / name).is_dir()), "")


def find_root(path: Path) -> Path | None:
    """The folder with the annotations: `path`, or its only subfolder that has them, as in VOCdevkit/VOC2012."""
    if subfolder(path, "annotations"):
        return path
    roots = [
        path / name for name in list_names(path) if name.startswith("VOC") and subfolder(path / name, "annotations")
    ]
    return roots[0] if len(roots) == 1 else None


def entries_of(root: Path, listing: Listing, masks: bool) -> tuple[list[VocEntry], dict[str, str]]:
    """The annotated images with their splits, and the reason for each unused file: path -> reason.

    Args:
        masks: read the object masks, and the lists of ImageSets/Segmentation if present.
    Raises:
        DataError: there is no XML file.
    """
    annotation_folder, images_folder = subfolder(root, "annotations"), subfolder(root, *IMAGE_FOLDERS)
    image_prefix = f"{images_folder}/" if images_folder else ""
    paths = [
        file.path for file in listing.files if file.path.lower().endswith(".xml") and not in_system_folder(file.path)
    ]
    in_folders = [path for path in paths if any(part.lower() in ANNOTATION_FOLDERS for part in path.split("/")[:-1])]
    xmls: dict[str, str] = {}
    for path in in_folders or paths:
        other = xmls.setdefault(_key(path, ANNOTATION_FOLDERS), path)
        if other != path:
            raise DataError(f"{root} has two annotation files for one image: {other} and {path}", "Keep one of them.")
    if not xmls:
        raise DataError(f"{root} holds no XML annotation file", "Add one for each image.")
    images: dict[str, list[str]] = {}
    for file in listing.files:
        if is_image_name(file.path.rpartition("/")[2]) and not in_system_folder(file.path):
            images.setdefault(_key(file.path, IMAGE_FOLDERS), []).append(file.path)
    lists = _lists(root, listing, xmls, "segmentation") if annotation_folder and masks else None
    lists = _lists(root, listing, xmls, "main") if annotation_folder and lists is None else lists
    mask_files = {file.path for file in listing.files if masks and file.path.startswith(f"{MASKS}/")}
    entries: list[VocEntry] = []
    reasons: dict[str, str] = {}
    for key, xml in sorted(xmls.items()):
        matches = images.get(key, [])
        split = split_of(key.partition("/")[0]) if lists is None and "/" in key else None
        if lists is not None:
            if key not in lists:
                reasons |= dict.fromkeys((xml, *matches), "is in no list of ImageSets")
                continue
            split = lists[key]
        mask = f"{MASKS}/{key}.png" if f"{MASKS}/{key}.png" in mask_files else None
        entries.append(VocEntry(matches[0] if matches else f"{image_prefix}{key}.jpg", xml, split, mask))
        reasons |= dict.fromkeys(matches[1:], "has the same name as another image except for the suffix")
    if len({entry.split is None for entry in entries}) > 1:  # some lie inside split folders, some outside
        outside = next(entry.xml for entry in entries if entry.split is None)
        raise DataError(f"{root} has split folders, and {outside} lies outside them", "Move it into one of them.")
    return entries, reasons


def _key(path: str, folders: Collection[str]) -> str:
    """The path that an image shares with its annotations: without the folders of either, and without the ending."""
    *parents, name = path.split("/")
    return "/".join([*(part for part in parents if part.lower() not in folders), os.path.splitext(name)[0]])


def _lists(root: Path, listing: Listing, xmls: Mapping[str, str], kind: str) -> dict[str, int] | None:
    """Image name -> index in SPLITS from the lists of ImageSets/Main or .../Segmentation; None without lists.

    Raises:
        DataError: a listed name has no annotations, or is in two splits.
    """
    prefix = f"imagesets/{kind}/"
    lists_by_path = {file.path.lower(): file.path for file in listing.files if file.path.lower().startswith(prefix)}
    lists: dict[str, int] = {}
    for name, index in (("train", 0), ("val", 1), ("test", 2), ("trainval", 0)):
        file = lists_by_path.get(f"{prefix}{name}.txt")
        if file is None:
            continue
        try:
            lines = [line.strip() for line in read_text(root / file).splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{root / file} cannot be read ({first_line(error)})", "Fix the file.") from error
        for line in filter(None, lines):
            key = next((k for k in (line, line.split()[0], os.path.splitext(line)[0]) if k in xmls), None)
            if key is None:
                raise DataError(
                    f"{root / file} names {short_repr(line)}, which has no file in Annotations",
                    "Add it, or remove the name from the list.",
                )
            if name == "trainval" and key in lists:
                continue
            if lists.setdefault(key, index) != index:
                raise DataError(
                    f"{root / file} names {short_repr(line)}, which is in {SPLITS[lists[key]]} already",
                    "Keep each image in one split.",
                )
    return lists or None


def unused_voc_files(listing: Listing, used: set[str], reasons: Mapping[str, str]) -> tuple[list[Skipped], int]:
    """The unused files. Masks that are not requested are counted as not data."""
    skipped, no_data = unused_files(
        listing,
        used,
        "has no XML annotation file",
        "Add one (without objects if the image has none), or move the image away.",
    )
    others = [
        Skipped(entry.path, reasons[entry.path], "Move it out of the data, or add it to a split list.")
        if entry.path in reasons
        else entry
        for entry in skipped
        if not entry.path.lower().startswith(("segmentationclass", "segmentationobject"))
    ]
    return others, no_data + len(skipped) - len(others)
