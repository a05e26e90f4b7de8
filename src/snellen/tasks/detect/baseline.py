"""The baseline that knows nothing but where boxes usually are."""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import baseline
from snellen.detection.baseline import BaselineSettings
from snellen.tasks.detect.task import PARTS, TASK

LEARNER = Learner[BaselineSettings, Dataset[Labelled], baseline.Usual](
    name="baseline",
    summary="The same boxes in every picture, where they usually are: what every other model must beat.",
    source="k-means over the boxes of the training pictures",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=BaselineSettings,
    build=lambda c, spec: baseline.build(PARTS, spec),
    fit=lambda c, data, model, run: baseline.fit(PARTS[0], data, model, run),
)
