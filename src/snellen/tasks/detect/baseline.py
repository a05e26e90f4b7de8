"""Baseline detector: typical boxes of the training set."""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import baseline
from snellen.detection.baseline import BaselineDetectorSettings
from snellen.tasks.detect.task import IOU_TYPES, TASK

LEARNER = Learner[BaselineDetectorSettings, Dataset[Labelled], baseline.TypicalBoxes](
    name="baseline",
    summary="Constant baseline: k-means centres of the training boxes, the same in every image.",
    source="k-means clustering of the training boxes",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=BaselineDetectorSettings,
    build=lambda c, spec: baseline.build(IOU_TYPES, spec),
    fit=lambda c, data, model, run: baseline.fit(IOU_TYPES[0], data, model, run),
)
