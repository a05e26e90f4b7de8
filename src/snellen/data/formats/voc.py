"""Pascal VOC: an XML file for each picture, in `Annotations/` beside `JPEGImages/`, or beside the picture itself.

Whether boxes count pixels from 1, as Pascal VOC does, or from 0, as many tools do, is decided from all boxes of a set:
where any begins below 1, or at a fraction, they are corners from 0 and taken as they are. Else xmin is the first
and xmax the last pixel inside, both counted from 1, so that the box spans xmin - 1 ... xmax. `difficult` objects are
neither learned from nor counted. Splits are those of `ImageSets/Main`, or the folders that the files lie in.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from snellen.core.errors import UsageError, first_line, shown
from snellen.core.spec import Boxes
from snellen.data.check.findings import stray
from snellen.data.dataset import RawDataset
from snellen.data.decode.image_files import named_pictures
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.object_datasets import Told, beside_pictures, draft_of, some_names, split_of
from snellen.data.formats.object_table import ObjectTable, Wrong
from snellen.data.formats.voc_files import MASKS, Entry, child, entries_of, home_of, not_used
from snellen.data.formats.voc_masks import ObjectMasks

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Parsed(NamedTuple):
    """What an XML file tells. size: height, width; 0 where it is not told."""

    size: tuple[int, int]
    names: list[str]
    boxes: list[tuple[float, ...]]
    difficult: list[bool]


def recognises(path: Path) -> bool:
    """Whether XML files lie in a folder of annotations, or beside pictures of the same names."""
    home = home_of(path)
    if home is not None:
        return any(name.lower().endswith(".xml") for name in some_names(home / child(home, "annotations")))
    return any(
        beside_pictures(path / name, ".xml")
        for name in ("", *some_names(path))
        if not name or split_of(name) is not None
    )


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes of the classes that the files name; with `--target instances` also the masks of SegmentationObject.

    Raises:
        DataError: when no XML file is there, or a list of a split names what is not.
        UsageError: for another target.
    """
    if options.target not in ((), ("instances",)):
        raise UsageError(
            f"--target {','.join(options.target)} is nothing that Pascal VOC tells",
            "Write --target instances for boxes with masks, or leave it out for boxes.",
        )
    masks = bool(options.target)
    root = home_of(path) or path
    listing = walk(root)
    entries, reasons = entries_of(root, listing, masks)
    source = named_pictures(root, [entry.picture for entry in entries], options.pages)
    parsed, wrong = _parsed(root, entries)
    from_one, note = _counts_from_one(parsed)
    table, names = _table(entries, parsed, wrong, from_one)
    if masks:
        drawn = ObjectMasks(root, [entry.mask for entry in entries], table.picture)
        lost = [
            Wrong(k, "annotation", f"{entry.xml} has no mask in {MASKS}")
            for k, entry in enumerate(entries)
            if entry.mask is None
        ]
        table = dataclasses.replace(table, outlines=drawn, wrong=[*table.wrong, *lost])
    elif any(file.path.startswith(f"{MASKS}/") for file in listing.files):
        note += "; masks: --target instances"
    there = {file.path for file in listing.files}
    used = {name for entry in entries for name in (entry.picture, entry.xml, entry.mask) if name in there}
    aside, no_data = not_used(listing, {name for name in used if name}, reasons)
    splits = [entry.split for entry in entries if entry.split is not None]
    told = Told(
        target=Boxes(names=tuple(names), masks=masks),
        name="Pascal VOC",
        note=note,
        given=np.array(splits, np.int64) if splits else None,
        findings=tuple(stray(aside)),
        aside=tuple(aside),
        files={
            "found": len(listing.files) + len(listing.aside),
            "used": len(used),
            "set aside": len(aside),
            "no data": no_data,
        },
    )
    return draft_of(source, table, told, options)


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
    if top.tag.lower() != "annotation":
        raise _Unclear(f"holds <{top.tag}>, not an annotation")
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


def _table(
    entries: list[Entry], parsed: list[Parsed], wrong: list[Wrong], from_one: bool
) -> tuple[ObjectTable, list[str]]:
    names = sorted({name for one in parsed for name in one.names})
    place = {name: k for k, name in enumerate(names)}
    counts = [len(one.names) for one in parsed]
    starts = np.concatenate([[0], np.cumsum(counts)])
    picture = np.repeat(np.arange(len(parsed)), counts)
    boxes = np.array([box for one in parsed for box in one.boxes]).reshape(-1, 4)
    if from_one:
        boxes[:, :2] -= 1  # the first pixel begins at 0, the last one ends at its number
    table = ObjectTable(
        picture=picture,
        boxes=boxes,
        labels=np.array([place[n] for one in parsed for n in one.names], np.int64),
        crowd=np.zeros(len(boxes), bool),
        ignored=np.array([d for one in parsed for d in one.difficult], bool),
        areas=np.full(len(boxes), np.nan),
        sizes=np.array([one.size for one in parsed], np.int64).reshape(-1, 2),
        place=lambda k: f"{entries[picture[k]].xml} object {k - starts[picture[k]] + 1}",
        wrong=wrong,
    )
    return table, names


FORMAT = Format("voc", recognises, open_raw)
