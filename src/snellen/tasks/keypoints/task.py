"""Keypoints: what is in the picture, in which box, and where are its joints?"""

from __future__ import annotations

from functools import partial

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.objects import answers, measure, predict, views
from snellen.objects.protocol import Detector, Part

PARTS: tuple[Part, ...] = ("keypoints", "boxes")  # that are scored; it is ranked by the first


def asks(spec: Spec) -> bool:
    return isinstance(spec.target, Boxes) and bool(spec.target.keypoints)


TASK: Task[Dataset[Labelled], Detector] = Task(
    name="keypoints",
    question="What is where, and how does it stand?",
    default=lambda spec: "keypoint-rcnn",
    headline=lambda spec: measure.headline(PARTS),
    asks=asks,
    predict=partial(predict.predict, PARTS),
    measure=partial(measure.measure, PARTS),
    answer=partial(answers.answer, PARTS),
    errors=partial(measure.errors, PARTS),
    of_rows=partial(measure.of_rows, PARTS),
    worst=partial(views.worst, PARTS),
    truth=partial(answers.truth, PARTS),
    views=partial(views.views, PARTS),
    exported=partial(answers.exported, PARTS),
)
