"""A recording of motion as a skeleton and its rotations; its pose as the numbers of a step, at any frame rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Skeleton
from snellen.geometry.kinematics import forward_kinematics
from snellen.geometry.rotations import between, exp_map_to_matrix, matrix_to_exp_map, nearest_exp_maps

Pose = Literal["angles", "positions"]
RATE_TOLERANCE = 1e-3  # of a ratio of frame rates: nearer to a whole number than this, frames are taken as they are


@dataclass(frozen=True, kw_only=True)
class MotionClip:
    """Motion of one skeleton.

    Args:
        joints, parents: names, and index of the parent of each joint (−1 of the root).
        offsets: (J, 3) float64 from the parent to each joint; (0, 3) where unknown.
        rotations: (T, J, 3) float64 exponential maps of the joints, which turn column vectors.
        root: (T, 3) float64 position of the root.
        turns: (J,) whether each joint has rotations in the file.
        inverse: whether the file holds the exponential maps of the inverse rotations.
        frame_rate: frames per second; None where the file states none.
        unit, scale: see `Skeleton`.
        rest: number of frames at the start that show the rest pose, not motion.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Tensor
    rotations: Tensor
    root: Tensor
    turns: tuple[bool, ...]
    inverse: bool = False
    frame_rate: float | None = None
    unit: str = ""
    scale: float = 1.0
    rest: int = 0

    @property
    def has_offsets(self) -> bool:
        return len(self.offsets) == len(self.joints)


def without_rest_pose(clip: MotionClip) -> MotionClip:
    """The clip without a first frame in which the root is not turned and stands where it stands in the second.

    Converters to BVH put the rest pose before the first frame of the recording.
    """
    if len(clip.root) < 3:
        return clip
    is_rest = (
        not bool(clip.rotations[0, 0].any())
        and bool(clip.rotations[1, 0].any())
        and bool((clip.root[0] == clip.root[1]).all())
    )
    return replace(clip, rotations=clip.rotations[1:], root=clip.root[1:], rest=1) if is_rest else clip


def resampled(clip: MotionClip, rate: float, new_rate: float) -> MotionClip:
    """The clip at another frame rate, from its first frame on.

    A rate that divides the old one takes every n-th frame; else the root is interpolated linearly, and rotations on the
    shortest way between two.
    """
    ratio = rate / new_rate
    if abs(ratio - round(ratio)) <= RATE_TOLERANCE * ratio and round(ratio) >= 1:
        step = round(ratio)
        return replace(clip, rotations=clip.rotations[::step], root=clip.root[::step], frame_rate=new_rate)
    count = int((len(clip.root) - 1) / ratio + 1e-9) + 1
    place = torch.arange(count, dtype=torch.float64) * ratio
    first = place.floor().long().clamp(max=max(0, len(clip.root) - 2))
    weight = place - first
    following = (first + 1).clamp(max=len(clip.root) - 1)
    root = clip.root[first] + weight[:, None] * (clip.root[following] - clip.root[first])
    start, end = (exp_map_to_matrix(clip.rotations[rows]) for rows in (first, following))
    matrices = between(start, end, weight[:, None].expand(start.shape[:2]))
    return replace(clip, root=root, rotations=matrix_to_exp_map(matrices), frame_rate=new_rate)


def positions_of(clip: MotionClip) -> Tensor:
    """(T, J, 3) of all joints, in the unit of the offsets."""
    return forward_kinematics(exp_map_to_matrix(clip.rotations), clip.root, clip.offsets, clip.parents)


def features(clip: MotionClip, pose: Pose) -> tuple[tuple[str, ...], np.ndarray, Skeleton]:
    """Names and values (T, D) float64 of the features of a pose, and the skeleton that describes them.

    Angles: the position of the root, and an exponential map of each joint that turns. Positions: of each joint but
    those that coincide with their parent.
    """
    if pose == "positions":
        return _positions(clip)
    turning = [j for j, turns in enumerate(clip.turns) if turns]
    sign = -1.0 if clip.inverse else 1.0
    maps = nearest_exp_maps(clip.rotations[:, turning]) if turning else clip.rotations[:, :0]
    values = torch.cat([clip.root, sign * maps.flatten(1)], 1)
    root = clip.joints[0]
    names = [f"{root} position {axis}" for axis in "xyz"]
    names += [f"{clip.joints[j]} {axis}" for j in turning for axis in "xyz"]
    skeleton = Skeleton(
        joints=clip.joints,
        parents=clip.parents,
        form="exponential-maps",
        columns=tuple(3 + 3 * turning.index(j) if j in turning else -1 for j in range(len(clip.joints))),
        root=0,
        offsets=tuple((float(x), float(y), float(z)) for x, y, z in clip.offsets.tolist()),
        inverse=clip.inverse,
        unit=clip.unit,
        scale=clip.scale,
    )
    return tuple(names), values.numpy(), skeleton


def _positions(clip: MotionClip) -> tuple[tuple[str, ...], np.ndarray, Skeleton]:
    of_joint: dict[int, int] = {}  # joint to its index among those that remain, or that of its parent
    joints: list[int] = []
    for j, parent in enumerate(clip.parents):
        if parent >= 0 and not bool(clip.offsets[j].any()):
            of_joint[j] = of_joint[parent]
        else:
            of_joint[j] = len(joints)
            joints.append(j)
    values = positions_of(clip)[:, joints].flatten(1)
    skeleton = Skeleton(
        joints=tuple(clip.joints[j] for j in joints),
        parents=tuple(-1 if clip.parents[j] < 0 else of_joint[clip.parents[j]] for j in joints),
        form="positions",
        columns=tuple(range(0, 3 * len(joints), 3)),
        unit=clip.unit,
        scale=clip.scale,
    )
    return tuple(f"{clip.joints[j]} {axis}" for j in joints for axis in "xyz"), values.numpy(), skeleton
