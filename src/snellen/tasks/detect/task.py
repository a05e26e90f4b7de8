"""Task detect: object detection, a class and a box for each object."""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import IoUType
from snellen.detection.task_factory import detection_task

IOU_TYPES: tuple[IoUType, ...] = ("boxes",)  # evaluated; the first gives the headline metric


def applies_to(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes)


TASK = detection_task(
    IOU_TYPES,
    name="detect",
    question="Which objects are in each image, and where?",
    default="faster-rcnn",
    applies_to=applies_to,
    hub_name="object-detection",
)
