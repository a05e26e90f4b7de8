"""Checks of object annotations before training.

Errors, which make an image unusable: boxes without area, boxes entirely outside, coordinates that are not numbers,
unknown classes. Warnings, for objects that can be used: boxes that extend beyond their image by more than a pixel (they
are clipped), boxes of one pixel's width or height, duplicate boxes, sizes that differ from the file's. An overhang of
up to a pixel is due to rounding and is clipped without a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.errors import DataError, first_line
from snellen.core.views import Finding
from snellen.data.annotations import ObjectAnnotations
from snellen.data.augment.dihedral import ORIENTATIONS, dihedral_transform
from snellen.data.check.findings import MAX_NAMES, and_more
from snellen.data.decode.exif import object_orientations, rotate_objects, stored_size
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats.object_table import AnnotationProblem, MaskSource, ObjectTable
from snellen.data.source import BadSamples, Skipped

_MIN_SIDE_OF_UNITS = 4  # pixels; boxes of smaller images may lie within 0 ... 1
TOLERANCE = 1.0  # pixels of overhang, or of a side, up to which a box is not reported / is reported as thin

ERROR_MESSAGES = {  # kind of an error -> message after the number of images, remedy
    "annotation": ("whose annotations cannot be read", "Repair them."),
    "not-a-number": ("with coordinates that are not numbers", "Repair the boxes."),
    "swapped-corners": (
        "with boxes whose corners are exchanged (xmax < xmin or ymax < ymin)",
        "Exchange the two corners in the files (of COCO, make width and height positive).",
    ),
    "no-area": ("with boxes without area", "Correct or remove the boxes."),
    "keypoints-outside": ("with keypoints far outside the image", "Correct them, or mark them as not labelled."),
    "outside": ("with boxes outside the image", "Correct or remove the boxes."),
    "mask-size": ("with masks of another size", "Make the masks at the size of these images."),
    "mask-outside": ("with masks outside the image", "Correct or remove the masks."),
    "unknown-class": ("with objects of an unknown class", "Add the class, or correct the objects."),
}
_OR_SKIP = ", or skip the images with --quarantine."


class CheckedObjects(NamedTuple):
    """Usable objects, and the findings of the check.

    findings: about usable objects. bad_sample_findings: errors. bad_samples: the images with these errors.
    """

    annotations: ObjectAnnotations
    findings: list[Finding]
    bad_sample_findings: list[Finding]
    bad_samples: dict[int, Skipped]


def check_objects(
    table: ObjectTable, source: ImageFiles, names: Sequence[str], given: np.ndarray | None
) -> CheckedObjects:
    """Check the objects of all images and clip their boxes to the images.

    Args:
        names: class names.
        given: (N,) index into SPLITS, or None.
    """
    sizes = _sizes(source, table)  # (N, 2) height, width as read; 0 if unknown
    ordered = (table.boxes[:, 2:] > table.boxes[:, :2]).all(1)
    swapped = (table.boxes[:, 2:] < table.boxes[:, :2]).any(1)
    _check_units(table, source)
    corners = table.boxes + np.array([table.first_pixel] * 2 + [0, 0])  # as in the file, before any rotation
    orientations, orientation_findings = object_orientations(source, table.sizes)
    table = rotate_objects(table, orientations, sizes)
    height, width = sizes[table.image_index].T.astype(np.float64)
    size_known, finite = width > 0, np.isfinite(table.boxes).all(1)
    boxes = np.where(finite[:, None], table.boxes, 0.0)
    x1, y1, x2, y2 = boxes.T
    outside = size_known & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
    overhang = np.maximum.reduce([-x1, -y1, x2 - width, y2 - height])
    errors = {
        "not-a-number": ~finite,
        "swapped-corners": finite & swapped,
        "no-area": finite & ~ordered & ~swapped,
        "outside": finite & ordered & outside,
        "unknown-class": table.labels < 0,
        "keypoints-outside": _far_keypoints(table, width, height) & size_known,
        **_mask_errors(table, orientations, sizes),
    }
    problems = [*table.problems]
    for kind, selected in errors.items():
        problems += [
            AnnotationProblem(
                int(table.image_index[k]), kind, table.describe(k) + _values(table, corners, kind, k, sizes)
            )
            for k in np.nonzero(selected)[0].tolist()
        ]
    valid = finite & ordered & ~outside
    findings = [
        *_box_findings(
            table,
            valid & size_known & (overhang > TOLERANCE),
            "overhang",
            "extend beyond their image by more than a pixel: they are clipped",
            "Check that the boxes belong to these images.",
        ),
        *_box_findings(
            table,
            valid & ~table.crowd & (np.minimum(x2 - x1, y2 - y1) <= TOLERANCE),
            "thin",
            "have a side of at most one pixel",
            "Check them: they may be accidental.",
        ),
        *_box_findings(
            table,
            _is_duplicate(table),
            "duplicate-objects",
            "are duplicates: same image, class and box",
            "Remove one of each.",
        ),
        *_keypoint_findings(table, size_known, width, height),
        *orientation_findings,
        *_size_findings(table, source, orientations),
        *_empty_image_findings(table, source, {entry.image for entry in problems}),
        *_empty_class_findings(table, names, given),
    ]
    limits = np.where(size_known[:, None], np.stack([width, height, width, height], 1), np.inf)
    clipped = np.clip(boxes, 0.0, limits)
    masks = None if table.masks is None else _MaskLoader(table.masks, source, orientations, sizes)
    bad = {
        entry.image: Skipped(source.name(entry.image), f"has invalid annotations: {entry.reason}", _remedy(entry.kind))
        for entry in reversed(problems)
    }
    return CheckedObjects(
        _object_annotations(table, clipped, masks), findings, _error_findings(problems), dict(sorted(bad.items()))
    )


def _check_units(table: ObjectTable, source: ImageFiles) -> None:
    """Raise DataError if all boxes are fractions of their image: an annotation in pixels is never so small.

    Boxes are in pixels here, so no format that stores fractions is concerned.
    """
    boxes = table.boxes[np.isfinite(table.boxes).all(1)]
    large = [h for h in source.headers if isinstance(h, Header) and min(h.height, h.width) > _MIN_SIDE_OF_UNITS]
    if len(boxes) and large and boxes.min() >= 0 and boxes.max() <= 1 and bool((boxes % 1 != 0).any()):
        shown = ", ".join(f"{value:g}" for value in boxes[0])
        raise DataError(
            f"{source.root}: all {len(boxes):,} boxes lie within 0 ... 1 (corners {shown} of {table.describe(0)}): "
            "they are fractions of the image, and this format counts pixels",
            "Multiply x by the width and y by the height of each image.",
        )


def _values(table: ObjectTable, corners: np.ndarray, kind: str, k: int, sizes: np.ndarray) -> str:
    """The values that are wrong, for messages; "" for kinds that need none."""
    if kind == "swapped-corners":
        x1, y1, x2, y2 = (f"{value:g}" for value in corners[k])
        return f" (xmin {x1}, ymin {y1}, xmax {x2}, ymax {y2})"
    if kind == "keypoints-outside" and table.keypoints is not None:
        height, width = sizes[table.image_index[k]].tolist()
        points = table.keypoints[k]
        points = points[points[:, 2] > 0]
        middle = np.array([width / 2, height / 2])
        x, y, _ = points[np.argmax(np.abs(points[:, :2] - middle).max(1))]
        return f" has a keypoint at {x:g}, {y:g}, its image {width}x{height} pixels"
    return ""


def _keypoint_distances(table: ObjectTable, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(A, 2) largest distance in pixels by which labelled keypoints lie outside their image, in x and in y."""
    if table.keypoints is None:
        return np.zeros((len(table.image_index), 2))
    limits = np.stack([width, height], 1)[:, None]  # (A, 1, 2)
    points, labelled = table.keypoints[..., :2], table.keypoints[..., 2] > 0
    distances = np.where(labelled[..., None], np.maximum(-points, points - limits), 0.0)
    distance: np.ndarray = distances.max(1, initial=0.0)
    return distance


def _far_keypoints(table: ObjectTable, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(A,) bool: whether a labelled keypoint lies outside its image by more than the image's size."""
    return np.asarray((_keypoint_distances(table, width, height) > np.stack([width, height], 1)).any(1))


def _keypoint_findings(
    table: ObjectTable, size_known: np.ndarray, width: np.ndarray, height: np.ndarray
) -> list[Finding]:
    outside = (_keypoint_distances(table, width, height) > TOLERANCE).any(1) & size_known
    descriptions = [table.describe(k) for k in np.nonzero(outside)[0].tolist()]
    if not descriptions:
        return []
    return [
        Finding(
            kind="keypoints-outside",
            message=f"{len(descriptions)} of {len(outside):,} objects have keypoints outside their image: "
            f"{'; '.join(descriptions[:MAX_NAMES])}{and_more(len(descriptions))}",
            remedy="Check that the keypoints belong to these images.",
            where=tuple(descriptions),
            count=len(descriptions),
        )
    ]


class _MaskLoader:
    """Loader of the masks of an image's objects, rasterised on demand."""

    def __init__(
        self, mask_source: MaskSource, source: ImageFiles, orientations: np.ndarray, sizes: np.ndarray
    ) -> None:
        self.mask_source = mask_source
        self.source = source
        self.orientations = orientations
        self.sizes = sizes

    def __call__(self, image: int, indices: range) -> Tensor:
        orientation, (height, width) = int(self.orientations[image]), self.sizes[image].tolist()
        try:
            masks = self.mask_source.masks(indices, *stored_size((height, width), orientation))
        except ValueError as error:
            raise BadSamples(
                {image: f"has a mask that cannot be rasterised ({first_line(error)})"},
                {image: self.source.name(image)},
            ) from error
        return masks if orientation == 1 else dihedral_transform(masks, *ORIENTATIONS[orientation])


def _sizes(source: ImageFiles, table: ObjectTable) -> np.ndarray:
    return np.array(
        [
            (h.height, h.width) if isinstance(h, Header) else size
            for h, size in zip(source.headers, table.sizes.tolist(), strict=True)
        ],
        np.int64,
    ).reshape(-1, 2)


def _mask_errors(table: ObjectTable, orientations: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of another size than their image, and polygons that extend beyond it by more than its size."""
    if table.masks is None:
        return {}
    quarter = (orientations >= 5)[table.image_index, None]
    displayed_sizes = sizes[table.image_index]
    stored_sizes = np.where(quarter, displayed_sizes[:, ::-1], displayed_sizes)  # height, width before rotation
    mask_sizes = table.masks.sizes
    bounds, limits = table.masks.bounds(), stored_sizes[:, ::-1].astype(np.float64)
    known = (limits > 0).all(1)
    outside = known & ((bounds[:, :2] < -limits) | (bounds[:, 2:] > 2 * limits)).any(1)
    return {
        "mask-size": known & (mask_sizes[:, 0] > 0) & (mask_sizes != stored_sizes).any(1),
        "mask-outside": outside | ((mask_sizes[:, 0] == 0) & ~np.isfinite(bounds).all(1)),
    }


def _object_annotations(table: ObjectTable, boxes: np.ndarray, masks: _MaskLoader | None) -> ObjectAnnotations:
    counts = np.bincount(table.image_index, minlength=len(table.sizes))
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    areas = np.where(np.isfinite(table.areas), table.areas, box_areas)
    points = None if table.keypoints is None else torch.from_numpy(table.keypoints).float()
    objects = GroundTruth(
        torch.from_numpy(boxes).float(),
        torch.from_numpy(np.maximum(table.labels, 0)),
        torch.from_numpy(table.crowd),
        torch.from_numpy(table.ignored),
        torch.from_numpy(areas).float(),
        None,
        points,
    )
    return ObjectAnnotations(torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])), objects, masks)


def _remedy(kind: str) -> str:
    return ERROR_MESSAGES[kind][1].removesuffix(".") + _OR_SKIP


def _error_findings(problems: Sequence[AnnotationProblem]) -> list[Finding]:
    findings = []
    for kind, (description, _) in ERROR_MESSAGES.items():
        selected = [entry for entry in problems if entry.kind == kind]
        if selected:
            count = len({entry.image for entry in selected})
            first = "; ".join(entry.reason for entry in selected[:MAX_NAMES])
            findings.append(
                Finding(
                    kind=kind,
                    severity="error",
                    message=f"{count} images {description}: {first}{and_more(len(selected))}",
                    remedy=_remedy(kind),
                    count=count,
                    where=tuple(entry.reason for entry in selected),
                )
            )
    return findings


def _box_findings(table: ObjectTable, selected: np.ndarray, kind: str, description: str, remedy: str) -> list[Finding]:
    descriptions = [table.describe(k) for k in np.nonzero(selected)[0].tolist()]
    if not descriptions:
        return []
    return [
        Finding(
            kind=kind,
            message=f"{len(descriptions)} of {len(selected):,} boxes {description}: "
            f"{'; '.join(descriptions[:MAX_NAMES])}{and_more(len(descriptions))}",
            remedy=remedy,
            where=tuple(descriptions),
            count=len(descriptions),
        )
    ]


def _is_duplicate(table: ObjectTable) -> np.ndarray:
    """(A,) bool: whether an earlier object of the same image has the same class and box."""
    keys = np.column_stack([table.image_index, table.labels, table.crowd, table.boxes])
    order = np.lexsort(keys.T[::-1])
    same = np.zeros(len(keys), bool)
    same[order[1:]] = (keys[order[1:]] == keys[order[:-1]]).all(1)
    return same


def _size_findings(table: ObjectTable, source: ImageFiles, orientations: np.ndarray) -> list[Finding]:
    """Images whose size differs from that in their annotations."""
    differ = [
        k
        for k, (header, annotated) in enumerate(zip(source.headers, table.sizes.tolist(), strict=True))
        if isinstance(header, Header)
        and all(annotated)
        and tuple(annotated) != stored_size((header.height, header.width), int(orientations[k]))
    ]
    if not differ:
        return []

    def describe(k: int) -> str:
        header, (height, width) = source.headers[k], table.sizes[k].tolist()
        assert isinstance(header, Header)
        return f"{source.name(k)} has {header.width}x{header.height} pixels, not {width}x{height}"

    descriptions = tuple(describe(k) for k in differ)
    return [
        Finding(
            kind="size-differs",
            message=f"{len(differ)} images have another size than in their annotations: "
            f"{'; '.join(descriptions[:MAX_NAMES])}{and_more(len(differ))}",
            where=descriptions,
            count=len(differ),
            remedy="Boxes are interpreted as pixels of the file; scale the annotations if the images were resized.",
        )
    ]


def _empty_image_findings(table: ObjectTable, source: ImageFiles, bad: set[int]) -> list[Finding]:
    without_objects = np.nonzero(np.bincount(table.image_index, minlength=len(source)) == 0)[0].tolist()
    empty = [k for k in without_objects if k not in bad]
    if not empty:
        return []
    return [
        Finding(
            kind="empty-pictures",
            severity="note",
            count=len(empty),
            message=f"{len(empty)} of {len(source):,} images have no object",
            where=tuple(source.name(k) for k in empty[:MAX_NAMES]),
        )
    ]


def _empty_class_findings(table: ObjectTable, names: Sequence[str], given: np.ndarray | None) -> list[Finding]:
    usable = ~table.crowd & ~table.ignored & (table.labels >= 0)
    if given is not None:
        usable &= given[table.image_index] == 0
    counts = np.bincount(table.labels[usable], minlength=len(names))
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if not missing:
        return []
    return [
        Finding(
            kind="empty-class",
            count=len(missing),
            where=tuple(missing),
            message=f"{len(missing)} classes have no training objects: "
            f"{', '.join(missing[:MAX_NAMES])}{and_more(len(missing))}",
            remedy="Add training objects of these classes, or remove the classes.",
        )
    ]
