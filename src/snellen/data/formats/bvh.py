"""BVH motion (Biovision Hierarchy): a skeleton and the frames of one recording, angles in degrees.

The rotation of a joint is the product, from left to right, of those of its channels, each about an axis of the turning
frame. Positions of the root are added to its offset.

Source: Meredith and Maddock 2001, "Motion capture file formats explained".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.data.formats.acclaim import numbers_of, text_lines
from snellen.data.motion_clip import MotionClip
from snellen.geometry.rotations import euler_to_matrix, matrix_to_exp_map

_CHANNELS = {f"{axis}{kind}": (axis.upper(), kind) for axis in "xyz" for kind in ("rotation", "position")}
MOVED = 1e-3  # of the unit: channels of positions of a joint that vary by less are its offset


@dataclass(kw_only=True)
class _Joint:
    name: str
    parent: int
    line: int
    offset: tuple[float, ...] = ()
    channels: list[tuple[str, str]] = field(default_factory=list)


def read_bvh(path: Path) -> MotionClip:
    """Read a recording.

    Raises:
        DataError: no HIERARCHY or MOTION, unbalanced braces, an unknown channel, a frame of another number of values, a
            joint besides the root that moves against its parent.
    """
    lines = text_lines(path, "a .bvh file")
    split = next((k for k, (_, words) in enumerate(lines) if words[0].upper() == "MOTION"), None)
    if not lines or lines[0][1][0].upper() != "HIERARCHY" or split is None:
        missing = "MOTION" if lines and lines[0][1][0].upper() == "HIERARCHY" else "HIERARCHY"
        raise DataError(f"{path} has no {missing}: it is no BVH file", "Export the motion as BVH again.")
    joints = _hierarchy(path, lines[1:split])
    values, frame_time = _frames(path, lines[split:], joints)
    return _clip(path, joints, values, frame_time)


def _hierarchy(path: Path, lines: list[tuple[int, list[str]]]) -> list[_Joint]:
    """The joints in the order of the file, that of their channels."""
    joints: list[_Joint] = []
    open_joints: list[int] = []
    pending = False  # a joint that is named and not yet opened by a brace
    for number, words in lines:
        key = words[0].upper()
        if key in ("ROOT", "JOINT", "END"):
            if key == "ROOT" and joints:
                raise DataError(f"{path}, line {number}: a second ROOT", "Give one skeleton a file.")
            if key != "ROOT" and not open_joints:
                raise DataError(f"{path}, line {number}: a joint outside of the ROOT", "Export the motion again.")
            parent = open_joints[-1] if open_joints else -1
            name = " ".join(words[1:]) if key != "END" else f"{joints[parent].name} end"
            if not name or any(joint.name == name for joint in joints):
                problem = f"the joint {name!r} occurs twice" if name else "a joint without a name"
                raise DataError(f"{path}, line {number}: {problem}", "Give each joint a name of its own.")
            joints.append(_Joint(name=name, parent=parent, line=number))
            pending = True
        elif key == "{" and pending:
            open_joints.append(len(joints) - 1)
            pending = False
        elif key == "}" and open_joints and not pending:
            open_joints.pop()
        elif key == "OFFSET" and open_joints:
            joints[open_joints[-1]].offset = numbers_of(path, number, words[1:], 3)
        elif key == "CHANNELS" and open_joints:
            joints[open_joints[-1]].channels = _channels(path, number, words[1:])
        else:
            raise DataError(f"{path}, line {number}: {' '.join(words)!r} is not expected here", "Export it again.")
    if open_joints or not joints:
        line = joints[open_joints[-1]].line if joints else lines[0][0] if lines else 1
        raise DataError(f"{path}, line {line}: the braces of a joint are not closed", "Export the motion again.")
    without = next((joint for joint in joints if not joint.offset), None)
    if without is not None:
        raise DataError(f"{path}, line {without.line}: {without.name!r} has no OFFSET", "Export the motion again.")
    return joints


def _channels(path: Path, number: int, words: list[str]) -> list[tuple[str, str]]:
    count, names = (words[0] if words else ""), [word.lower() for word in words[1:]]
    bad = next((name for name in names if name not in _CHANNELS), None)
    if bad is not None or count != str(len(names)) or len(set(names)) < len(names):
        counts = f"{count or 'no'} channels announced, {len(names)} different ones named"
        problem = f"the channel {bad!r} is unknown" if bad else counts
        raise DataError(
            f"{path}, line {number}: {problem}", f"Channels are {', '.join(_CHANNELS)}, each once, after their number."
        )
    return [_CHANNELS[name] for name in names]


def _frames(path: Path, lines: list[tuple[int, list[str]]], joints: list[_Joint]) -> tuple[np.ndarray, float]:
    """(T, C) values of the channels, and the seconds of a frame."""
    width = sum(len(joint.channels) for joint in joints)
    announced, frame_time = None, None
    rows: list[tuple[float, ...]] = []
    last = lines[0][0]
    for number, words in lines[1:]:
        last, key = number, " ".join(words).upper()
        if key.startswith("FRAMES:"):
            announced = int(numbers_of(path, number, words[-1:], 1)[0])
        elif key.startswith("FRAME TIME:"):
            (frame_time,) = numbers_of(path, number, words[-1:], 1)
        else:
            rows.append(numbers_of(path, number, words, width, "channels"))
    if frame_time is None or not frame_time > 0:
        raise DataError(f"{path}, line {last}: no frame time above 0", "Write Frame Time: with the seconds of a frame.")
    if not rows or (announced is not None and announced != len(rows)):
        raise DataError(
            f"{path}, line {last}: {len(rows)} frames, {announced or 0} are announced",
            "Correct the line Frames:, or export the motion again: the file may be cut off.",
        )
    return np.array(rows, dtype=np.float64).reshape(len(rows), width), frame_time


def _clip(path: Path, joints: list[_Joint], values: np.ndarray, frame_time: float) -> MotionClip:
    frames = len(values)
    offsets = torch.tensor([joint.offset for joint in joints], dtype=torch.float64)
    rotations = torch.zeros(frames, len(joints), 3, dtype=torch.float64)
    root = torch.zeros(frames, 3, dtype=torch.float64)
    column = 0
    for j, joint in enumerate(joints):
        own = torch.from_numpy(values[:, column : column + len(joint.channels)])
        column += len(joint.channels)
        turning = [k for k, (_, kind) in enumerate(joint.channels) if kind == "rotation"]
        for k, (axis, kind) in enumerate(joint.channels):
            place = "XYZ".index(axis)
            if kind == "position" and j == 0:
                root[:, place] = own[:, k]
            elif kind == "position":
                if float(own[:, k].max() - own[:, k].min()) > MOVED:
                    raise DataError(
                        f"{path}, line {joint.line}: {joint.name!r} moves against its parent "
                        f"({axis.lower()}position from {float(own[:, k].min()):g} to {float(own[:, k].max()):g})",
                        "Export the motion with bones of constant length.",
                    )
                offsets[j, place] = own[0, k]
        if turning:
            order = "".join(joint.channels[k][0] for k in turning)
            rotations[:, j] = matrix_to_exp_map(euler_to_matrix(own[:, turning] * math.pi / 180, order))
    return MotionClip(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=offsets,
        rotations=rotations,
        root=root,
        turns=tuple(any(kind == "rotation" for _, kind in joint.channels) for joint in joints),
        frame_rate=_round_rate(1 / frame_time),
    )


def _round_rate(rate: float) -> float:
    """A rate within 0.1 % of a whole number is that number: 0.0083333 s is 120 frames per second."""
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) < 1e-3 else rate
