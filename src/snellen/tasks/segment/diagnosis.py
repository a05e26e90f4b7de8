"""Diagnosis of a segmenter: one class for almost all pixels, classes that are never predicted."""

from __future__ import annotations

from snellen.core.task import Diagnosis, Predictions
from snellen.core.views import Finding
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.predicted_classes import class_findings

MIN_IMAGES = 3  # that contain a class; with fewer, it may be missed by chance


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """The findings on the predicted classes of all places."""
    if not len(predictions["truth"]):
        return []
    table = predictions["confusion"].double().sum(0)
    frequent = (predictions["truth"] > 0).sum(0) >= MIN_IMAGES
    names = data.spec.target.names if data.spec.target else ()
    remedy = "Try --class-weights balanced, a smaller --lr, or train longer."
    return class_findings(table.sum(0), table.sum(1), frequent, names, f"{data.spec.input.place}s", remedy)


DIAGNOSIS = Diagnosis[Dataset[Labelled]](findings=findings)
