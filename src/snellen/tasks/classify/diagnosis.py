"""Diagnosis of a classifier: no label, one class for almost all samples, classes that are never predicted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Labels
from snellen.core.task import Diagnosis, Predictions
from snellen.core.views import Finding
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.predicted_classes import MIN_CLASS_COUNT, class_findings

REMEDY = "Try --class-weights balanced or --sampling balanced, a smaller --lr, or train longer."


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """No label for any sample, or the findings on the predicted classes."""
    scores, truth = predictions["scores"], predictions["truth"]
    if not len(truth):
        return []
    if isinstance(data.spec.target, Labels):
        if bool((scores > 0).any()) or not bool((truth > 0.5).any()):
            return []
        message = f"The model predicts no label for any of {len(truth):,} samples."
        return [Finding(kind="one-class", message=message, remedy=REMEDY)]
    names = data.spec.target.names if data.spec.target else ()
    predicted = torch.bincount(scores.argmax(1), minlength=len(names)).double()
    true = torch.bincount(truth, minlength=len(names)).double()
    return class_findings(predicted, true, true >= MIN_CLASS_COUNT, names, "samples", REMEDY)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of (B, K) scores with (B,) classes; binary with (B, K) labels."""
    if y.is_floating_point():
        return nn.functional.binary_cross_entropy_with_logits(scores, y)
    return nn.functional.cross_entropy(scores, y)


DIAGNOSIS = Diagnosis[Dataset[Labelled]](findings=findings, output=lambda model, x: model.scores(x), loss=loss)
