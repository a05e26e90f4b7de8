"""Detect: what is in the picture, and in which box?"""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import Part
from snellen.detection.task_factory import question_about

PARTS: tuple[Part, ...] = ("boxes",)  # that are scored; it is ranked by the first


def asks(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes)


TASK = question_about(PARTS, name="detect", question="What is where?", default="faster-rcnn", asks=asks)
