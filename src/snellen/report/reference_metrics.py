"""Reference metrics of a report: the baseline's, and the model's own on training samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.experience import Experience
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.spec import Preprocessing
from snellen.core.task import Predictions, Task
from snellen.core.views import Metric
from snellen.data.experience import is_annotated, samples_of
from snellen.data.source import Source
from snellen.tasks import LEARNERS

MAX_TRAINING_SAMPLES = 2000  # training samples that are evaluated: a metric is known to ± 2 points
MAX_TRAINING_IMAGES = 32  # training images that are evaluated, for targets with many objects per image
MIN_SKILL_SCORE = 0.05  # untrained random weights seldom have more by chance


def device_of(model: nn.Module) -> torch.device:
    """Device of a model's parameters or buffers; "cpu" if it has none."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def baseline_learner(task: Task[Any, Any]) -> Learner[Any, Any, Any] | None:
    """The task's baseline; None if it has none."""
    return LEARNERS.get(task.name, {}).get("baseline")


def fit_baseline(task: Task[Any, Any], data: Experience) -> nn.Module | None:
    """The task's baseline, fitted to the training split; None if the task has none."""
    learner = baseline_learner(task)
    if learner is None:
        return None
    settings = learner.settings()
    model: nn.Module = learner.build(settings, data.spec)
    learner.fit(settings, data, model, _dry_run())
    return model.eval()


class _BlankSource:
    """A source of empty inputs: the baseline ignores its input, so no image is decoded."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return torch.zeros(len(ids), 1)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.source.name(id)

    def key(self) -> str | None:
        return None


def baseline_metrics(task: Task[Any, Any], model: nn.Module | None, data: Experience, split: str) -> dict[str, Metric]:
    """Metrics of the task's fitted baseline on a split; empty if the task has none (see `fit_baseline`)."""
    if model is None:
        return {}
    samples = samples_of(data)
    if samples is not None and samples.annotations is None:
        data = dataclasses.replace(samples, source=_BlankSource(samples.source))
    return evaluate(task, model, data, split)


def training_sample_limit(data: Experience) -> int:
    """Maximum number of training samples to evaluate."""
    return MAX_TRAINING_IMAGES if is_annotated(data) else MAX_TRAINING_SAMPLES


def subsample(data: Experience, split: str, max_samples: int | None = None) -> Experience:
    """The data with at most `max_samples` evenly spaced samples in a split."""
    max_samples = training_sample_limit(data) if max_samples is None else max_samples
    ids = data.splits[split]
    selected = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), max_samples)).round().long()]
    return dataclasses.replace(data, splits={**data.splits, split: selected})


def predict_split(
    task: Task[Any, Any], model: nn.Module, data: Experience, split: str, device: torch.device | str = "cpu"
) -> Predictions:
    """Predictions of a model on a split, without a run folder."""
    return task.predict(model, data, split, _dry_run(device))


def _dry_run(device: torch.device | str = "cpu") -> Run:
    """A run that holds the device and writes nothing."""
    return Run(Path(), resume=None, device=str(device))


def evaluate(
    task: Task[Any, Any], model: nn.Module, data: Experience, split: str, device: torch.device | str = "cpu"
) -> dict[str, Metric]:
    """Metrics of a model on a split."""
    return task.measure(predict_split(task, model, data, split, device), data.spec)


def significantly_better(ours: Metric, theirs: Metric) -> bool | None:
    """Whether `ours` is better than `theirs` and its 95 % interval excludes `theirs`; None if either is undefined.

    Without an interval nothing is significant.
    """
    if ours.value is None or theirs.value is None:
        return None
    if ours.low is None or ours.high is None:
        return False
    return ours.low > theirs.value if ours.higher_is_better else ours.high < theirs.value


def skill_score(ours: Metric, theirs: Metric) -> float | None:
    """Skill score: the improvement of `ours` over the reference `theirs`, as a fraction of the reference's error.

    The error is 1 - value where higher is better, else the value. None if undefined.
    """
    if ours.value is None or theirs.value is None:
        return None
    error = 1 - theirs.value if theirs.higher_is_better else theirs.value
    gain = ours.value - theirs.value if theirs.higher_is_better else theirs.value - ours.value
    return gain / error if error > 0 else None
