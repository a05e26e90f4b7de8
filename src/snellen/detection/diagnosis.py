"""Diagnosis of a detector: no detections, one class only, classes never predicted, objects too small."""

from __future__ import annotations

import torch

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import Finding
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import target_of
from snellen.metrics.predicted_classes import COMMON_CLASS, MIN_CLASS_COUNT, ONE_CLASS, missing_class_findings

TINY_SIDE = 8.0  # pixels: one cell of a feature map of stride 8
MIN_TINY_FRACTION = 0.5  # of the objects


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """See `detection_findings`."""
    return detection_findings(predictions, data.spec, headline)


def detection_findings(predictions: Predictions, spec: Spec, headline: float | None) -> list[Finding]:
    """Findings on a detector: no detections, one class only, classes never predicted, or objects too small.

    Args:
        headline: headline metric of the same predictions.
    """
    counted = ~predictions["crowd"] & ~predictions["ignored"]
    objects = int(counted.sum())
    if not objects:
        return []
    above_threshold = predictions["scores"] >= predictions["threshold"]
    findings = [*_tiny_objects(predictions["areas"][counted].sqrt(), headline)]
    if not bool(above_threshold.any()):
        scores = predictions["scores"]
        highest = f"; the highest score is {float(scores.max()):.3g}" if len(scores) else ""
        message = (
            f"The model detects nothing in {len(predictions['ids']):,} images with {objects:,} objects: no score "
            f"reaches the score threshold of {float(predictions['threshold']):.3g}{highest}."
        )
        remedy = "Train longer or with a larger --lr. Check the ground-truth boxes with snellen data."
        return [*findings, Finding(kind="finds-nothing", message=message, remedy=remedy)]
    labels, true_labels = predictions["labels"][above_threshold], predictions["true_labels"][counted]
    return findings + _one_class(labels, true_labels, target_of(spec))


def _tiny_objects(sides: torch.Tensor, headline: float | None) -> list[Finding]:
    fraction = float((sides < TINY_SIDE).double().mean())
    if fraction < MIN_TINY_FRACTION or (headline is not None and headline > 0.5):
        return []
    message = (
        f"{100 * fraction:.0f} % of the objects may be too small to detect: their side, the square root of the area, "
        f"is below {TINY_SIDE:g} pixels (median of all objects {float(sides.median()):.1f})."
    )
    return [
        Finding(
            kind="tiny",
            message=message,
            remedy="Try a larger --image-size, if the model has this setting, or images of higher resolution.",
        )
    ]


def _one_class(labels: torch.Tensor, true_labels: torch.Tensor, target: Boxes) -> list[Finding]:
    predicted, truth = (torch.bincount(x, minlength=len(target.names)).double() for x in (labels, true_labels))
    predicted_fraction, true_fraction = predicted / len(labels), truth / len(true_labels)
    top = int(predicted_fraction.argmax())
    if predicted_fraction[top] < ONE_CLASS or true_fraction[top] >= min(COMMON_CLASS, float(predicted_fraction[top])):
        remedy = "Try training longer, or more images of these classes."
        return missing_class_findings(predicted, truth, truth >= MIN_CLASS_COUNT, target.names, "objects", remedy)
    return [
        Finding(
            kind="one-class",
            message=f"{100 * float(predicted_fraction[top]):.3g} % of the detections are {target.names[top]}, but only "
            f"{100 * float(true_fraction[top]):.3g} % of the objects.",
            remedy="Try training longer, a smaller --lr, or more images of the other classes.",
        )
    ]
