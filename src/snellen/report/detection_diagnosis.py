"""Diagnosis of a detector: no detections, one class only, classes never predicted, objects too small."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import Finding

TINY_SIDE = 8.0  # pixels: one cell of a feature map of stride 8
MIN_TINY_FRACTION = 0.5  # of the objects
ONE_CLASS = 0.99  # fraction of the detections above the score threshold
COMMON_CLASS = 0.90  # fraction of the objects from which mostly predicting one class is right
MAX_NAMED_CLASSES = 6  # in a message
MIN_CLASS_COUNT = 10  # samples of a class; with fewer, all may be missed by chance


def detection_findings(predictions: Predictions, spec: Spec, headline: float | None) -> list[Finding]:
    """Findings on a detector: no detections, one class only, classes never predicted, or objects too small.

    Args:
        headline: headline metric of the same predictions.
    """
    assert isinstance(spec.target, Boxes)
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
    return findings + _one_class(labels, true_labels, spec.target)


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


def missing_class_findings(
    predicted: torch.Tensor, truth: torch.Tensor, frequent: torch.Tensor, names: Sequence[str], unit: str, remedy: str
) -> list[Finding]:
    """Classes of the ground truth that the model never predicts.

    Args:
        predicted, truth: (K,) predicted and true count of each class.
        frequent: (K,) bool, classes frequent enough to be expected among the predictions.
        unit: what is counted ("samples", "pixels", "objects").
    """
    missed = torch.nonzero((predicted == 0) & frequent)[:, 0].tolist()
    if not missed:
        return []
    shown = missed if len(missed) <= MAX_NAMED_CLASSES else missed[: MAX_NAMED_CLASSES - 1]
    named = [names[k] for k in shown] + [f"{len(missed) - len(shown)} others"] * (len(missed) > len(shown))
    listed = " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    percent = 100 * float(truth[missed].sum() / truth.sum())
    classes = "this class" if len(missed) == 1 else "these classes"
    return [
        Finding(
            kind="never-said",
            message=f"The model never predicts {listed}: {percent:.2g} % of the {unit} are of {classes}.",
            remedy=remedy,
        )
    ]
