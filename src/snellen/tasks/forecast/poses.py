"""Features of motion as poses: positions of the joints and their Euler angles."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.spec import Skeleton
from snellen.geometry.kinematics import forward_kinematics
from snellen.geometry.rotations import exp_map_to_matrix, matrix_to_euler


def positions(values: Tensor, skeleton: Skeleton) -> Tensor:
    """(..., D) features to (..., J, 3) positions of the joints, in the unit of the skeleton."""
    if skeleton.form == "positions":
        return skeleton.scale * values[..., _columns(skeleton.columns, values)]
    root = values[..., skeleton.root : skeleton.root + 3]
    offsets = torch.tensor(skeleton.offsets, dtype=values.dtype, device=values.device)
    return skeleton.scale * forward_kinematics(_rotations(values, skeleton), root, offsets, skeleton.parents)


def euler_angles(values: Tensor, skeleton: Skeleton) -> Tensor:
    """(..., D) features of angles to (..., C) radians: Euler angles ZYX of each joint that turns, but the root."""
    turning = [j for j, column in enumerate(skeleton.columns) if column >= 0 and skeleton.parents[j] >= 0]
    return matrix_to_euler(_rotations(values, skeleton)[..., turning, :, :], "ZYX").flatten(-2)


def _columns(first: tuple[int, ...], values: Tensor) -> Tensor:
    return torch.tensor(first, device=values.device)[:, None] + torch.arange(3, device=values.device)


def _rotations(values: Tensor, skeleton: Skeleton) -> Tensor:
    """(..., J, 3, 3), which turn column vectors."""
    turning = [j for j, column in enumerate(skeleton.columns) if column >= 0]
    maps = torch.zeros(*values.shape[:-1], len(skeleton.joints), 3, dtype=values.dtype, device=values.device)
    maps[..., turning, :] = values[..., _columns(tuple(skeleton.columns[j] for j in turning), values)]
    return exp_map_to_matrix(-maps if skeleton.inverse else maps)


def upright(places: Tensor, skeleton: Skeleton, present: int, count: int) -> Tensor:
    """(F, J, 3) positions as a viewer sees them, right, up and towards the viewer: the way of the root leads right.

    The root stands above the origin in the frame `present`, and the lowest joint of all frames on the floor. The way is
    that of the first `count` frames.
    """
    axis = "xyz".index(skeleton.up[-1])
    sign = -1.0 if skeleton.up.startswith("-") else 1.0
    up = sign * places[..., axis]
    # The other two axes in the order that keeps the frame right-handed: right x up = towards the viewer.
    toward, right = places[..., (axis + 1) % 3], sign * places[..., (axis + 2) % 3]
    way = torch.stack([right[count - 1, 0] - right[0, 0], toward[count - 1, 0] - toward[0, 0]])
    length = float(way.norm())
    height = float(up.max() - up.min())
    cosine, sine = (way / length).tolist() if length > height / 4 else (1.0, 0.0)
    right, toward = right - right[present, 0], toward - toward[present, 0]
    return torch.stack([cosine * right + sine * toward, up - up.min(), cosine * toward - sine * right], -1)
