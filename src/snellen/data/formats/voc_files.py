"""Which file of annotations goes with which picture and mask in Pascal VOC, and in which split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from snellen.core.errors import DataError, first_line, shown
from snellen.data.dataset import SPLITS
from snellen.data.file_index import Listing
from snellen.data.formats.image_folder import is_picture_name
from snellen.data.formats.object_datasets import left_over, some_names, split_of
from snellen.data.source import Skipped

MASKS = "SegmentationObject"


class Entry(NamedTuple):
    """A picture with its annotations: paths relative to the root.

    split: place in SPLITS, or None. mask: its file, or None where masks are not asked for or not there.
    """

    picture: str
    xml: str
    split: int | None
    mask: str | None = None


def child(folder: Path, *wanted: str) -> str:
    """The name of a folder inside, however it is written; "" where there is none."""
    there = (name for name in sorted(some_names(folder)) if name.lower() in wanted)
    return next((name for name in there if (folder / name).is_dir()), "")


def home_of(path: Path) -> Path | None:
    """The folder that has the annotations: `path`, or the one folder in it that does, as in VOCdevkit/VOC2012."""
    if child(path, "annotations"):
        return path
    homes = [path / name for name in some_names(path) if name.startswith("VOC") and child(path / name, "annotations")]
    return homes[0] if len(homes) == 1 else None


def entries_of(root: Path, listing: Listing, masks: bool) -> tuple[list[Entry], dict[str, str]]:
    """The pictures with annotations, each with its split, and why others have none: path -> reason.

    Args:
        masks: with the masks of objects, and the lists of ImageSets/Segmentation where there are any.
    Raises:
        DataError: for no XML file at all.
    """
    told, shown_at = child(root, "annotations"), child(root, "jpegimages", "images")
    inside, pictured = (f"{told}/" if told else ""), (f"{shown_at}/" if shown_at else "")
    xmls = {
        file.path[len(inside) : -4]: file.path
        for file in listing.files
        if file.path.startswith(inside) and file.path.lower().endswith(".xml") and not _hidden(file.path)
    }
    if not xmls:
        raise DataError(f"{root} holds no XML file of annotations", "Pascal VOC has one for each picture.")
    pictures: dict[str, list[str]] = {}
    for file in listing.files:
        if file.path.startswith(pictured) and is_picture_name(file.path.rpartition("/")[2]):
            pictures.setdefault(os.path.splitext(file.path[len(pictured) :])[0], []).append(file.path)
    lists = _lists(root, listing, xmls, "segmentation") if told and masks else None
    lists = _lists(root, listing, xmls, "main") if told and lists is None else lists
    drawn = {file.path for file in listing.files if masks and file.path.startswith(f"{MASKS}/")}
    entries: list[Entry] = []
    reasons: dict[str, str] = {}
    for key, xml in sorted(xmls.items()):
        found = pictures.get(key, [])
        split = split_of(key.partition("/")[0]) if lists is None and "/" in key else None
        if lists is not None:
            if key not in lists:
                reasons |= dict.fromkeys((xml, *found), "is in no list of ImageSets")
                continue
            split = lists[key]
        mask = f"{MASKS}/{key}.png" if f"{MASKS}/{key}.png" in drawn else None
        entries.append(Entry(found[0] if found else f"{pictured}{key}.jpg", xml, split, mask))
        reasons |= dict.fromkeys(found[1:], "has the name of another picture but for its ending")
    if len({entry.split is None for entry in entries}) > 1:  # some lie in folders of splits, some beside them
        homeless = next(entry.xml for entry in entries if entry.split is None)
        raise DataError(f"{root} has folders of splits, and {homeless} in none of them", "Move it into one of them.")
    return entries, reasons


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _lists(root: Path, listing: Listing, known: Mapping[str, str], kind: str) -> dict[str, int] | None:
    """Name of a picture -> place in SPLITS, as the lists of ImageSets/Main or .../Segmentation say; None for none.

    Raises:
        DataError: for names without annotations, and names in two splits.
    """
    home = f"imagesets/{kind}/"
    there = {file.path.lower(): file.path for file in listing.files if file.path.lower().startswith(home)}
    lists: dict[str, int] = {}
    for name, place in (("train", 0), ("val", 1), ("test", 2), ("trainval", 0)):
        file = there.get(f"{home}{name}.txt")
        if file is None:
            continue
        try:
            lines = [line.strip() for line in (root / file).read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{root / file} cannot be read ({first_line(error)})", "Mend it.") from error
        for line in filter(None, lines):
            key = next((k for k in (line, line.split()[0], os.path.splitext(line)[0]) if k in known), None)
            if key is None:
                raise DataError(
                    f"{root / file} names {shown(line)}, which has no file in Annotations",
                    "Add it, or take the name out of the list.",
                )
            if name == "trainval" and key in lists:
                continue
            if lists.setdefault(key, place) != place:
                raise DataError(
                    f"{root / file} names {shown(line)}, which is in {SPLITS[lists[key]]} already",
                    "A picture belongs to one split.",
                )
    return lists or None


def not_used(listing: Listing, used: set[str], reasons: Mapping[str, str]) -> tuple[list[Skipped], int]:
    """What is not used. Masks that are not asked for belong to the set, and are no data here."""
    aside, no_data = left_over(
        listing,
        used,
        "has no XML file of annotations",
        "Add one (without objects, where there are none), or move the picture away.",
    )
    others = [
        Skipped(entry.path, reasons[entry.path], "Move it out of the data, or name it in a list of a split.")
        if entry.path in reasons
        else entry
        for entry in aside
        if not entry.path.lower().startswith(("segmentationclass", "segmentationobject"))
    ]
    return others, no_data + len(aside) - len(others)
