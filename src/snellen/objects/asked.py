"""A question about objects: what tasks that ask for boxes, masks or keypoints are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.objects import answers, measure, predict, views
from snellen.objects.protocol import Detector, Part


def question_about(
    parts: Sequence[Part], *, name: str, question: str, default: str, asks: Callable[[Spec], bool]
) -> Task[Dataset[Labelled], Detector]:
    """The task that scores these parts of objects.

    Args:
        parts: it is ranked by the first.
        default: the learner that plain `train` takes.
    """
    return Task(
        name=name,
        question=question,
        default=lambda spec: default,
        headline=lambda spec: measure.headline(parts),
        asks=asks,
        predict=partial(predict.predict, parts),
        measure=partial(measure.measure, parts),
        answer=partial(answers.answer, parts),
        errors=partial(measure.errors, parts),
        of_rows=partial(measure.of_rows, parts),
        worst=partial(views.worst, parts),
        truth=partial(answers.truth, parts),
        views=partial(views.views, parts),
        exported=partial(answers.exported, parts),
    )
