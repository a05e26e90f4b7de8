"""Task detect: object detection. Learners, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.detection import baseline
from snellen.tasks.detect import fast_rcnn, faster_rcnn, fcos, rcnn, retinanet, ssdlite, task

TASK = task.TASK

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.learner(task.TASK, task.IOU_TYPES),
    rcnn.LEARNER,
    fast_rcnn.LEARNER,
    ssdlite.LEARNER,
    retinanet.LEARNER,
    fcos.LEARNER,
    faster_rcnn.LEARNER,
)

LEARNERS = {learner.name: learner for learner in _ORDERED}
