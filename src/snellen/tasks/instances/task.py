"""Instances: what is in the picture, in which box, and which pixels are its own?"""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import Part
from snellen.detection.task_factory import question_about

PARTS: tuple[Part, ...] = ("masks", "boxes")  # that are scored; it is ranked by the first


def asks(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes) and spec.target.masks


TASK = question_about(PARTS, name="instances", question="What is where, to the pixel?", default="mask-rcnn", asks=asks)
