"""All that is known of a finished run, gathered once: what every section of the page reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snellen.core import files
from snellen.core.history import read_history
from snellen.core.learner import Learner
from snellen.core.record import Record, read_predictions
from snellen.core.serialization import from_plain
from snellen.core.task import Predictions, Task
from snellen.core.views import Finding, Metric, View
from snellen.data.dataset import Dataset, Labelled
from snellen.report import reference_metrics
from snellen.report.diagnosis import Evidence, diagnose
from snellen.report.learning_curves import Row

SHOWN_INSIDE = 16  # samples whose way through the model a learner may draw


@dataclass(frozen=True, kw_only=True)
class Told:
    """A finished run as plain data.

    Args:
        folder: as the user named it.
        metrics: split -> name -> figure; "test" is there where it was opened.
        baseline: figures of the baseline on the split that is judged; empty where the task has none.
        cost, notes: as `metrics.json` keeps them.
        findings: the diagnosis, causes first.
        views, inside: what the task shows of the predictions, and the learner of the model.
    """

    folder: str
    record: Record
    learner: Learner[Any, Any, Any]
    data: Dataset[Labelled]
    metrics: Mapping[str, Mapping[str, Metric]]
    baseline: Mapping[str, Metric]
    cost: Mapping[str, Any]
    notes: Mapping[str, Any]
    history: Sequence[Row]
    findings: Sequence[Finding]
    views: Sequence[View]
    inside: Sequence[View]

    @property
    def task(self) -> Task[Any, Any]:
        return self.learner.task

    @property
    def split(self) -> str:
        """The split that is judged: test, or validation where the test split has not been opened."""
        return "test" if "test" in self.metrics else "val"

    @property
    def headline(self) -> str:
        return self.task.headline(self.record.spec)

    @property
    def figure(self) -> Metric:
        return self.metrics[self.split][self.headline]


def tell(
    folder: Path, record: Record, learner: Learner[Any, Any, Any], model: nn.Module, data: Dataset[Labelled]
) -> Told:
    """Reads a run's folder, asks the baseline, and diagnoses.

    Args:
        model: in evaluation mode, on its device.
        data: read as the record says.
    Raises:
        DataError: when the folder has no metrics or predictions.
    """
    kept = files.read_json(folder / "metrics.json")
    metrics = {
        split: {name: from_plain(Metric, plain, name) for name, plain in named.items()}
        for split, named in kept["splits"].items()
    }
    split = "test" if "test" in metrics else "val"
    said: Predictions = read_predictions(folder, split)
    history = read_history(folder / "history.jsonl")
    figures = reference_metrics.baseline_figures(learner.task, data, split)
    evidence = Evidence(
        task=learner.task, model=model, data=data, history=history, said=said, metrics=metrics, notes=kept["notes"]
    )
    empty = not len(said["ids"])
    x = data.example("train", evidence.device)
    if data.annotations is None:
        some = reference_metrics.few(data, "train", SHOWN_INSIDE).samples("train", evidence.device)
        x = some.take(torch.arange(len(some))).x
    return Told(
        folder=str(folder),
        record=record,
        learner=learner,
        data=data,
        metrics=metrics,
        baseline=figures,
        cost=kept["cost"],
        notes=kept["notes"],
        history=history,
        findings=diagnose(evidence, figures),
        views=[] if empty else learner.task.views(said, data, record.spec),
        inside=learner.inside(model, x) if len(x) else [],
    )
