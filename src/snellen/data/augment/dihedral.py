"""Dihedral transforms (flips and quarter turns) of images and their annotations.

Coordinates are continuous: a horizontal flip maps x to W − x. Vectors are transformed with the image: flow (u right,
v down) and normals (x right, y up, z towards the viewer).
"""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.spec import Boxes, PixelNumbers, Target
from snellen.data.annotations import Annotation

# EXIF orientation -> (horizontal flip, then number of counterclockwise quarter turns).
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


def dihedral_transform(x: Tensor, hflip: bool, quarter_turns: int) -> Tensor:
    """Flip (..., H, W) horizontally, then rotate it counterclockwise; odd quarter turns swap height and width."""
    return torch.rot90(x.flip(-1) if hflip else x, quarter_turns, (-2, -1))


def transform_annotation(
    annotation: Annotation, target: Target | None, width: int, height: int, hflip: bool, quarter_turns: int
) -> Annotation:
    """Apply `dihedral_transform` to the annotation of an image of `width` x `height` pixels.

    Args:
        target: states which numbers are vectors, and which keypoints swap in a flip.
    """
    if isinstance(annotation, GroundTruth):
        return _objects(annotation, target, width, height, hflip, quarter_turns)
    transformed = dihedral_transform(annotation, hflip, quarter_turns)
    if not isinstance(target, PixelNumbers) or target.kind not in ("flow", "normals"):
        return transformed
    right, down = transformed[0], transformed[1] if target.kind == "flow" else -transformed[1]
    right = -right if hflip else right
    for _ in range(quarter_turns % 4):
        right, down = down, -right
    return torch.cat([torch.stack([right, down if target.kind == "flow" else -down]), transformed[2:]])


def _objects(
    annotation: GroundTruth, target: Target | None, width: int, height: int, hflip: bool, quarter_turns: int
) -> GroundTruth:
    corners = transform_points(annotation.boxes.view(-1, 2, 2), width, height, hflip, quarter_turns)  # (N, 2, 2)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    masks = None if annotation.masks is None else dihedral_transform(annotation.masks, hflip, quarter_turns)
    points = annotation.keypoints
    if points is not None:
        visibility = points[..., 2:]
        xy = transform_points(points[..., :2], width, height, hflip, quarter_turns)
        points = torch.cat([torch.where(visibility > 0, xy, 0.0), visibility], -1)
        if hflip and isinstance(target, Boxes) and target.mirrored:
            order = torch.arange(points.shape[1], device=points.device)
            for a, b in target.mirrored:
                order[a], order[b] = b, a
            points = points[:, order]
    return annotation._replace(boxes=boxes, masks=masks, keypoints=points)


def transform_points(xy: Tensor, width: int | Tensor, height: int | Tensor, hflip: bool, quarter_turns: int) -> Tensor:
    """Apply `dihedral_transform` to points (..., 2) of an image, or of one image each with these sizes."""
    x, y = xy.unbind(-1)
    x = width - x if hflip else x
    for _ in range(quarter_turns % 4):
        x, y = y, width - x
        width, height = height, width
    return torch.stack([x, y], -1)
