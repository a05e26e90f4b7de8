"""Motion reflected left to right: recordings of one skeleton that could as well have been recorded."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.settings import Suggestion
from snellen.core.spec import Skeleton, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.recording_windows import RecordingWindows
from snellen.tasks.forecast.display import future

_SIDES = (("left", "right"), ("l", "r"))
_TOLERANCE = 0.1  # of the lengths of all bones: how far left and right may differ


class Reflection(NamedTuple):
    """A feature of the reflected motion is sign · x[column]; both (D,)."""

    columns: Tensor
    signs: Tensor

    def of(self, x: Tensor) -> Tensor:
        """(..., D) features to those of the reflected motion."""
        return x[..., self.columns] * self.signs.to(x)


def reflection(spec: Spec) -> Reflection | None:
    """The reflection of exponential maps whose skeleton has a left and a right of equal bones; None: there is none.

    With the reflection M across the plane between left and right, a rotation R of a joint becomes M R M of the joint
    of the other side: an exponential map keeps its component along the axis of the reflection, and the others change
    their signs. The position of the root changes its sign along the axis.
    """
    skeleton = future(spec).skeleton
    if skeleton is None or skeleton.form != "exponential-maps" or not skeleton.offsets:
        return None
    other = _other_sides(skeleton)
    axis = None if other is None else _axis(skeleton, other)
    if other is None or axis is None:
        return None
    count = len(future(spec).names)
    columns, signs = torch.arange(count), torch.ones(count, dtype=torch.float64)
    for joint, column in enumerate(skeleton.columns):
        if column >= 0:
            columns[column : column + 3] = skeleton.columns[other[joint]] + torch.arange(3)
            signs[column : column + 3] = -1.0
            signs[column + axis] = 1.0
    if skeleton.root >= 0:
        signs[skeleton.root + axis] = -1.0
    return Reflection(columns, signs)


def _other_sides(skeleton: Skeleton) -> list[int] | None:
    """(J,) the joint of the other side, or the joint itself in the middle; None without two sides."""
    index = {name.lower(): joint for joint, name in enumerate(skeleton.joints)}
    other = [_other_side(name.lower(), index) for name in skeleton.joints]
    swaps = all(other[other[joint]] == joint for joint in range(len(other)))
    parents = [other[parent] if parent >= 0 else -1 for parent in skeleton.parents]
    same_tree = all(skeleton.parents[other[joint]] == parents[joint] for joint in range(len(other)))
    same_turns = all((skeleton.columns[o] >= 0) == (skeleton.columns[j] >= 0) for j, o in enumerate(other))
    has_sides = any(o != joint for joint, o in enumerate(other))
    return other if has_sides and swaps and same_tree and same_turns else None


def _other_side(name: str, index: dict[str, int]) -> int:
    for left, right in _SIDES:
        for side, opposite in ((left, right), (right, left)):
            for pattern in (rf"^{side}", rf"(?<=[_. :-]){side}", rf"{side}$"):
                candidate = re.sub(pattern, opposite, name)
                if candidate != name and candidate in index:
                    return index[candidate]
    return index[name]


def _axis(skeleton: Skeleton, other: list[int]) -> int | None:
    """The axis across which left and right are equal in the rest pose; None: there is none."""
    offsets = torch.tensor(skeleton.offsets, dtype=torch.float64)
    difference = []
    for axis in range(3):
        reflected = offsets[other].clone()
        reflected[:, axis] *= -1
        difference.append(float((reflected - offsets).norm(dim=1).sum()))
    best = min(range(3), key=difference.__getitem__)
    is_vertical = "xyz"[best] == skeleton.up[-1]
    return None if is_vertical or difference[best] > _TOLERANCE * float(offsets.norm(dim=1).sum()) else best


def check_mirror(mirror: bool, spec: Spec) -> None:
    """Raise UsageError for `mirror` with motion without a left and a right, or data that are no motion."""
    if mirror and reflection(spec) is None:
        raise UsageError(
            "--mirror needs motion as angles whose joints have a left and a right side of equal bones", "Omit it."
        )


def with_reflections(data: Dataset[Labelled], mirror: bool) -> Dataset[Labelled]:
    """The dataset whose training split has each window a second time, reflected; the same without `mirror`."""
    if not mirror:
        return data
    map_, source = reflection(data.spec), data.source
    assert map_ is not None  # check_mirror raises else
    assert isinstance(source, RecordingWindows)
    both = RecordingWindows(
        torch.cat([source.values, map_.of(source.values)]),
        source.lengths * 2,
        [*source.recordings, *(f"{name}, reflected" for name in source.recordings)],
        source.window,
        source.horizon,
        source.stride,
        every=source.every,
    )
    train = data.splits["train"]
    return replace(
        data,
        source=both,
        truth=both.futures(),
        splits={**data.splits, "train": torch.cat([train, train + len(source)])},
    )


def suggest_mirror(spec: Spec) -> dict[str, Suggestion]:
    """Reflected recordings, where they exist."""
    if reflection(spec) is None:
        return {}
    return {"mirror": Suggestion(value=True, reason="the joints have a left and a right: reflected motion is motion")}
