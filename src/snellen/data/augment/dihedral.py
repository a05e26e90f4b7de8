"""Mirrors and quarter turns of pictures and of all that is told of places in them: the eight ways a picture can lie.

Coordinates are continuous: a mirror takes x to W − x. Vectors turn with the picture: flow (u right, v down) and
normals (x right, y up, z towards the viewer).
"""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.detections import Objects
from snellen.core.spec import Boxes, PixelNumbers, Target
from snellen.data.annotations import Truth

# EXIF orientation -> (mirrored left to right, then so many quarter turns against the clock).
ORIENTATIONS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


def turned(x: Tensor, mirror: bool, quarters: int) -> Tensor:
    """(..., H, W) mirrored left to right, then turned against the clock; its sides change places with odd quarters."""
    return torch.rot90(x.flip(-1) if mirror else x, quarters, (-2, -1))


def turned_truth(truth: Truth, target: Target | None, width: int, height: int, mirror: bool, quarters: int) -> Truth:
    """The truth of a picture of `width` x `height` pixels that is `turned` so.

    Args:
        target: says which numbers are vectors, and which keypoints change places in a mirror.
    """
    if isinstance(truth, Objects):
        return _objects(truth, target, width, height, mirror, quarters)
    moved = turned(truth, mirror, quarters)
    if not isinstance(target, PixelNumbers) or target.kind not in ("flow", "normals"):
        return moved
    right, down = moved[0], moved[1] if target.kind == "flow" else -moved[1]
    right = -right if mirror else right
    for _ in range(quarters % 4):
        right, down = down, -right
    return torch.cat([torch.stack([right, down if target.kind == "flow" else -down]), moved[2:]])


def _objects(truth: Objects, target: Target | None, width: int, height: int, mirror: bool, quarters: int) -> Objects:
    corners = turned_points(truth.boxes.view(-1, 2, 2), width, height, mirror, quarters)  # (N, 2, 2)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    masks = None if truth.masks is None else turned(truth.masks, mirror, quarters)
    points = truth.keypoints
    if points is not None:
        there = points[..., 2:]
        moved = turned_points(points[..., :2], width, height, mirror, quarters)
        points = torch.cat([torch.where(there > 0, moved, 0.0), there], -1)
        if mirror and isinstance(target, Boxes) and target.mirrored:
            order = torch.arange(points.shape[1], device=points.device)
            for a, b in target.mirrored:
                order[a], order[b] = b, a
            points = points[:, order]
    return truth._replace(boxes=boxes, masks=masks, keypoints=points)


def turned_points(xy: Tensor, width: int | Tensor, height: int | Tensor, mirror: bool, quarters: int) -> Tensor:
    """(..., 2) places in a picture, or in one of many of these sizes, to where they lie after turning it."""
    x, y = xy.unbind(-1)
    x = width - x if mirror else x
    for _ in range(quarters % 4):
        x, y = y, width - x
        width, height = height, width
    return torch.stack([x, y], -1)
