"""Pictures that are turned as their EXIF orientation says, and objects turned with them.

Boxes may have been drawn on the picture as it lies in the file, or as a viewer shows it. The size that the annotation
tells decides: where it is that of the file before turning, boxes, masks and keypoints are turned with the picture;
where it is that after, they are left. Where both are alike (half a turn, a mirror, a square), or none is told, they go
the way of most others in the set; without others, they are turned where a size is told, and left where none is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from snellen.core.views import Finding
from snellen.data.augment.dihedral import ORIENTATIONS, turned_points
from snellen.data.decode import image_decoder
from snellen.data.decode.header import Header, Unusable
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats.object_table import ObjectTable


def turns(source: ImageFiles, sizes: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """(N,) the orientation by which the objects of each picture are to be turned, 1 for none; and what is to be said.

    Args:
        sizes: (N, 2) int64 height and width as told, 0 where not.
    """
    how = np.ones(len(source), np.int64)
    before: list[int] = []
    unclear: list[int] = []
    after = 0
    for k, header in enumerate(source.headers):
        if not isinstance(header, Header) or "rotated" not in header.notes:
            continue
        how[k] = _orientation(source, k)
        read, told = (header.height, header.width), tuple(sizes[k].tolist())
        file = read[::-1] if how[k] >= 5 else read
        if read == file or told not in (read, file):
            unclear.append(k)
        elif told == file:
            before.append(k)
        else:
            after += 1
            how[k] = 1
    many = len(before) + len(unclear) + after
    if not many:
        return how, []
    turn = len(before) > after if len(before) != after else bool((sizes[unclear] > 0).all())
    if not turn:
        how[unclear] = 1
    done = int((how > 1).sum())
    return how, [
        Finding(
            kind="turned-objects",
            severity="note",
            count=many,
            message=f"{many} pictures are turned as "
            f"their orientation says: the objects of {done} are turned with them, those of {many - done} "
            f"left ({len(unclear)} have no size that tells which)",
            remedy="Save the pictures upright if boxes lie wrongly.",
        )
    ]


def _orientation(source: ImageFiles, k: int) -> int:
    try:
        told = image_decoder.orientation(source.path(k))
    except Unusable:  # the check says so
        return 1
    return told if told in ORIENTATIONS else 1


def turn(table: ObjectTable, how: np.ndarray, sizes: np.ndarray) -> ObjectTable:
    """The objects turned with their pictures.

    Args:
        how: (N,) orientations.
        sizes: (N, 2) height and width of each picture after turning.
    """
    boxes = torch.from_numpy(table.boxes.copy())
    points = None if table.keypoints is None else torch.from_numpy(table.keypoints.copy())
    for one in np.unique(how[how > 1]).tolist():
        those = torch.from_numpy(np.nonzero(how[table.picture] == one)[0])
        after = torch.from_numpy(sizes[table.picture])[those, None].unbind(2)  # (n, 1) height, (n, 1) width
        height, width = after if one < 5 else after[::-1]
        corners = turned_points(boxes[those].view(-1, 2, 2), width, height, *ORIENTATIONS[one])  # (n, 2, 2)
        boxes[those] = torch.cat([corners.amin(1), corners.amax(1)], 1)
        if points is not None:
            there = points[those, :, 2:]
            moved = turned_points(points[those, :, :2], width, height, *ORIENTATIONS[one])
            points[those] = torch.cat([torch.where(there > 0, moved, 0.0), there], 2)
    return dataclasses.replace(table, boxes=boxes.numpy(), keypoints=None if points is None else points.numpy())


def unturned(size: tuple[int, int], how: int) -> tuple[int, int]:
    """Height and width before turning."""
    return size if how < 5 else (size[1], size[0])
