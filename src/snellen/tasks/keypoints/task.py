"""Task keypoints: keypoint detection, a class, a box and named points for each object."""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import IoUType
from snellen.detection.task_factory import detection_task

IOU_TYPES: tuple[IoUType, ...] = ("keypoints", "boxes")  # evaluated; the first gives the headline metric


def applies_to(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes) and bool(spec.target.keypoints)


TASK = detection_task(
    IOU_TYPES,
    name="keypoints",
    question="Where are the keypoints of each object?",
    default="keypoint-rcnn",
    applies_to=applies_to,
    hub_name="keypoint-detection",
)
