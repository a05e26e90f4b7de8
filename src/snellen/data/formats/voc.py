"""Pascal VOC: an XML file for each picture, in `Annotations/` beside `JPEGImages/`, or beside the picture itself.

Whether boxes count pixels from 1, as Pascal VOC does, or from 0, as many tools do, is decided from all boxes of a set:
where any begins below 1, or at a fraction, they are corners from 0 and taken as they are. Else xmin is the first
and xmax the last pixel inside, both counted from 1, so that the box spans xmin - 1 ... xmax. `difficult` objects are
neither learned from nor counted. Splits are those of `ImageSets/Main`, or the folders that the files lie in.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from snellen.core.errors import DataError, first_line, shown
from snellen.core.spec import Boxes
from snellen.data.dataset import SPLITS, Draft
from snellen.data.formats import Asked, Format
from snellen.data.formats.folder import is_picture_name
from snellen.data.formats.objects import Told, draft_of, left_over, split_of, stray
from snellen.data.index import Listing, walk
from snellen.data.object_table import ObjectTable, Wrong
from snellen.data.pictures import named_pictures
from snellen.data.source import Aside

_LOOKED_AT = 200  # entries of a folder that `recognises` looks at
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NOT_TOLD = "has no XML file of annotations"
_TELL = "Add one (without objects, where there are none), or move the picture away."


class Entry(NamedTuple):
    """A picture with its annotations: paths relative to the root. split: place in SPLITS, or None."""

    picture: str
    xml: str
    split: int | None


class Parsed(NamedTuple):
    """What an XML file tells. size: height, width; 0 where it is not told."""

    size: tuple[int, int]
    names: list[str]
    boxes: list[tuple[float, ...]]
    difficult: list[bool]


def recognises(path: Path) -> bool:
    """Whether XML files lie in a folder of annotations, or beside pictures of the same names."""
    home = _home(path)
    if home is not None:
        return any(name.lower().endswith(".xml") for name in _names(home / _child(home, "annotations")))
    return any(_beside(path / name) for name in ("", *_names(path)) if not name or split_of(name) is not None)


def _names(folder: Path) -> list[str]:
    """Some names in a folder that are not hidden; none where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in itertools.islice(found, _LOOKED_AT) if not entry.name.startswith(".")]
    except OSError:
        return []


def _child(folder: Path, *wanted: str) -> str:
    """The name of a folder inside, however it is written; "" where there is none."""
    return next((name for name in sorted(_names(folder)) if name.lower() in wanted and (folder / name).is_dir()), "")


def _home(path: Path) -> Path | None:
    """The folder that has the annotations: `path`, or the one folder in it that does, as in VOCdevkit/VOC2012."""
    if _child(path, "annotations"):
        return path
    homes = [path / name for name in _names(path) if name.startswith("VOC") and _child(path / name, "annotations")]
    return homes[0] if len(homes) == 1 else None


def _beside(folder: Path) -> bool:
    names = _names(folder)
    pictures = {os.path.splitext(name)[0] for name in names if is_picture_name(name)}
    return any(name.lower().endswith(".xml") and name[:-4] in pictures for name in names)


def open_draft(path: Path, asked: Asked) -> Draft:
    """Boxes of the classes that the files name.

    Raises:
        DataError: when no XML file is there, or a list of a split names what is not.
    """
    root = _home(path) or path
    listing = walk(root)
    entries, aside_note = _entries(root, listing)
    source = named_pictures(root, [entry.picture for entry in entries], asked.pages)
    parsed, wrong = _parsed(root, entries)
    from_one, note = _counts_from_one(parsed)
    table, names = _table(entries, parsed, wrong, from_one)
    used = {name for entry in entries for name in (entry.picture, entry.xml)} & {file.path for file in listing.files}
    aside, no_data = _left_over(root, listing, used, aside_note)
    splits = [entry.split for entry in entries if entry.split is not None]
    told = Told(
        target=Boxes(names=tuple(names)), name="Pascal VOC", note=note,
        given=np.array(splits, np.int64) if splits else None, findings=tuple(stray(aside)), aside=tuple(aside),
        files={"found": len(listing.files) + len(listing.aside), "used": len(used), "set aside": len(aside),
               "no data": no_data})  # fmt: skip
    return draft_of(source, table, told, asked)


def _entries(root: Path, listing: Listing) -> tuple[list[Entry], dict[str, str]]:
    """The pictures with annotations, each with its split, and why others have none: path -> reason.

    Raises:
        DataError: for no XML file at all.
    """
    told, shown_at = _child(root, "annotations"), _child(root, "jpegimages", "images")
    inside, pictured = (f"{told}/" if told else ""), (f"{shown_at}/" if shown_at else "")
    xmls = {file.path[len(inside) : -4]: file.path for file in listing.files
            if file.path.startswith(inside) and file.path.lower().endswith(".xml") and not _hidden(file.path)}
    if not xmls:
        raise DataError(f"{root} holds no XML file of annotations", "Pascal VOC has one for each picture.")
    pictures: dict[str, list[str]] = {}
    for file in listing.files:
        if file.path.startswith(pictured) and is_picture_name(file.path.rpartition("/")[2]):
            pictures.setdefault(os.path.splitext(file.path[len(pictured) :])[0], []).append(file.path)
    lists = _lists(root, listing, xmls) if told else None
    entries: list[Entry] = []
    reasons: dict[str, str] = {}
    for key, xml in sorted(xmls.items()):
        found = pictures.get(key, [])
        split = split_of(key.partition("/")[0]) if lists is None and "/" in key else None
        if lists is not None:
            if key not in lists:
                reasons |= dict.fromkeys((xml, *found), "is in no list of ImageSets/Main")
                continue
            split = lists[key]
        entries.append(Entry(found[0] if found else f"{pictured}{key}.jpg", xml, split))
        reasons |= dict.fromkeys(found[1:], "has the name of another picture but for its ending")
    if len({entry.split is None for entry in entries}) > 1:  # some lie in folders of splits, some beside them
        homeless = next(entry.xml for entry in entries if entry.split is None)
        raise DataError(f"{root} has folders of splits, and {homeless} in none of them", "Move it into one of them.")
    return entries, reasons


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _lists(root: Path, listing: Listing, known: dict[str, str]) -> dict[str, int] | None:
    """Name of a picture -> place in SPLITS, as the lists of ImageSets/Main say; None where there are none.

    Raises:
        DataError: for names without annotations, and names in two splits.
    """
    main = {file.path.lower(): file.path for file in listing.files if file.path.lower().startswith("imagesets/main/")}
    lists: dict[str, int] = {}
    for name, place in (("train", 0), ("val", 1), ("test", 2), ("trainval", 0)):
        file = main.get(f"imagesets/main/{name}.txt")
        if file is None:
            continue
        try:
            lines = [line.strip() for line in (root / file).read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{root / file} cannot be read ({first_line(error)})", "Mend it.") from error
        for line in filter(None, lines):
            key = next((k for k in (line, line.split()[0], os.path.splitext(line)[0]) if k in known), None)
            if key is None:
                raise DataError(f"{root / file} names {shown(line)}, which has no file in Annotations",
                                "Add it, or take the name out of the list.")
            if name == "trainval" and key in lists:
                continue
            if lists.setdefault(key, place) != place:
                raise DataError(f"{root / file} names {shown(line)}, which is in {SPLITS[lists[key]]} already",
                                "A picture belongs to one split.")
    return lists or None


def _parsed(root: Path, entries: list[Entry]) -> tuple[list[Parsed], list[Wrong]]:
    parsed, wrong = [], []
    for k, entry in enumerate(entries):
        try:
            parsed.append(_parse(root / entry.xml))
        except _Unclear as error:
            parsed.append(Parsed((0, 0), [], [], []))
            wrong.append(Wrong(k, "annotation", f"{entry.xml} {error}"))
    return parsed, wrong


class _Unclear(Exception):
    """What an XML file tells cannot be understood."""


def _parse(path: Path) -> Parsed:
    """Raises `_Unclear`. Entities and types of documents are refused: they can make a small file endless."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        top = parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise _Unclear("declares entities or a type of document, which are not read") from error
    except (ParseError, ValueError, LookupError, RecursionError, OSError) as error:  # LookupError: an unknown encoding
        raise _Unclear(f"is no XML ({first_line(error)})") from error
    size = (_size(top, "size/height"), _size(top, "size/width"))
    names, boxes, difficult = [], [], []
    for k, one in enumerate(top.findall("object"), 1):
        name, box = (one.findtext("name") or "").strip(), one.find("bndbox")
        if not name or box is None:
            raise _Unclear(f"object {k} has no {'bndbox' if name else 'name'}")
        names.append(name)
        boxes.append(tuple(_number(box, corner, k) for corner in _CORNERS))
        difficult.append((one.findtext("difficult") or "0").strip() == "1")
    return Parsed(size, names, boxes, difficult)


def _size(top: Element, path: str) -> int:
    text = (top.findtext(path) or "0").strip()
    try:
        return max(0, min(int(float(text)), 1 << 31))
    except (ValueError, OverflowError) as error:
        raise _Unclear(f"has {path} {shown(text)}") from error


def _number(box: Element, corner: str, k: int) -> float:
    text = box.findtext(corner)
    try:
        return float(text or "")
    except ValueError as error:
        raise _Unclear(f"object {k} has {corner} {shown(text)}") from error


def _counts_from_one(parsed: list[Parsed]) -> tuple[bool, str]:
    """Whether the boxes of all files count pixels from 1, and the sentence that says so."""
    boxes = np.array([box for one in parsed for box in one.boxes]).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1)]
    first = boxes[:, :2]
    zero, fractions = int(((first >= 0) & (first < 1)).any(1).sum()), int((boxes % 1 != 0).any(1).sum())
    if zero or fractions:
        why = f"{zero:,} begin at 0" if zero else f"{fractions:,} have fractions"
        return False, f"boxes are corners counted from 0 ({why})"
    ones = int((first == 1).any(1).sum())
    return True, f"boxes count pixels from 1 ({f'{ones:,} begin at 1, ' if ones else ''}none at 0)"


def _table(entries: list[Entry], parsed: list[Parsed], wrong: list[Wrong],
           from_one: bool) -> tuple[ObjectTable, list[str]]:  # fmt: skip
    names = sorted({name for one in parsed for name in one.names})
    place = {name: k for k, name in enumerate(names)}
    counts = [len(one.names) for one in parsed]
    starts = np.concatenate([[0], np.cumsum(counts)])
    picture = np.repeat(np.arange(len(parsed)), counts)
    boxes = np.array([box for one in parsed for box in one.boxes]).reshape(-1, 4)
    if from_one:
        boxes[:, :2] -= 1  # the first pixel begins at 0, the last one ends at its number
    table = ObjectTable(
        picture=picture, boxes=boxes, labels=np.array([place[n] for one in parsed for n in one.names], np.int64),
        crowd=np.zeros(len(boxes), bool), ignored=np.array([d for one in parsed for d in one.difficult], bool),
        areas=np.full(len(boxes), np.nan), sizes=np.array([one.size for one in parsed], np.int64).reshape(-1, 2),
        place=lambda k: f"{entries[picture[k]].xml} object {k - starts[picture[k]] + 1}", wrong=wrong)  # fmt: skip
    return table, names


def _left_over(root: Path, listing: Listing, used: set[str], reasons: dict[str, str]) -> tuple[list[Aside], int]:
    """What is not used. Masks of classes and objects belong to the set, and are no data here."""
    aside, no_data = left_over(listing, used, _NOT_TOLD, _TELL)
    others = [entry._replace(reason=reasons.get(entry.path, entry.reason)) for entry in aside
              if not entry.path.lower().startswith(("segmentationclass", "segmentationobject"))]  # fmt: skip
    return others, no_data + len(aside) - len(others)


FORMAT = Format("voc", recognises, open_draft)
