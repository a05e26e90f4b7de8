"""Figures beside those of the run: what the baseline reaches, and what the model says of what it learned from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.spec import Preprocessing
from snellen.core.task import Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.source import Source
from snellen.tasks import LEARNERS

MOST_TRAINING = 2000  # training samples that are asked again: enough for a figure to ± 2 points
MOST_SCENES = 32  # likewise of pictures that have many truths each
SKILL = 0.05  # of what the baseline leaves to be desired: weights drawn at random reach 3 % of it by luck


def device_of(model: nn.Module) -> torch.device:
    """Where a model is; one in closed form has buffers only."""
    return next((held.device for held in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def baseline(task: Task[Any, Any], data: Dataset[Labelled]) -> nn.Module | None:
    """The task's baseline, learned from the training split; None where the task has none."""
    learner = LEARNERS.get(task.name, {}).get("baseline")
    if learner is None:
        return None
    settings = learner.settings()
    model: nn.Module = learner.build(settings, data.spec)
    learner.fit(settings, data, model, _nowhere())
    return model.eval()


class _Blank:
    """Stands for inputs that no one looks at: the baseline's answers need no picture to be read."""

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


def baseline_figures(
    task: Task[Any, Any], data: Dataset[Labelled], split: str, over: Dataset[Labelled] | None = None
) -> dict[str, Metric]:
    """The metrics of the task's baseline on a split; empty where the task has none.

    Args:
        data: what the baseline learns from.
        over: what it is judged on; None: the same data.
    """
    model = baseline(task, data)
    judged = data if over is None else over
    if data.annotations is None:
        judged = dataclasses.replace(judged, source=_Blank(judged.source))
    return {} if model is None else figures(task, model, judged, split)


def most_of(data: Dataset[Labelled]) -> int:
    """How many training samples are asked again."""
    return MOST_TRAINING if data.annotations is None else MOST_SCENES


def few(data: Dataset[Labelled], split: str, most: int | None = None) -> Dataset[Labelled]:
    """The same data with at most `most` samples in a split, spread evenly over it."""
    most = most_of(data) if most is None else most
    ids = data.splits[split]
    chosen = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), most)).round().long()]
    return dataclasses.replace(data, splits={**data.splits, split: chosen})


def ask(
    task: Task[Any, Any], model: nn.Module, data: Dataset[Labelled], split: str, device: torch.device | str = "cpu"
) -> Predictions:
    """What a model says of a split, outside any run."""
    return task.predict(model, data, split, _nowhere(device))


def _nowhere(device: torch.device | str = "cpu") -> Run:
    """A run that only tells the device and writes nothing."""
    return Run(Path(), resume=None, device=str(device))


def figures(
    task: Task[Any, Any], model: nn.Module, data: Dataset[Labelled], split: str, device: torch.device | str = "cpu"
) -> dict[str, Metric]:
    """The metrics of a model on a split."""
    return task.measure(ask(task, model, data, split, device), data.spec)


def beats(ours: Metric, theirs: Metric) -> bool | None:
    """Whether a figure is better than another that lies outside its interval; None where either is undefined."""
    if ours.value is None or theirs.value is None:
        return None
    if ours.higher_is_better:
        return (ours.value if ours.low is None else ours.low) > theirs.value
    return (ours.value if ours.high is None else ours.high) < theirs.value


def gained(ours: Metric, theirs: Metric) -> float | None:
    """The share of what a figure leaves to be desired that another makes good: of its error, or of its way to one."""
    if ours.value is None or theirs.value is None:
        return None
    left = 1 - theirs.value if theirs.higher_is_better else theirs.value
    better = ours.value - theirs.value if theirs.higher_is_better else theirs.value - ours.value
    return better / left if left > 0 else None
