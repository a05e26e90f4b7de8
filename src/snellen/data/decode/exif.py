"""EXIF orientation of images, and the rotation of their object annotations.

Annotations may refer to the image as stored, or as displayed after rotation. The image size in the annotation decides:
if it is the stored size, boxes, masks and keypoints are rotated with the image; if it is the displayed size, they are
kept. If both are equal (180 degrees, a flip, a square), or no size is given, the majority of the dataset decides;
without a majority, they are rotated if a size is given, and kept otherwise.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from snellen.core.views import Finding
from snellen.data.augment.dihedral import ORIENTATIONS, transform_points
from snellen.data.decode import image_decoder
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats.object_table import ObjectTable


def object_orientations(source: ImageFiles, sizes: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """(N,) EXIF orientation by which to rotate the objects of each image, 1 for none; and a finding.

    Args:
        sizes: (N, 2) int64 height and width in the annotations, 0 if missing.
    """
    orientations = np.ones(len(source), np.int64)
    as_stored: list[int] = []
    ambiguous: list[int] = []
    as_displayed = 0
    for k, header in enumerate(source.headers):
        if not isinstance(header, Header) or "rotated" not in header.notes:
            continue
        orientations[k] = _orientation(source, k)
        displayed, annotated = (header.height, header.width), tuple(sizes[k].tolist())
        stored = displayed[::-1] if orientations[k] >= 5 else displayed
        if displayed == stored or annotated not in (displayed, stored):
            ambiguous.append(k)
        elif annotated == stored:
            as_stored.append(k)
        else:
            as_displayed += 1
            orientations[k] = 1
    num_images = len(as_stored) + len(ambiguous) + as_displayed
    if not num_images:
        return orientations, []
    rotate_ambiguous = (
        len(as_stored) > as_displayed if len(as_stored) != as_displayed else bool((sizes[ambiguous] > 0).all())
    )
    if not rotate_ambiguous:
        orientations[ambiguous] = 1
    num_rotated = int((orientations > 1).sum())
    return orientations, [
        Finding(
            kind="turned-objects",
            severity="note",
            count=num_images,
            message=f"{num_images} images have an EXIF rotation. It is applied to the annotations of {num_rotated}, "
            f"not to those of {num_images - num_rotated} ({len(ambiguous)} are ambiguous)",
            remedy="Save the images upright if boxes are misplaced.",
        )
    ]


def _orientation(source: ImageFiles, k: int) -> int:
    try:
        orientation = image_decoder.orientation(source.path(k))
    except UnusableFile:  # the data check reports it
        return 1
    return orientation if orientation in ORIENTATIONS else 1


def rotate_objects(table: ObjectTable, orientations: np.ndarray, sizes: np.ndarray) -> ObjectTable:
    """Rotate objects with their images.

    Args:
        orientations: (N,) EXIF orientations.
        sizes: (N, 2) height and width of each image after rotation.
    """
    boxes = torch.from_numpy(table.boxes.copy())
    points = None if table.keypoints is None else torch.from_numpy(table.keypoints.copy())
    for orientation in np.unique(orientations[orientations > 1]).tolist():
        selected = torch.from_numpy(np.nonzero(orientations[table.image_index] == orientation)[0])
        displayed = torch.from_numpy(sizes[table.image_index])[selected, None].unbind(2)  # (n, 1) height, (n, 1) width
        height, width = displayed if orientation < 5 else displayed[::-1]
        corners = transform_points(
            boxes[selected].view(-1, 2, 2), width, height, *ORIENTATIONS[orientation]
        )  # (n, 2, 2)
        boxes[selected] = torch.cat([corners.amin(1), corners.amax(1)], 1)
        if points is not None:
            visibility = points[selected, :, 2:]
            rotated = transform_points(points[selected, :, :2], width, height, *ORIENTATIONS[orientation])
            points[selected] = torch.cat([torch.where(visibility > 0, rotated, 0.0), visibility], 2)
    return dataclasses.replace(table, boxes=boxes.numpy(), keypoints=None if points is None else points.numpy())


def stored_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Height and width before rotation."""
    return size if orientation < 5 else (size[1], size[0])
