"""Joints in the columns of a table: hip_x, hip_y, hip_z and so on are the positions of joints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from snellen.core.errors import DataError, suggest_name
from snellen.core.spec import Skeleton
from snellen.data.formats.table_text import is_number

MIN_JOINTS = 3
_COLUMN = re.compile(r"^(.*[^ _.\-\[(])[ _.\-\[(]*([xyz])[\])]?$", re.IGNORECASE)
_BODY = re.compile(
    r"head|neck|nose|shoulder|clavicle|humerus|arm|elbow|wrist|hand|finger|thumb|spine|thorax|chest|back|pelvis|hips?|"
    r"femur|thigh|knee|tibia|leg|ankle|foot|toe|heel|joint",
    re.IGNORECASE,
)
_HIGH = re.compile(r"head|neck|nose", re.IGNORECASE)
_LOW = re.compile(r"ankle|foot|toe|heel", re.IGNORECASE)
_Up = Literal["x", "y", "z", "-x", "-y", "-z"]


def skeleton_of_columns(names: Sequence[str], values: np.ndarray) -> Skeleton | None:
    """The joints whose positions lie in the columns of a table; None of fewer than three, or without a part of a body.

    Args:
        values: (T, D) steps, which tell the axis that points upwards: the head is higher than the feet.
    """
    joints: list[str] = []
    columns: list[int] = []
    k = 0
    while k + 2 < len(names):
        matches = [_COLUMN.match(name) for name in names[k : k + 3]]
        parts = [match for match in matches if match is not None]
        if len(parts) == 3 and len({m[1] for m in parts}) == 1 and [m[2].lower() for m in parts] == ["x", "y", "z"]:
            joints.append(parts[0][1])
            columns.append(k)
            k += 2
        k += 1
    if len(joints) < MIN_JOINTS or len(set(joints)) < len(joints) or not any(map(_BODY.search, joints)):
        return None
    positions = values[:, np.add.outer(columns, np.arange(3))]
    return Skeleton(
        joints=tuple(joints),
        parents=(-1,) * len(joints),
        form="positions",
        columns=tuple(columns),
        up=_up(joints, positions),
    )


def _up(joints: Sequence[str], positions: np.ndarray) -> _Up:
    """The axis along which heads are above feet, of (T, J, 3) positions; y without such joints."""
    high = [j for j, name in enumerate(joints) if _HIGH.search(name)]
    low = [j for j, name in enumerate(joints) if _LOW.search(name)]
    if not high or not low:
        return "y"
    rise = positions[:, high].mean((0, 1)) - positions[:, low].mean((0, 1))
    axes: tuple[tuple[_Up, _Up], ...] = (("x", "-x"), ("y", "-y"), ("z", "-z"))
    axis = int(np.abs(rise).argmax())
    return axes[axis][int(rise[axis] < 0)]


def read_parents(path: Path, joints: Sequence[str]) -> tuple[int, ...]:
    """The parent of each joint by a table of two columns, joint and parent; an empty parent is that of a root.

    Raises:
        DataError: a joint that the data lacks or that has none, a row of other than two cells.
    """
    from snellen.data.formats.series_text import text_of

    parents: dict[str, str] = {}
    for number, line in enumerate(text_of(path).splitlines(), 1):
        cells = [cell.strip() for cell in re.split(r"[,;\t]", line)]
        if cells == [""] or (number == 1 and cells[0].lower() in ("joint", "name")):
            continue
        if len(cells) != 2 or any(map(is_number, cells)):
            raise DataError(f"{path}, line {number}: {line.strip()!r} is no joint and its parent", "Write: knee,hip")
        for name in (name for name in cells if name):
            if name not in joints:
                raise DataError(f"{path}, line {number}: no joint is called {name!r}", suggest_name(name, list(joints)))
        parents[cells[0]] = cells[1]
    missing = next((joint for joint in joints if joint not in parents), None)
    if missing is not None:
        raise DataError(f"{path} has no row of the joint {missing!r}", "Give each joint a row, a root without parent.")
    return tuple(joints.index(parents[joint]) if parents[joint] else -1 for joint in joints)
