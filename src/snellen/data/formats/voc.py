"""Pascal VOC datasets: an XML file for each image, in `Annotations/` beside `JPEGImages/`, or beside the image.

Pascal VOC counts pixels from 1, many tools from 0. The origin is inferred from all boxes of a dataset: if any begins
below 1, or at a fraction, boxes are corners counted from 0 and stay unchanged. Otherwise xmin is the first and xmax the
last pixel inside, both counted from 1, so that the box spans xmin - 1 ... xmax. `difficult` objects are neither trained
on nor evaluated. Splits are those of `ImageSets/Main`, or the folders of the files.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from snellen.core.errors import UsageError, first_line, short_repr
from snellen.core.input_files import open_regular
from snellen.core.spec import Boxes
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import RawDataset
from snellen.data.decode.image_files import open_named_images
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.annotation_files import is_voc_xml
from snellen.data.formats.object_datasets import (
    ObjectDatasetInfo,
    file_counts,
    has_annotations,
    list_names,
    to_raw_dataset,
)
from snellen.data.formats.object_table import AnnotationProblem, ObjectTable
from snellen.data.formats.voc_files import (
    ANNOTATION_FOLDERS,
    MASKS,
    VocEntry,
    entries_of,
    find_root,
    subfolder,
    unused_voc_files,
)
from snellen.data.formats.voc_masks import ObjectMasks

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocAnnotation(NamedTuple):
    """The content of an XML file. size: height, width; 0 where missing."""

    size: tuple[int, int]
    names: list[str]
    boxes: list[tuple[float, ...]]
    difficult: list[bool]


def recognises(path: Path) -> bool:
    """Whether XML files lie in an annotation folder, or beside images of the same names."""
    root_folder = find_root(path)
    if root_folder is not None and any(
        name.lower().endswith(".xml") for name in list_names(root_folder / subfolder(root_folder, "annotations"))
    ):
        return True
    return path.is_dir() and has_annotations(path, ".xml", ANNOTATION_FOLDERS, is_voc_xml)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes of the annotated classes; with `--target instances` also the masks of SegmentationObject.

    Raises:
        DataError: there is no XML file, or a split list contains a missing image.
        UsageError: any other target.
    """
    if options.target not in ((), ("instances",)):
        raise UsageError(
            f"--target {','.join(options.target)} is not a target of Pascal VOC",
            "Give --target instances for boxes with masks, or omit it for boxes.",
        )
    masks = bool(options.target)
    root = find_root(path) or path
    listing = walk(root)
    entries, reasons = entries_of(root, listing, masks)
    source = open_named_images(root, [entry.image for entry in entries], options.pages)
    parsed, problems = _parsed(root, entries)
    from_one, note = _counts_from_one(parsed)
    table, names = _table(entries, parsed, problems, from_one)
    if masks:
        object_masks = ObjectMasks(root, [entry.mask for entry in entries], table.image_index)
        missing_masks = [
            AnnotationProblem(k, "annotation", f"{entry.xml} has no mask in {MASKS}")
            for k, entry in enumerate(entries)
            if entry.mask is None
        ]
        table = dataclasses.replace(table, masks=object_masks, problems=[*table.problems, *missing_masks])
    elif any(file.path.startswith(f"{MASKS}/") for file in listing.files):
        note += "; masks: --target instances"
    existing = {file.path for file in listing.files}
    used = {name for entry in entries for name in (entry.image, entry.xml, entry.mask) if name in existing}
    skipped, no_data = unused_voc_files(listing, {name for name in used if name}, reasons)
    splits = [entry.split for entry in entries if entry.split is not None]
    info = ObjectDatasetInfo(
        target=Boxes(names=tuple(names), masks=masks),
        name="Pascal VOC",
        note=note,
        given_splits=np.array(splits, np.int64) if splits else None,
        findings=tuple(unused_files_findings(skipped)),
        skipped=tuple(skipped),
        files=file_counts(listing, used, skipped, no_data),
    )
    return to_raw_dataset(source, table, info, options)


def _parsed(root: Path, entries: list[VocEntry]) -> tuple[list[VocAnnotation], list[AnnotationProblem]]:
    parsed, problems = [], []
    for k, entry in enumerate(entries):
        try:
            parsed.append(_parse(root / entry.xml))
        except _InvalidXML as error:
            parsed.append(VocAnnotation((0, 0), [], [], []))
            problems.append(AnnotationProblem(k, "annotation", f"{entry.xml} {error}"))
    return parsed, problems


class _InvalidXML(Exception):
    """The content of an XML file is invalid."""


def _parse(path: Path) -> VocAnnotation:
    """Parse an XML file. Raises `_InvalidXML`, also for entities and DTDs, which allow exponential expansion."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        with open_regular(path) as file:
            root_element = parse(file, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise _InvalidXML("declares entities or a DTD, which are not allowed") from error
    except (ParseError, ValueError, LookupError, RecursionError, OSError) as error:  # LookupError: an unknown encoding
        raise _InvalidXML(f"is not XML ({first_line(error)})") from error
    if root_element.tag.lower() != "annotation":
        raise _InvalidXML(f"holds <{root_element.tag}>, not <annotation>")
    size = (_size(root_element, "size/height"), _size(root_element, "size/width"))
    names, boxes, difficult = [], [], []
    for k, one in enumerate(root_element.findall("object"), 1):
        name, box = (one.findtext("name") or "").strip(), one.find("bndbox")
        if not name or box is None:
            raise _InvalidXML(f"object {k} has no {'bndbox' if name else 'name'}")
        names.append(name)
        boxes.append(tuple(_number(box, corner, k) for corner in _CORNERS))
        difficult.append((one.findtext("difficult") or "0").strip() == "1")
    return VocAnnotation(size, names, boxes, difficult)


def _size(root_element: Element, path: str) -> int:
    text = (root_element.findtext(path) or "0").strip()
    try:
        return max(0, min(int(float(text)), 1 << 31))
    except (ValueError, OverflowError) as error:
        raise _InvalidXML(f"has {path} {short_repr(text)}") from error


def _number(box: Element, corner: str, k: int) -> float:
    text = box.findtext(corner)
    try:
        return float(text or "")
    except ValueError as error:
        raise _InvalidXML(f"object {k} has {corner} {short_repr(text)}") from error


def _counts_from_one(parsed: list[VocAnnotation]) -> tuple[bool, str]:
    """Whether the boxes of all files count pixels from 1, and the note for the user."""
    boxes = np.array([box for one in parsed for box in one.boxes]).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1)]
    first = boxes[:, :2]
    zero, fractions = int(((first >= 0) & (first < 1)).any(1).sum()), int((boxes % 1 != 0).any(1).sum())
    if zero or fractions:
        reason = f"{zero:,} begin at 0" if zero else f"{fractions:,} have fractions"
        return False, f"boxes are corners counted from 0 ({reason})"
    ones = int((first == 1).any(1).sum())
    return True, f"boxes count pixels from 1 ({f'{ones:,} begin at 1, ' if ones else ''}none at 0)"


def _table(
    entries: list[VocEntry], parsed: list[VocAnnotation], problems: list[AnnotationProblem], from_one: bool
) -> tuple[ObjectTable, list[str]]:
    names = sorted({name for one in parsed for name in one.names})
    place = {name: k for k, name in enumerate(names)}
    counts = [len(one.names) for one in parsed]
    starts = np.concatenate([[0], np.cumsum(counts)])
    image_index = np.repeat(np.arange(len(parsed)), counts)
    boxes = np.array([box for one in parsed for box in one.boxes]).reshape(-1, 4)
    if from_one:
        boxes[:, :2] -= 1  # the first pixel begins at 0, pixel n ends at n
    table = ObjectTable(
        image_index=image_index,
        boxes=boxes,
        labels=np.array([place[n] for one in parsed for n in one.names], np.int64),
        crowd=np.zeros(len(boxes), bool),
        ignored=np.array([d for one in parsed for d in one.difficult], bool),
        areas=np.full(len(boxes), np.nan),
        sizes=np.array([one.size for one in parsed], np.int64).reshape(-1, 2),
        describe=lambda k: f"{entries[image_index[k]].xml} object {k - starts[image_index[k]] + 1}",
        problems=problems,
        first_pixel=int(from_one),
    )
    return table, names


FORMAT = Format("voc", recognises, open_raw, any_depth=True)
