"""Pictures that are turned as their EXIF orientation says, and objects turned with them.

Boxes may have been drawn on the picture as it lies in the file, or as a viewer shows it. The size that the annotation
tells decides: where it is that of the file before turning, boxes, masks and keypoints are turned with the picture;
where it is that after, they are left. Where both are alike (half a turn, a mirror, a square), or none is told, they go
the way of most others in the set; without others, they are turned where a size is told, and left where none is.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from snellen.core.views import Finding
from snellen.data.header import Header
from snellen.data.object_table import ObjectTable
from snellen.data.pictures import PictureFiles

_ORIENTATION = 274

# What Pillow does to a picture of an orientation.
METHODS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}  # fmt: skip


def orientation(path: Path) -> int:
    """1 to 8, after EXIF; 1 where the file tells none, or cannot be read."""
    try:
        with Image.open(path) as image:
            told = int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, ValueError, TypeError, SyntaxError):
        return 1
    return told if told in METHODS else 1


def turned_points(x: np.ndarray, y: np.ndarray, how: int, width: float,
                  height: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Points of a picture of this size before turning, where they are after. Coordinates are continuous."""
    if how in (2, 3, 7, 8):
        far_x = width - x
    else:
        far_x = x
    far_y = height - y if how in (3, 4, 6, 7) else y
    return {1: (x, y), 2: (far_x, y), 3: (far_x, far_y), 4: (x, far_y), 5: (y, x), 6: (far_y, x), 7: (far_y, far_x),
            8: (y, far_x)}[how]  # fmt: skip


def turned_masks(masks: Tensor, how: int) -> Tensor:
    """(n, H, W) of a picture before turning to (n, H', W') after."""
    if how in (5, 6, 7, 8):
        masks = masks.transpose(1, 2)
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(how, ())
    return masks.flip(flips).contiguous()


def turns(source: PictureFiles, sizes: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
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
        how[k] = orientation(source.path(k))
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
    return how, [Finding(kind="turned-objects", severity="note", count=many, message=f"{many} pictures are turned as "
                         f"their orientation says: the objects of {done} are turned with them, those of {many - done} "
                         f"left ({len(unclear)} have no size that tells which)",
                         remedy="Save the pictures upright if boxes lie wrongly.")]


def turn(table: ObjectTable, how: np.ndarray, sizes: np.ndarray) -> ObjectTable:
    """The objects turned with their pictures.

    Args:
        how: (N,) orientations.
        sizes: (N, 2) height and width of each picture after turning.
    """
    boxes = table.boxes.copy()
    points = None if table.keypoints is None else table.keypoints.copy()
    for one in np.unique(how[how > 1]).tolist():
        those = np.nonzero(how[table.picture] == one)[0]
        height, width = (sizes[table.picture[those]].T if one < 5 else sizes[table.picture[those]].T[::-1])
        x, y = turned_points(boxes[those][:, 0::2], boxes[those][:, 1::2], one, width[:, None], height[:, None])
        boxes[those] = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1)
        if points is not None:
            x, y = turned_points(points[those, :, 0], points[those, :, 1], one, width[:, None], height[:, None])
            labelled = points[those, :, 2] > 0
            points[those, :, 0], points[those, :, 1] = np.where(labelled, x, 0.0), np.where(labelled, y, 0.0)
    return dataclasses.replace(table, boxes=boxes, keypoints=points)


def unturned(size: tuple[int, int], how: int) -> tuple[int, int]:
    """Height and width before turning."""
    return size if how < 5 else (size[1], size[0])
