"""An answer as marks on its picture."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.rle import of_text
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Answer
from snellen.core.views import Mark


def marks(answer: Answer, spec: Spec) -> list[Mark]:
    """Boxes with class and score, masks and keypoints; nothing for an answer that is told of no places."""
    return of_objects(answer["objects"], spec.target) if isinstance(spec.target, Boxes) else []


def of_objects(objects: Sequence[Answer], target: Boxes) -> list[Mark]:
    """A mark for each object, the least sure first, so that the surest lie on top."""
    return [_of_object(one, target) for one in reversed(objects)]


def _of_object(one: Answer, target: Boxes) -> Mark:
    mask, score = one.get("mask"), one.get("score")
    x1, y1, x2, y2 = one["box"]
    return Mark(
        label=one["class"] if score is None else f"{one['class']} {score:.2f}", place=target.names.index(one["class"]),
        box=(x1, y1, x2, y2), points=[(x, y) for x, y, _ in one.get("keypoints", ())], bones=target.bones,
        region=None if mask is None else of_text(mask["counts"], (mask["size"][0], mask["size"][1])),
    )  # fmt: skip
