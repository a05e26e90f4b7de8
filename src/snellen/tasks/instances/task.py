"""Task instances: instance segmentation, a class, a box and a mask for each object."""

from __future__ import annotations

from snellen.core.spec import Boxes, Spec
from snellen.detection.protocol import IoUType
from snellen.detection.task_factory import detection_task

IOU_TYPES: tuple[IoUType, ...] = ("masks", "boxes")  # evaluated; the first gives the headline metric


def applies_to(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes) and spec.target.masks


TASK = detection_task(
    IOU_TYPES,
    name="instances",
    question="Which pixels belong to each object?",
    default="mask-rcnn",
    applies_to=applies_to,
    hub_name="image-segmentation",
)
