"""Task keypoints: keypoint detection. Learners, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.detection import baseline
from snellen.tasks.keypoints import keypoint_rcnn, task

TASK = task.TASK

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.learner(task.TASK, task.IOU_TYPES),
    keypoint_rcnn.LEARNER,
)

LEARNERS = {learner.name: learner for learner in _ORDERED}
