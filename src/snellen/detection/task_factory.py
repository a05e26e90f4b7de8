"""A question about objects: what tasks that ask for boxes, masks or keypoints are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import evaluation, outputs, prediction, views
from snellen.detection.protocol import Detector, Part


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
        headline=lambda spec: evaluation.headline(parts),
        asks=asks,
        predict=partial(prediction.predict, parts),
        measure=partial(evaluation.measure, parts),
        answer=partial(outputs.answer, parts),
        errors=partial(evaluation.errors, parts),
        resampled_headline=partial(evaluation.resampled_headline, parts),
        worst=partial(views.worst, parts),
        truth=partial(outputs.truth, parts),
        views=partial(views.views, parts),
        export=partial(outputs.export, parts),
    )
