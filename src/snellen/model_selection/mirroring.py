"""Whether mirrored images keep their target: predictions of a trained model for mirrored validation images."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor

from snellen.api import TrainedRun
from snellen.core.run import Run
from snellen.core.spec import Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.source import Source
from snellen.metrics.intervals import LEVEL
from snellen.model_selection.advice import p_value


class MirroredSource:
    """A source of images, each mirrored left to right."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return self.source.read(ids, preprocessing).flip(-1)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.source.name(id)

    def key(self) -> str | None:
        return None


def mirroring_harms(run: TrainedRun, data: Dataset[Labelled]) -> str:
    """Why horizontal flips would change targets, or "".

    Flips are harmful where the model's errors on mirrored validation images are significantly larger (one-sided paired
    test). The model must have been trained without flips.
    """
    mirrored = dataclasses.replace(
        data, source=MirroredSource(data.source), preprocessing=run.record.preprocessing, cache="off"
    )
    predictions = run.task.predict(run.model, mirrored, "val", Run(run.folder, resume=None, device=run.record.device))
    before = run.task.errors(run.predictions("val"), run.spec).double()
    after = run.task.errors(predictions, run.spec).double()
    if float(after.mean()) <= float(before.mean()) or p_value(after, before) / 2 >= LEVEL:
        return ""
    return (
        f"mirrored validation images have larger errors ({run.record.learner}: "
        f"{float(before.mean()):.3g} before, {float(after.mean()):.3g} mirrored)"
    )
