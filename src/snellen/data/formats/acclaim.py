"""Acclaim motion: a skeleton in an .asf file, and the frames of recordings in .amc files.

A bone of an .asf file begins where its parent ends. Its rotation in a frame is L = C · M · C⁻¹: M is the product of the
rotations about its degrees of freedom, C that of the angles `axis`, both about fixed axes from left to right. A bone
becomes a joint at its beginning; a bone without children also a joint at its end.

Source: Lander 1998, "Working with motion capture file formats".
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, suggest_name
from snellen.core.input_files import read_text
from snellen.data.motion_clip import MotionClip
from snellen.geometry.rotations import euler_to_matrix, matrix_to_exp_map

INCHES = 25.4  # mm
CMU_LENGTH = 0.45  # `length` of the files of the CMU Graphics Lab: inches · 0.45
_ROTATIONS = ("rx", "ry", "rz")
_TRANSLATIONS = ("tx", "ty", "tz")
_FRAME = re.compile(r"[0-9]{1,18}")  # the number of a frame
_ORDERS = frozenset({"xyz", "xzy", "yxz", "yzx", "zxy", "zyx"})


@dataclass(kw_only=True)
class Bone:
    """A bone of an .asf file. vector: from its beginning to its end. axis: radians, about the fixed axes of `order`."""

    name: str
    line: int
    direction: tuple[float, float, float] = (0.0, 0.0, 0.0)
    length: float = 0.0
    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)
    order: str = "xyz"
    dof: tuple[str, ...] = ()

    @property
    def vector(self) -> tuple[float, float, float]:
        x, y, z = (self.length * part for part in self.direction)
        return (x, y, z)


@dataclass(kw_only=True)
class AcclaimSkeleton:
    """The skeleton of an .asf file. children: names of the bones that begin at the end of a bone, and at the root."""

    path: Path
    root: Bone
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bones: dict[str, Bone] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    radians: bool = False
    length: float | None = None


def read_asf(path: Path) -> AcclaimSkeleton:
    """Read a skeleton. Raises DataError, which names the line."""
    lines = text_lines(path, "an .asf file")
    skeleton = AcclaimSkeleton(path=path, root=Bone(name="root", line=0, dof=(*_TRANSLATIONS, *_ROTATIONS)))
    section, bone = "", None
    unit_lines: list[tuple[int, list[str]]] = []
    for number, words in lines:
        key = words[0].lower()
        if key.startswith(":"):
            section, bone = key[1:], None
            continue
        if section == "units":
            unit_lines.append((number, words))
            if key == "angle" and len(words) > 1:
                skeleton.radians = words[1].lower().startswith("rad")
            elif key == "length":
                skeleton.length = numbers_of(path, number, words[1:2], 1)[0]
        elif section == "root":
            _read_root(skeleton, number, words)
        elif section == "bonedata":
            if key == "begin":
                bone = Bone(name="", line=number)
            elif key == "end":
                _add_bone(skeleton, bone, number)
                bone = None
            elif bone is not None:
                _read_bone(skeleton, bone, number, words)
        elif section == "hierarchy" and key not in ("begin", "end"):
            _read_children(skeleton, number, words)
    if not skeleton.bones:
        raise DataError(f"{path} has no bones (:bonedata)", "Give the .asf file of the recordings, as exported.")
    if not skeleton.children:
        raise DataError(f"{path} has no :hierarchy", "Give the .asf file of the recordings, as exported.")
    return skeleton


def text_lines(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Number and words of each line that is neither empty nor a comment."""
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: byte {error.object[error.start]:#04x}", f"Give {what}.") from error
    if "\0" in text:
        raise DataError(f"{path} holds a zero byte: it is not text", f"Give {what}.")
    split = ((number, line.split("#")[0].split()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, words) for number, words in split if words]


def numbers_of(path: Path, number: int, words: list[str], count: int, noun: str = "") -> tuple[float, ...]:
    """`count` finite numbers of a line, of `noun` if that is given. Raises DataError."""
    try:
        values = tuple(float(word) for word in words)
    except ValueError:
        bad = next(word for word in words if not _is_number(word))
        raise DataError(f"{path}, line {number}: {bad!r} is not a number", "Export the file again.") from None
    if len(values) != count or not all(math.isfinite(value) for value in values):
        problem = (
            "a number that is not finite" if len(values) == count else f"{len(values)} numbers in place of {count}"
        )
        of = f" of {noun}" if noun and len(values) != count else ""
        raise DataError(f"{path}, line {number}: {problem}{of}", "Export the file again: it may be cut off.")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _order(path: Path, number: int, word: str) -> str:
    if word.lower() not in _ORDERS:
        raise DataError(f"{path}, line {number}: {word!r} is no order of axes", "Write one such as XYZ.")
    return word.lower()


def _dof(path: Path, number: int, words: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    dof = tuple(word.lower() for word in words)
    bad = next((word for word in dof if word not in known), None)
    if bad is not None or len(set(dof)) < len(dof):
        raise DataError(
            f"{path}, line {number}: "
            + (f"the degree of freedom {bad!r} is not read" if bad is not None else "a degree of freedom occurs twice"),
            f"Degrees of freedom are {', '.join(known)}; export the motion without stretching bones.",
        )
    return dof


def _read_root(skeleton: AcclaimSkeleton, number: int, words: list[str]) -> None:
    path, key, root = skeleton.path, words[0].lower(), skeleton.root
    if key == "order":
        root.dof = _dof(path, number, words[1:], (*_TRANSLATIONS, *_ROTATIONS))
    elif key == "axis":
        root.order = _order(path, number, words[1] if len(words) > 1 else "")
    elif key == "position":
        x, y, z = numbers_of(path, number, words[1:], 3)
        skeleton.position = (x, y, z)
    elif key == "orientation":
        x, y, z = numbers_of(path, number, words[1:], 3)
        root.axis = (x, y, z)


def _read_bone(skeleton: AcclaimSkeleton, bone: Bone, number: int, words: list[str]) -> None:
    path, key = skeleton.path, words[0].lower()
    if key == "name":
        bone.name = words[1] if len(words) > 1 else ""
    elif key == "direction":
        x, y, z = numbers_of(path, number, words[1:], 3)
        bone.direction = (x, y, z)
    elif key == "length":
        (bone.length,) = numbers_of(path, number, words[1:], 1)
    elif key == "axis":
        x, y, z = numbers_of(path, number, words[1:4], 3)
        bone.axis, bone.order = (x, y, z), _order(path, number, words[4] if len(words) > 4 else "XYZ")
    elif key == "dof":
        bone.dof = _dof(path, number, words[1:], _ROTATIONS)


def _add_bone(skeleton: AcclaimSkeleton, bone: Bone | None, number: int) -> None:
    if bone is None or not bone.name:
        raise DataError(f"{skeleton.path}, line {number}: a bone without a name ends here", "Give each bone a name.")
    if bone.name in skeleton.bones or bone.name == "root":
        raise DataError(
            f"{skeleton.path}, line {number}: the bone {bone.name!r} occurs twice", "Give each bone a name of its own."
        )
    skeleton.bones[bone.name] = bone


def _read_children(skeleton: AcclaimSkeleton, number: int, words: list[str]) -> None:
    parent, *children = words
    known = ["root", *skeleton.bones]
    for name in words:
        if name not in known:
            raise DataError(f"{skeleton.path}, line {number}: no bone is called {name!r}", suggest_name(name, known))
    placed = {name for names in skeleton.children.values() for name in names}
    twice = next((name for name in children if name in placed or name in ("root", parent)), None)
    if twice is not None:
        raise DataError(
            f"{skeleton.path}, line {number}: {twice!r} has two parents, or is its own", "Give each bone one parent."
        )
    skeleton.children.setdefault(parent, []).extend(children)


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """Joints of a skeleton: its bones in the order of the hierarchy, and the ends of those without children."""

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Tensor


def _tree(skeleton: AcclaimSkeleton) -> _Tree:
    joints, parents = ["root"], [-1]
    offsets: list[tuple[float, float, float]] = [skeleton.position]
    waiting = [(name, 0) for name in reversed(skeleton.children.get("root", []))]
    while waiting:
        name, parent = waiting.pop()
        above = skeleton.bones.get(joints[parent])
        joints.append(name)
        parents.append(parent)
        offsets.append((0.0, 0.0, 0.0) if above is None else above.vector)
        index, children = len(joints) - 1, skeleton.children.get(name, [])
        waiting.extend((child, index) for child in reversed(children))
        if not children:
            joints.append(f"{name} end")
            parents.append(index)
            offsets.append(skeleton.bones[name].vector)
    missing = next((name for name in skeleton.bones if name not in joints), None)
    if missing is not None:
        raise DataError(
            f"{skeleton.path}: the bone {missing!r} is not connected to the root", "Add it to the :hierarchy."
        )
    return _Tree(joints=tuple(joints), parents=tuple(parents), offsets=torch.tensor(offsets, dtype=torch.float64))


def skeleton_clip(skeleton: AcclaimSkeleton) -> MotionClip:
    """The joints of a skeleton, as a clip of no frames."""
    tree = _tree(skeleton)
    is_cmu = _is_cmu(skeleton)
    moving = {"root", *(name for name, bone in skeleton.bones.items() if bone.dof)}
    return MotionClip(
        joints=tree.joints,
        parents=tree.parents,
        offsets=tree.offsets,
        rotations=torch.zeros(0, len(tree.joints), 3, dtype=torch.float64),
        root=torch.zeros(0, 3, dtype=torch.float64),
        turns=tuple(name in moving for name in tree.joints),
        unit="mm" if is_cmu else "",
        scale=INCHES / CMU_LENGTH if is_cmu else 1.0,
    )


def _is_cmu(skeleton: AcclaimSkeleton) -> bool:
    """Whether lengths have the unit of the CMU Graphics Lab, inches · 0.45. Other units are not documented."""
    return skeleton.length is not None and abs(skeleton.length - CMU_LENGTH) < 1e-6


def read_amc(path: Path, skeleton: AcclaimSkeleton) -> MotionClip:
    """Read the frames of a recording.

    Raises:
        DataError: a frame without one of the bones, a bone that the skeleton lacks, other than as many numbers as it
            has degrees of freedom.
    """
    moving = {"root": skeleton.root, **{name: bone for name, bone in skeleton.bones.items() if bone.dof}}
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in moving}
    radians, frames, previous = skeleton.radians, 0, -1
    lines = text_lines(path, "an .amc file")
    last = lines[-1][0] if lines else 0
    for number, words in lines:
        if words[0].startswith(":"):
            radians = radians if words[0].lower() not in (":degrees", ":radians") else words[0].lower() == ":radians"
        elif len(words) == 1 and _FRAME.fullmatch(words[0]):
            _check_frame(path, rows, frames, f"line {number}: the frame before it")
            if frames and int(words[0]) != previous + 1:
                raise DataError(
                    f"{path}, line {number}: the frame number is {words[0]}, {previous + 1} is expected",
                    "Frame numbers rise by 1: export the file again, or split it there into two recordings.",
                )
            frames, previous = frames + 1, int(words[0])
        elif number == last and frames and words[0] not in moving and any(n.startswith(words[0]) for n in moving):
            raise DataError(
                f"{path}, line {number}: the file ends within a line, at {' '.join(words)!r}",
                "Export the file again: it is cut off.",
            )
        else:
            _add_row(path, skeleton, moving, rows, frames, number, words)
    _check_frame(path, rows, frames, f"line {last}: the last frame")
    if not frames:
        raise DataError(f"{path} holds no frames", "Give an .amc file: a number of the frame, then one line a bone.")
    unit = 1.0 if radians else math.pi / 180
    axis_unit = 1.0 if skeleton.radians else math.pi / 180
    clip = skeleton_clip(skeleton)
    rotations = torch.zeros(frames, len(clip.joints), 3, dtype=torch.float64)
    root = torch.zeros(frames, 3, dtype=torch.float64)
    for name, bone in moving.items():
        values = torch.from_numpy(np.array(rows[name], dtype=np.float64).reshape(frames, len(bone.dof)))
        order = "".join(kind[1] for kind in bone.dof if kind in _ROTATIONS)
        if name == "root":  # about the axes of `axis`, whatever the order of the columns
            order = "".join(axis for axis in bone.order if f"r{axis}" in bone.dof)
            for k, axis in enumerate("xyz"):
                if f"t{axis}" in bone.dof:
                    root[:, k] = values[:, bone.dof.index(f"t{axis}")]
        angles = torch.stack([unit * values[:, bone.dof.index(f"r{axis}")] for axis in order], 1)
        about = euler_to_matrix(angles.flip(1), order[::-1].upper())  # fixed axes from left to right
        own = [bone.axis["xyz".index(axis)] for axis in reversed(bone.order)]
        frame = euler_to_matrix(axis_unit * torch.tensor(own, dtype=torch.float64), bone.order[::-1].upper())
        rotations[:, clip.joints.index(name)] = matrix_to_exp_map(frame @ about @ frame.T)
    return dataclasses.replace(clip, rotations=rotations, root=root)


def _check_frame(path: Path, rows: dict[str, list[tuple[float, ...]]], frames: int, where: str) -> None:
    """Raise DataError unless each bone has one row in each frame so far. where: the line and the frame."""
    bad = next((name for name, values in rows.items() if len(values) != frames), None)
    if bad is not None:
        what = "misses" if len(rows[bad]) < frames else "has twice"
        raise DataError(
            f"{path}, {where} {what} the bone {bad!r}",
            "Export the file again: it may be cut off; or give the .asf file that belongs to it with --skeleton.",
        )


def _add_row(
    path: Path,
    skeleton: AcclaimSkeleton,
    moving: dict[str, Bone],
    rows: dict[str, list[tuple[float, ...]]],
    frames: int,
    number: int,
    words: list[str],
) -> None:
    name = words[0]
    if name not in moving:
        raise DataError(
            f"{path}, line {number}: {name!r} is no bone with degrees of freedom in {skeleton.path}",
            "Give the .asf file that belongs to it with --skeleton FILE.",
        )
    if not frames:
        raise DataError(f"{path}, line {number}: {name!r} comes before the number of a frame", "Export it again.")
    rows[name].append(numbers_of(path, number, words[1:], len(moving[name].dof)))
