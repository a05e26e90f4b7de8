"""Whether mirrored or shifted images keep their target: predictions of a trained model for such validation images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.core.run import Run
from snellen.core.spec import Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.source import Source
from snellen.metrics.intervals import LEVEL
from snellen.model_selection.advice import p_value

MAX_LOSS = 0.25  # of what a model gains over the baseline, by a change that keeps the targets


class ChangedSource:
    """A source of images, each changed in the same way."""

    def __init__(self, source: Source, change: Callable[[Tensor], Tensor]) -> None:
        self.source, self.change = source, change

    def __len__(self) -> int:
        return len(self.source)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return self.change(self.source.read(ids, preprocessing))

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.source.name(id)

    def key(self) -> str | None:
        return None


class ChangedErrors(NamedTuple):
    """Mean validation errors of a model on images as they are, and changed; whether the latter are significantly larger
    (one-sided paired test).
    """

    before: float
    after: float
    are_larger: bool


def mirror(x: Tensor) -> Tensor:
    return x.flip(-1)


def shift(x: Tensor) -> Tensor:
    """Shift (B, C, H, W) images by an eighth of their sides, right and down; edges are repeated."""
    rows, columns = (torch.arange(side).sub(side // 8).clamp(min=0) for side in x.shape[-2:])
    return x[..., rows[:, None], columns]


def errors_of_changed(run: TrainedRun, data: Dataset[Labelled], change: Callable[[Tensor], Tensor]) -> ChangedErrors:
    """Errors on changed validation images. The model must have been trained without such changes."""
    source = ChangedSource(data.source, change)
    changed = dataclasses.replace(data, source=source, preprocessing=run.record.preprocessing, cache="off")
    predictions = run.task.predict(run.model, changed, "val", Run(run.folder, resume=None, device=run.record.device))
    before = run.task.errors(run.predictions("val"), run.spec).double()
    after = run.task.errors(predictions, run.spec).double()
    is_larger = float(after.mean()) > float(before.mean())
    return ChangedErrors(float(before.mean()), float(after.mean()), is_larger and p_value(after, before) / 2 < LEVEL)


def harmful_changes(run: TrainedRun, data: Dataset[Labelled]) -> dict[str, str]:
    """Augmentation that changes targets, with its reason: "hflip"."""
    errors = errors_of_changed(run, data, mirror)
    if not errors.are_larger:
        return {}
    return {
        "hflip": f"mirrored validation images have larger errors ({run.record.learner}: {errors.before:.3g} before, "
        f"{errors.after:.3g} mirrored)"
    }


def harmless_changes(run: TrainedRun, data: Dataset[Labelled], baseline: Tensor) -> dict[str, str]:
    """Augmentation that keeps the targets, with its reason: "hflip", "pad_crop".

    Only a model that is significantly better than the baseline can tell. A small training split does not contain all
    positions, so errors on changed images are larger even where targets are kept; a change is harmful if it takes
    `MAX_LOSS` of what the model gains over the baseline.

    Args:
        baseline: validation errors of the baseline.
    """
    errors = run.task.errors(run.predictions("val"), run.spec).double()
    if float(errors.mean()) >= float(baseline.mean()) or p_value(baseline.double(), errors) / 2 >= LEVEL:
        return {}
    reasons = {}
    for setting, change, word in (("hflip", mirror, "mirrored"), ("pad_crop", shift, "shifted")):
        changed = errors_of_changed(run, data, change)
        if changed.after <= changed.before + MAX_LOSS * (float(baseline.mean()) - changed.before):
            reasons[setting] = (
                f"{word} validation images have similar errors ({run.record.learner}: {changed.before:.3g} before, "
                f"{changed.after:.3g} {word})"
            )
    return reasons
