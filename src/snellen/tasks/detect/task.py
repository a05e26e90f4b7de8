"""Detect: what is in the picture, and in which box?"""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.objects.asked import question_about
from snellen.objects.protocol import Part

PARTS: tuple[Part, ...] = ("boxes",)  # that are scored; it is ranked by the first


def asks(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes)


TASK = question_about(PARTS, name="detect", question="What is where?", default="faster-rcnn", asks=asks)
