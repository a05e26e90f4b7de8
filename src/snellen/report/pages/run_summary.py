"""Summary of a finished run: record, metrics, history, findings and views, as the report reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snellen.core import file_io
from snellen.core.experience import Experience
from snellen.core.history import read_history
from snellen.core.learner import Learner
from snellen.core.record import Record, read_predictions
from snellen.core.serialization import from_plain
from snellen.core.task import Predictions, Task
from snellen.core.views import Finding, Metric, View
from snellen.data.experience import samples_of
from snellen.report import reference_metrics
from snellen.report.diagnosis import Evidence, diagnose, examines_layers, leakage_findings
from snellen.report.diagnosis_size import DiagnosisSize, diagnosis_size, trained_samples
from snellen.report.first_layer import first_layer_views
from snellen.report.learning_curves import HistoryRow
from snellen.report.missing_inputs import missing_input_views
from snellen.report.training_snapshots import training_models

INTERNALS_SAMPLES = 16  # training samples with which a learner may draw the internals of its model


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A finished run as plain data.

    Args:
        folder: as the user named it.
        metrics: split -> name -> metric; contains "test" if the test split has been evaluated.
        baseline: metrics of the baseline on the evaluated split; empty if the task has no baseline, or the run
            is one.
        baseline_gain: see `reference_metrics.paired_gain`.
        cost, notes: as stored in `metrics.json`.
        findings: the diagnosis, causes first.
        diagnosed: numbers of samples of the diagnosis.
        views, inside: views of the predictions (by the task) and of the model's internals (by the learner).
    """

    folder: str
    record: Record
    learner: Learner[Any, Any, Any]
    data: Experience
    metrics: Mapping[str, Mapping[str, Metric]]
    baseline: Mapping[str, Metric]
    baseline_gain: Metric | None
    cost: Mapping[str, Any]
    notes: Mapping[str, Any]
    history: Sequence[HistoryRow]
    findings: Sequence[Finding]
    diagnosed: DiagnosisSize
    views: Sequence[View]
    inside: Sequence[View]

    @property
    def task(self) -> Task[Any, Any]:
        return self.learner.task

    @property
    def split(self) -> str:
        """The evaluated split: test, or validation if the test split has not been evaluated."""
        return "test" if "test" in self.metrics else "val"

    @property
    def headline(self) -> str:
        return self.task.headline(self.record.spec)

    @property
    def headline_metric(self) -> Metric:
        return self.metrics[self.split][self.headline]


def run_summary(
    folder: Path, record: Record, learner: Learner[Any, Any, Any], model: nn.Module, data: Experience
) -> RunSummary:
    """Read a run folder, evaluate the baseline and diagnose the run.

    Args:
        model: in evaluation mode, on its device.
        data: preprocessed as in the record.
    Raises:
        DataError: if the folder has no metrics or predictions.
    """
    stored = file_io.read_json(folder / "metrics.json")
    metrics = {
        split: {name: from_plain(Metric, plain, name) for name, plain in named.items()}
        for split, named in stored["splits"].items()
    }
    split = "test" if "test" in metrics else "val"
    predictions: Predictions = read_predictions(folder, split)
    history = read_history(folder / "history.jsonl")
    is_baseline = learner is reference_metrics.baseline_learner(learner.task)  # not compared with itself
    baseline_model = None if is_baseline else reference_metrics.fit_baseline(learner.task, data)
    baseline = reference_metrics.baseline_metrics(learner.task, baseline_model, data, split)
    train_file = folder / "predictions" / "train.safetensors"
    size = diagnosis_size(
        min(len(data.splits["train"]), reference_metrics.training_sample_limit(data)),
        trained_samples(history, stored["notes"]),
        stored["cost"].get("multiply_adds"),
        examines_layers=examines_layers(model, learner.task),
    )
    gain = reference_metrics.paired_gain(learner.task, predictions, baseline_model, data, split)
    evidence = Evidence(
        task=learner.task,
        model=model,
        data=data,
        history=history,
        predictions=predictions,
        metrics=metrics,
        notes=stored["notes"],
        size=size,
        training_predictions=read_predictions(folder, "train") if train_file.exists() else None,
        baseline_model=baseline_model,
        baseline_gain=gain,
    )
    views = learner.task.views(predictions, data, record.spec) if len(predictions["ids"]) else []
    in_training: list[View] = []
    if record.spec.has_training_views:
        in_training = learner.task.training_views(training_models(folder, model, history), data, record.spec)
    x = data.example("train", evidence.device)
    samples = samples_of(reference_metrics.subsample(data, "train", INTERNALS_SAMPLES))
    if samples is not None and samples.annotations is None:
        subset = samples.samples("train", evidence.device)
        x = subset.take(torch.arange(len(subset))).x
    return RunSummary(
        folder=str(folder),
        record=record,
        learner=learner,
        data=data,
        metrics=metrics,
        baseline=baseline,
        baseline_gain=gain,
        cost=stored["cost"],
        notes=stored["notes"],
        history=history,
        findings=leakage_findings(data) if is_baseline else diagnose(evidence, baseline),
        diagnosed=size,
        views=[
            *learner.task.input_maps(model, data, record.spec, split),
            *learner.task.model_views(model, data, record.spec),
            *(missing_input_views(learner.task, model, data, split) if learner.several_inputs else []),
            *in_training,
            *views,
        ],
        inside=[
            *(learner.model_views(model, x) if len(x) else []),
            *first_layer_views(learner.task, model, x, record.spec),
        ],
    )
