"""Factory of detection tasks: boxes, instance masks, keypoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from snellen.core.spec import Spec
from snellen.core.task import Diagnosis, Task
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import evaluation, outputs, prediction, views
from snellen.detection.diagnosis import findings
from snellen.detection.display import display
from snellen.detection.protocol import Detector, IoUType


def detection_task(
    iou_types: Sequence[IoUType],
    *,
    name: str,
    question: str,
    default: str,
    applies_to: Callable[[Spec], bool],
    hub_name: str,
) -> Task[Dataset[Labelled], Detector]:
    """Create a task that is evaluated by these IoU types.

    Args:
        iou_types: the first gives the headline metric.
        default: name of the default learner of `train`.
        hub_name: the name that model hubs give the task.
    """
    return Task(
        name=name,
        question=question,
        default=lambda spec: default,
        headline=lambda spec: evaluation.headline(iou_types),
        validation_score=lambda spec: evaluation.headline(iou_types),
        applies_to=applies_to,
        predict=partial(prediction.predict, iou_types),
        measure=partial(evaluation.measure, iou_types),
        predict_batch=partial(outputs.predict_batch, iou_types),
        errors=partial(evaluation.errors, iou_types),
        resampled_headline=partial(evaluation.resampled_headline, iou_types),
        worst_samples=partial(views.worst_samples, iou_types),
        truth=partial(outputs.ground_truth, iou_types),
        views=partial(views.views, iou_types),
        export=partial(outputs.export, iou_types),
        display=display(hub_name),
        diagnosis=Diagnosis(findings=findings, loss_may_rise=True),  # more proposals on objects: more box losses
    )
