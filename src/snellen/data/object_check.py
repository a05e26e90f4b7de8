"""What is wrong with the objects of pictures: said before anything is learned from them.

What cannot be meant is an error, and its picture is bad: boxes without area, boxes wholly outside, coordinates that are
no numbers, unknown classes. What can be used, but may be meant otherwise, is a warning: boxes that reach out of their
picture by more than a pixel (they are cut), boxes a pixel thin, the same box twice, sizes that differ from the file's.
A pixel of overhang comes of rounding and is cut without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.objects import Objects
from snellen.core.views import Finding
from snellen.data.annotations import ObjectLists
from snellen.data.findings import SHOWN, more
from snellen.data.header import Header
from snellen.data.object_table import ObjectTable, Wrong
from snellen.data.pictures import PictureFiles
from snellen.data.source import Aside

ROUNDING = 1.0  # pixels that a box may reach out of its picture, or be thin, before it is worth a word

WORDS = {  # kind of an error -> what stands after the number of pictures, and the remedy
    "annotation": ("whose annotations cannot be read", "Mend them."),
    "not-a-number": ("with coordinates that are no numbers", "Mend the boxes."),
    "no-area": ("with boxes that have no area", "Draw the boxes again, or remove them."),
    "outside": ("with boxes outside of the picture", "Draw the boxes again, or remove them."),
    "unknown-class": ("with objects of an unknown class", "Name the class, or mend the objects."),
}
_LEAVE_OUT = ", or leave the pictures out with --quarantine."


class Checked(NamedTuple):
    """Objects that can be used, and what was found.

    findings: of what can be used all the same. objections: errors. bad: the pictures that these are about.
    """

    annotations: ObjectLists
    findings: list[Finding]
    objections: list[Finding]
    bad: dict[int, Aside]


def checked(table: ObjectTable, source: PictureFiles, names: Sequence[str], given: np.ndarray | None) -> Checked:
    """The objects as lists, cut to their pictures, and all that is wrong with them.

    Args:
        names: of the classes.
        given: (N,) places in SPLITS, or None.
    """
    sizes = _sizes(source, table)  # (N, 2) height, width; 0 where neither the file nor the annotation tells
    width, height = (sizes[table.picture, axis].astype(np.float64) for axis in (1, 0))
    told = width > 0
    boxes = table.boxes
    finite = np.isfinite(boxes).all(1)
    x1, y1, x2, y2 = boxes.T
    with np.errstate(invalid="ignore"):
        empty = finite & ((x2 <= x1) | (y2 <= y1))
        outside = finite & ~empty & told & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
        reach = np.maximum.reduce([-x1, -y1, x2 - width, y2 - height])
        thin = finite & ~empty & ~outside & (np.minimum(x2 - x1, y2 - y1) <= ROUNDING) & ~table.crowd
    overhang = finite & ~empty & ~outside & told & (reach > ROUNDING)
    unknown = table.labels < 0
    wrong = [*table.wrong, *_wrong(table, ~finite, "not-a-number"), *_wrong(table, empty, "no-area"),
             *_wrong(table, outside, "outside"), *_wrong(table, unknown, "unknown-class")]
    bad = {entry.picture: Aside(source.name(entry.picture), f"is told of wrongly: {entry.reason}", _remedy(entry.kind))
           for entry in reversed(wrong)}  # fmt: skip
    findings = [*_of_objects(table, overhang, "overhang", "reach out of their picture by more than a pixel: they are "
                             "cut", "Look whether the boxes belong to these pictures."),
                *_of_objects(table, thin, "thin", "are no more than a pixel thin", "They may be slips of the mouse."),
                *_of_objects(table, _twice(table), "duplicate-objects", "stand there twice: same picture, class and "
                             "box", "Remove one of each."),
                *_of_sizes(table, source), *_of_empty(table, source), *_of_classes(table, names, given)]
    limit = np.where(told[:, None], np.stack([width, height, width, height], 1), np.inf)
    cut = np.clip(np.where(finite[:, None], boxes, 0.0), 0.0, limit)
    return Checked(_lists(table, cut), findings, _objections(wrong), dict(sorted(bad.items())))


def _sizes(source: PictureFiles, table: ObjectTable) -> np.ndarray:
    return np.array([(h.height, h.width) if isinstance(h, Header) else size
                     for h, size in zip(source.headers, table.sizes.tolist(), strict=True)],
                    np.int64).reshape(-1, 2)  # fmt: skip


def _lists(table: ObjectTable, boxes: np.ndarray) -> ObjectLists:
    counts = np.bincount(table.picture, minlength=len(table.sizes))
    own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    areas = np.where(np.isfinite(table.areas), table.areas, own)
    points = None if table.keypoints is None else torch.from_numpy(table.keypoints).float()
    objects = Objects(torch.from_numpy(boxes).float(), torch.from_numpy(np.maximum(table.labels, 0)),
                      torch.from_numpy(table.crowd), torch.from_numpy(table.ignored),
                      torch.from_numpy(areas).float(), None, points)
    return ObjectLists(torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])), objects)


def _wrong(table: ObjectTable, which: np.ndarray, kind: str) -> list[Wrong]:
    return [Wrong(int(table.picture[k]), kind, table.place(k)) for k in np.nonzero(which)[0].tolist()]


def _remedy(kind: str) -> str:
    return WORDS[kind][1].removesuffix(".") + _LEAVE_OUT


def _objections(wrong: Sequence[Wrong]) -> list[Finding]:
    findings = []
    for kind, (words, _) in WORDS.items():
        those = [entry for entry in wrong if entry.kind == kind]
        if those:
            count = len({entry.picture for entry in those})
            shown = "; ".join(entry.reason for entry in those[:SHOWN])
            findings.append(Finding(kind=kind, severity="error", message=f"{count} pictures {words}: {shown}"
                                    f"{more(len(those))}", remedy=_remedy(kind), count=count,
                                    where=tuple(entry.reason for entry in those)))
    return findings


def _of_objects(table: ObjectTable, which: np.ndarray, kind: str, words: str, remedy: str) -> list[Finding]:
    places = [table.place(k) for k in np.nonzero(which)[0].tolist()]
    if not places:
        return []
    return [Finding(kind=kind, message=f"{len(places)} of {len(which):,} boxes {words}: {'; '.join(places[:SHOWN])}"
                    f"{more(len(places))}", remedy=remedy, where=tuple(places), count=len(places))]


def _twice(table: ObjectTable) -> np.ndarray:
    """(A,) bool: an object that stands in the same picture before, with the same class and box."""
    keys = np.column_stack([table.picture, table.labels, table.crowd, table.boxes])
    order = np.lexsort(keys.T[::-1])
    same = np.zeros(len(keys), bool)
    same[order[1:]] = (keys[order[1:]] == keys[order[:-1]]).all(1)
    return same


def _of_sizes(table: ObjectTable, source: PictureFiles) -> list[Finding]:
    """Pictures whose size is told otherwise than it is, turned or not."""
    differ = [k for k, (header, (height, width)) in enumerate(zip(source.headers, table.sizes.tolist(), strict=True))
              if isinstance(header, Header) and height and width
              and (height, width) != (header.height, header.width)]  # fmt: skip
    if not differ:
        return []

    def said(k: int) -> str:
        header, (height, width) = source.headers[k], table.sizes[k].tolist()
        assert isinstance(header, Header)
        return f"{source.name(k)} has {header.width}x{header.height} pixels, not {width}x{height}"

    places = tuple(said(k) for k in differ)
    return [Finding(kind="size-differs", message=f"{len(differ)} pictures have another size than their annotations "
                    f"tell: {'; '.join(places[:SHOWN])}{more(len(differ))}", where=places, count=len(differ),
                    remedy="Boxes are taken as pixels of the file; annotate these pictures again if they were scaled.")]


def _of_empty(table: ObjectTable, source: PictureFiles) -> list[Finding]:
    empty = np.nonzero(np.bincount(table.picture, minlength=len(source)) == 0)[0].tolist()
    if not empty:
        return []
    return [Finding(kind="empty-pictures", severity="note", count=len(empty), message=f"{len(empty)} of "
                    f"{len(source):,} pictures have no object", where=tuple(source.name(k) for k in empty[:SHOWN]))]


def _of_classes(table: ObjectTable, names: Sequence[str], given: np.ndarray | None) -> list[Finding]:
    usable = ~table.crowd & ~table.ignored & (table.labels >= 0)
    if given is not None:
        usable &= given[table.picture] == 0
    counts = np.bincount(table.labels[usable], minlength=len(names))
    unseen = [name for name, count in zip(names, counts, strict=True) if not count]
    if not unseen:
        return []
    return [Finding(kind="empty-class", count=len(unseen), where=tuple(unseen), message=f"{len(unseen)} classes have "
                    f"nothing to learn from: {', '.join(unseen[:SHOWN])}{more(len(unseen))}",
                    remedy="Add training objects of them, or remove them.")]
