"""Keypoints: what is in the picture, in which box, and where are its joints?"""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import Part
from snellen.detection.task_factory import question_about

PARTS: tuple[Part, ...] = ("keypoints", "boxes")  # that are scored; it is ranked by the first


def asks(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes) and bool(spec.target.keypoints)


TASK = question_about(
    PARTS, name="keypoints", question="What is where, and how does it stand?", default="keypoint-rcnn", asks=asks
)
