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
from torch import Tensor

from snellen.core.detections import Objects
from snellen.core.errors import first_line
from snellen.core.views import Finding
from snellen.data.annotations import ObjectLists
from snellen.data.augment.dihedral import ORIENTATIONS, turned
from snellen.data.check.findings import SHOWN, more
from snellen.data.decode.exif import turn, turns, unturned
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats.object_table import Masks, ObjectTable, Wrong
from snellen.data.source import BadSamples, Skipped

ROUNDING = 1.0  # pixels that a box may reach out of its picture, or be thin, before it is worth a word

WORDS = {  # kind of an error -> what stands after the number of pictures, and the remedy
    "annotation": ("whose annotations cannot be read", "Mend them."),
    "not-a-number": ("with coordinates that are no numbers", "Mend the boxes."),
    "no-area": ("with boxes that have no area", "Draw the boxes again, or remove them."),
    "outside": ("with boxes outside of the picture", "Draw the boxes again, or remove them."),
    "mask-size": ("with masks of another size", "Draw the masks again for these files."),
    "mask-outside": ("with masks outside of the picture", "Draw the masks again, or remove them."),
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
    bad: dict[int, Skipped]


def checked(table: ObjectTable, source: ImageFiles, names: Sequence[str], given: np.ndarray | None) -> Checked:
    """The objects as lists, cut to their pictures, and all that is wrong with them.

    Args:
        names: of the classes.
        given: (N,) places in SPLITS, or None.
    """
    sizes = _sizes(source, table)  # (N, 2) height, width as read; 0 where neither the file nor the annotation tells
    ordered = (table.boxes[:, 2:] > table.boxes[:, :2]).all(1)
    how, turned_findings = turns(source, table.sizes)
    table = turn(table, how, sizes)
    height, width = sizes[table.picture].T.astype(np.float64)
    told, finite = width > 0, np.isfinite(table.boxes).all(1)
    boxes = np.where(finite[:, None], table.boxes, 0.0)
    x1, y1, x2, y2 = boxes.T
    outside = told & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
    reach = np.maximum.reduce([-x1, -y1, x2 - width, y2 - height])
    errors = {
        "not-a-number": ~finite,
        "no-area": finite & ~ordered,
        "outside": finite & ordered & outside,
        "unknown-class": table.labels < 0,
        **_of_outlines(table, how, sizes),
    }
    wrong = [*table.wrong]
    for kind, which in errors.items():
        wrong += [Wrong(int(table.picture[k]), kind, table.place(k)) for k in np.nonzero(which)[0].tolist()]
    fine = finite & ordered & ~outside
    findings = [
        *_of_objects(
            table,
            fine & told & (reach > ROUNDING),
            "overhang",
            "reach out of their picture by more than a pixel: they are cut",
            "Look whether the boxes belong to these pictures.",
        ),
        *_of_objects(
            table,
            fine & ~table.crowd & (np.minimum(x2 - x1, y2 - y1) <= ROUNDING),
            "thin",
            "are no more than a pixel thin",
            "They may be slips of the mouse.",
        ),
        *_of_objects(
            table,
            _twice(table),
            "duplicate-objects",
            "stand there twice: same picture, class and box",
            "Remove one of each.",
        ),
        *turned_findings,
        *_of_sizes(table, source, how),
        *_of_empty(table, source, {entry.picture for entry in wrong}),
        *_of_classes(table, names, given),
    ]
    far = np.where(told[:, None], np.stack([width, height, width, height], 1), np.inf)
    cut = np.clip(boxes, 0.0, far)
    masks = None if table.outlines is None else _Drawn(table.outlines, source, how, sizes)
    bad = {
        entry.picture: Skipped(source.name(entry.picture), f"is told of wrongly: {entry.reason}", _remedy(entry.kind))
        for entry in reversed(wrong)
    }
    return Checked(_lists(table, cut, masks), findings, _objections(wrong), dict(sorted(bad.items())))


class _Drawn:
    """Masks of a picture's objects, drawn when they are asked for."""

    def __init__(self, outlines: Masks, source: ImageFiles, how: np.ndarray, sizes: np.ndarray) -> None:
        self.outlines = outlines
        self.source = source
        self.how = how
        self.sizes = sizes

    def __call__(self, picture: int, places: range) -> Tensor:
        how, (height, width) = int(self.how[picture]), self.sizes[picture].tolist()
        try:
            drawn = self.outlines.masks(places, *unturned((height, width), how))
        except ValueError as error:
            raise BadSamples(
                {picture: f"has a mask that cannot be drawn ({first_line(error)})"},
                {picture: self.source.name(picture)},
            ) from error
        return drawn if how == 1 else turned(drawn, *ORIENTATIONS[how])


def _sizes(source: ImageFiles, table: ObjectTable) -> np.ndarray:
    return np.array(
        [
            (h.height, h.width) if isinstance(h, Header) else size
            for h, size in zip(source.headers, table.sizes.tolist(), strict=True)
        ],
        np.int64,
    ).reshape(-1, 2)


def _of_outlines(table: ObjectTable, how: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of another size than their picture, and polygons that reach out of it by more than its size."""
    if table.outlines is None:
        return {}
    quarter = (how >= 5)[table.picture, None]
    drawn_on = np.where(quarter, sizes[table.picture][:, ::-1], sizes[table.picture])  # height, width before turning
    runs = table.outlines.sizes
    reach, far = table.outlines.reach(), drawn_on[:, ::-1].astype(np.float64)
    known = (far > 0).all(1)
    beyond = known & ((reach[:, :2] < -far) | (reach[:, 2:] > 2 * far)).any(1)
    return {
        "mask-size": known & (runs[:, 0] > 0) & (runs != drawn_on).any(1),
        "mask-outside": beyond | ((runs[:, 0] == 0) & ~np.isfinite(reach).all(1)),
    }


def _lists(table: ObjectTable, boxes: np.ndarray, masks: _Drawn | None) -> ObjectLists:
    counts = np.bincount(table.picture, minlength=len(table.sizes))
    own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    areas = np.where(np.isfinite(table.areas), table.areas, own)
    points = None if table.keypoints is None else torch.from_numpy(table.keypoints).float()
    objects = Objects(
        torch.from_numpy(boxes).float(),
        torch.from_numpy(np.maximum(table.labels, 0)),
        torch.from_numpy(table.crowd),
        torch.from_numpy(table.ignored),
        torch.from_numpy(areas).float(),
        None,
        points,
    )
    return ObjectLists(torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])), objects, masks)


def _remedy(kind: str) -> str:
    return WORDS[kind][1].removesuffix(".") + _LEAVE_OUT


def _objections(wrong: Sequence[Wrong]) -> list[Finding]:
    findings = []
    for kind, (words, _) in WORDS.items():
        those = [entry for entry in wrong if entry.kind == kind]
        if those:
            count = len({entry.picture for entry in those})
            shown = "; ".join(entry.reason for entry in those[:SHOWN])
            findings.append(
                Finding(
                    kind=kind,
                    severity="error",
                    message=f"{count} pictures {words}: {shown}{more(len(those))}",
                    remedy=_remedy(kind),
                    count=count,
                    where=tuple(entry.reason for entry in those),
                )
            )
    return findings


def _of_objects(table: ObjectTable, which: np.ndarray, kind: str, words: str, remedy: str) -> list[Finding]:
    places = [table.place(k) for k in np.nonzero(which)[0].tolist()]
    if not places:
        return []
    return [
        Finding(
            kind=kind,
            message=f"{len(places)} of {len(which):,} boxes {words}: {'; '.join(places[:SHOWN])}{more(len(places))}",
            remedy=remedy,
            where=tuple(places),
            count=len(places),
        )
    ]


def _twice(table: ObjectTable) -> np.ndarray:
    """(A,) bool: an object that stands in the same picture before, with the same class and box."""
    keys = np.column_stack([table.picture, table.labels, table.crowd, table.boxes])
    order = np.lexsort(keys.T[::-1])
    same = np.zeros(len(keys), bool)
    same[order[1:]] = (keys[order[1:]] == keys[order[:-1]]).all(1)
    return same


def _of_sizes(table: ObjectTable, source: ImageFiles, how: np.ndarray) -> list[Finding]:
    """Pictures whose size is told otherwise than it is."""
    differ = [
        k
        for k, (header, told) in enumerate(zip(source.headers, table.sizes.tolist(), strict=True))
        if isinstance(header, Header)
        and all(told)
        and tuple(told) != unturned((header.height, header.width), int(how[k]))
    ]
    if not differ:
        return []

    def said(k: int) -> str:
        header, (height, width) = source.headers[k], table.sizes[k].tolist()
        assert isinstance(header, Header)
        return f"{source.name(k)} has {header.width}x{header.height} pixels, not {width}x{height}"

    places = tuple(said(k) for k in differ)
    return [
        Finding(
            kind="size-differs",
            message=f"{len(differ)} pictures have another size than their annotations "
            f"tell: {'; '.join(places[:SHOWN])}{more(len(differ))}",
            where=places,
            count=len(differ),
            remedy="Boxes are taken as pixels of the file; annotate these pictures again if they were scaled.",
        )
    ]


def _of_empty(table: ObjectTable, source: ImageFiles, bad: set[int]) -> list[Finding]:
    none = np.nonzero(np.bincount(table.picture, minlength=len(source)) == 0)[0].tolist()
    empty = [k for k in none if k not in bad]
    if not empty:
        return []
    return [
        Finding(
            kind="empty-pictures",
            severity="note",
            count=len(empty),
            message=f"{len(empty)} of {len(source):,} pictures have no object",
            where=tuple(source.name(k) for k in empty[:SHOWN]),
        )
    ]


def _of_classes(table: ObjectTable, names: Sequence[str], given: np.ndarray | None) -> list[Finding]:
    usable = ~table.crowd & ~table.ignored & (table.labels >= 0)
    if given is not None:
        usable &= given[table.picture] == 0
    counts = np.bincount(table.labels[usable], minlength=len(names))
    unseen = [name for name, count in zip(names, counts, strict=True) if not count]
    if not unseen:
        return []
    return [
        Finding(
            kind="empty-class",
            count=len(unseen),
            where=tuple(unseen),
            message=f"{len(unseen)} classes have nothing to learn from: {', '.join(unseen[:SHOWN])}{more(len(unseen))}",
            remedy="Add training objects of them, or remove them.",
        )
    ]
