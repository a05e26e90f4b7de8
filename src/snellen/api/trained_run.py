"""Trained run: prediction, evaluation, report and export; loading a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snellen.api import input_values
from snellen.api.evaluation_data import check_columns, what_is_left, with_splits_of_run, without_trained_on
from snellen.api.lookup import (
    AnyLearner,
    coco_ids,
    for_task,
    read_settings,
    recorded_learner,
    reopen_data,
    source_changed,
    warn,
    with_present_settings,
)
from snellen.api.model_building import build, prediction_threads
from snellen.api.run_options import find_device
from snellen.api.sampling import draw_samples
from snellen.core import file_io, model_state
from snellen.core import settings as core_settings
from snellen.core.cpu_threads import limit_threads
from snellen.core.errors import DataError, Diverged, short_repr
from snellen.core.experience import Experience
from snellen.core.history import read_history
from snellen.core.record import Record, read_metrics, read_predictions, read_record, write_record
from snellen.core.run import Progress, Run
from snellen.core.serialization import from_plain, to_plain
from snellen.core.snapshots import FILE as SNAPSHOTS_FILE
from snellen.core.spec import Spec, names_of
from snellen.core.task import PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.experience import open_experience, read_inputs, with_deferred_findings
from snellen.data.sample_identity import FILE as SAMPLES_FILE
from snellen.data.target_bounds import BeyondCounter, bound_warnings
from snellen.detection.coco_results import CocoResults
from snellen.detection.outputs import all_detections
from snellen.export.example_inputs import learned_range
from snellen.export.model_file import ExportResult, export
from snellen.report.annotated_images import AnnotatedImageWriter
from snellen.report.learning_curves import validation_score
from snellen.report.notebook import run_html
from snellen.report.pages.run import write_report
from snellen.report.pages.run_summary import RunSummary, run_summary
from snellen.report.prediction_maps import PredictionMapWriter


class TrainedRun:
    """Finished run: its model predicts, and can be evaluated, reported and exported.

    Args:
        folder: the folder of the run.
        record: contents of `run.json`.
        model: in evaluation mode.
        data: the dataset it was trained on; None: opened when needed.

    Attributes:
        threads: number of CPU threads of `predict_batch`; None: by the work of a batch.
    """

    threads: int | None = None

    def __init__(
        self, folder: Path, record: Record, learner: AnyLearner, model: nn.Module, data: Experience | None = None
    ) -> None:
        self.folder = folder
        self.record = record
        self.learner = learner
        self.model = model
        self._data = data

    @property
    def task(self) -> Task[Any, Any]:
        """Task of the learner."""
        return self.learner.task

    @property
    def spec(self) -> Spec:
        """Specification of the training data."""
        return self.record.spec

    @property
    def data(self) -> Experience:
        """The dataset of the run, opened on first use.

        Raises:
            DataError: if it has changed since the run was trained: what the run stores belongs to the former samples.
        """
        if self._data is None:
            data, changes = with_splits_of_run(self.folder, self.record, reopen_data(self.record))
            if changes:
                raise DataError(
                    f"The data of {self.folder} has changed since the run was trained: {changes.text()}",
                    f"Restore it. What is left of the test split: snellen evaluate {shlex.quote(str(self.folder))}",
                )
            self._data = dataclasses.replace(data, preprocessing=self.record.preprocessing)
        return self._data

    @property
    def headline(self) -> str:
        """Name of the headline metric."""
        return self.task.headline(self.spec)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Metrics of the test split, or of the validation split if the test split has not been evaluated."""
        splits = read_metrics(self.folder / "metrics.json")["splits"]
        split = "test" if "test" in splits else "val"
        return {name: from_plain(Metric, value, name) for name, value in splits.get(split, {}).items()}

    def predictions(self, split: str) -> Predictions:
        """Read the stored predictions of a split."""
        return read_predictions(self.folder, split)

    def evaluate_splits(
        self, splits: Sequence[str], run: Run, cost: Mapping[str, Any] | None = None, *, report: bool = True
    ) -> None:
        """Predict splits, store the predictions, and write metrics and report."""
        file_io.reject_links(self.folder)
        path = self.folder / "metrics.json"
        plain: dict[str, Any] = {"headline": self.headline, "splits": {}, "cost": {}, "notes": {}}
        if path.exists():
            plain = read_metrics(path)
        if "test" in splits and "test" not in plain["splits"]:
            self._run_deferred_checks(run)
        for split in splits:
            started = time.monotonic()
            predictions: Predictions
            if split == "val" and run.validation_predictions is not None:
                predictions, seconds = run.validation_predictions
            else:
                predictions = self.task.predict(self.model, self.data, split, run)
                seconds = time.monotonic() - started
            if cost is not None and split == "val":
                cost = {**cost, "seconds_judging": round(seconds, 3)}
            file_io.write_tensors(self.folder / "predictions" / f"{split}.safetensors", predictions)
            plain["splits"][split] = {n: to_plain(m) for n, m in self.task.measure(predictions, self.spec).items()}
        if run.training_predictions is not None:
            file_io.write_tensors(self.folder / "predictions" / "train.safetensors", run.training_predictions)
        if cost is not None:
            plain["cost"] = cost
        plain["notes"] = {**plain["notes"], **run.notes}
        file_io.write_json(path, plain)
        self._finish()
        if report:
            self.report()

    def _run_deferred_checks(self, run: Run) -> None:
        """Run the deferred checks of file contents and duplicates before the test split is evaluated."""
        self._data, findings = with_deferred_findings(self.data)
        for finding in findings:
            run.message(f"{finding.severity}: {finding.message}")

    def _finish(self) -> None:
        """Write the record of a finished run with the hashes of its files."""
        names = [
            "model.safetensors",
            "metrics.json",
            "history.jsonl",
            SAMPLES_FILE,
            SNAPSHOTS_FILE,
            *(f"predictions/{p.name}" for p in sorted((self.folder / "predictions").glob("*.safetensors"))),
        ]
        hashes = {name: file_io.sha256(self.folder / name) for name in names if (self.folder / name).exists()}
        self.record = dataclasses.replace(self.record, status="finished", files=hashes)
        write_record(self.folder, self.record)

    def summary(self) -> RunSummary:
        """Summary of the run with its diagnosis: the content of the report."""
        with limit_threads(self.record.threads):
            return run_summary(self.folder, self.record, self.learner, self.model, self.data)

    def report(self, summary: RunSummary | None = None) -> Path:
        """Write the report and the model card; returns the path of the report.

        Args:
            summary: None: it is made.
        """
        file_io.reject_links(self.folder)
        return write_report(self.folder, summary or self.summary())

    def export_model(self, to: str = "onnx", out: str | Path | None = None) -> ExportResult:
        """Export as `export` does; also returns the metadata of the file, with its agreement with the run."""
        with limit_threads(self.record.threads):
            exported = self.task.export(self.model, self.spec)
            return export(self.folder, self.record, exported, lambda: self.data, to, out)

    def export(self, to: str = "onnx", out: str | Path | None = None) -> Path:
        """Export the model to one file that works without Snellen; returns its path.

        Args:
            to: "onnx", or "torch" for a program of torch.export.
            out: the file; None: `model.onnx` or `model.pt2` in the folder of the run.
        Raises:
            Mismatch: where the outputs of the file differ from those of the run on 100 inputs; no file is written.
        """
        return self.export_model(to, out).path

    def evaluate(
        self,
        data: str | Path | Experience | None = None,
        split: str = "test",
        progress: Progress | None = None,
    ) -> dict[str, Metric]:
        """Metrics on a split of the data of the run, or of other data with the same classes or targets.

        Samples that were added, replaced or removed since training are left out, with a message, as are samples of
        other data that the run was trained on.

        Args:
            progress: receives the messages.
        Raises:
            DataError: if the targets or the columns differ, or no sample is left.
        """
        if data is None:
            given = self._data if self._data is not None else reopen_data(self.record)
        else:
            given = for_task(open_experience(data), self.task)
        present, expected = (names_of(spec.target) for spec in (given.spec, self.spec))
        if present != expected:
            raise DataError(
                f"The targets of {given.spec.name} are {short_repr(present)}, of the model {short_repr(expected)}",
                "Give data with the targets of the model.",
            )
        check_columns(self.spec, given.spec)
        if data is not None:
            opened = without_trained_on(self.folder, self.record, given, split, progress)
        else:
            opened = given if self._data is not None else what_is_left(self.folder, self.record, given, split, progress)
        opened = dataclasses.replace(opened, preprocessing=self.record.preprocessing)
        with limit_threads(self.record.threads):
            run = Run(self.folder, resume=None, device=self.record.device)
            predictions = self.task.predict(self.model, opened, split, run)
        return self.task.measure(predictions, opened.spec)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Lowest and highest value of the training images, stored in the model; None without images."""
        return learned_range(self.model, self.spec)

    def predict_files(
        self,
        paths: Sequence[str | Path],
        draw: str | Path | None = None,
        progress: Progress | None = None,
        coco: str | Path | None = None,
        maps: str | Path | None = None,
        coco_annotations: str | Path | None = None,
    ) -> Iterator[PredictionDict]:
        """Predictions for files, folders, globs or tables, one record per sample, in order.

        Args:
            draw: folder for annotated images, one per image.
            progress: receives a message on values outside the range of training, or that could be read in two ways.
            coco: COCO results file, written at the end with all detections, also those below the threshold.
            maps: folder for prediction maps, one per image, of a model with dense outputs.
            coco_annotations: COCO file with the image and category ids for `coco`; None: that of the training data.
        Raises:
            DataError: naming the first input whose prediction is NaN or infinite.
        """
        from snellen.data.source import BadSamples
        from snellen.modalities import inputs

        image_writer = (
            None if draw is None else AnnotatedImageWriter(Path(draw), self.task, self.spec, self.record.preprocessing)
        )
        results = None if coco is None else CocoResults(Path(coco), self.spec, coco_ids(self.record, coco_annotations))
        map_writer = None if maps is None else PredictionMapWriter(Path(maps), self.task, self.spec)
        value_range, warned, files = self.value_range, False, [str(path) for path in paths]
        beyond = BeyondCounter(self.spec.target)
        try:
            for names, x in inputs(files, self.spec, self.record.preprocessing, partial(warn, progress)):
                if not warned and (warnings := self.range_warnings(names, x, value_range)):
                    warn(progress, f"{warnings[0]} (Shown once.)")
                    warned = True
                try:
                    records = self.predict_records(names, x, results)
                except Diverged as error:
                    raise (
                        input_values.input_error(names, x, self.spec, self.model, self.predict_batch) or error
                    ) from error
                for record, name in zip(records, names, strict=True):
                    if image_writer is not None:
                        image_writer.write(Path(name), value_range, record)
                    if map_writer is not None:
                        map_writer.write(Path(name), record)
                    beyond.add(record)
                    yield record
        except BadSamples:  # raised after the predictions for all other samples
            if results is not None:
                results.write(progress)
            raise
        for message in beyond.messages():
            warn(progress, message)
        if results is not None:
            results.write(progress)

    def predict_records(
        self, names: Sequence[str], x: Tensor, results: CocoResults | None = None
    ) -> list[PredictionDict]:
        """Prediction records with the names of the samples, as `predict` prints them.

        A record has "warnings" where a predicted number lies beyond a bound of the training targets.

        Args:
            results: receives all detections, also those below the threshold.
        """
        from snellen.modalities.modality import fields_of

        name_key = "input" if "input" not in getattr(self.spec.target, "names", ()) else "sample"
        predictions = self.predict_batch(x) if results is None else self._collect_detections(names, x, results)
        return [
            {name_key: str(name), **fields_of(name), **prediction, **bound_warnings(prediction, self.spec.target)}
            for name, prediction in zip(names, predictions, strict=True)
        ]

    def _collect_detections(self, names: Sequence[str], x: Tensor, results: CocoResults) -> list[PredictionDict]:
        """Predictions above the threshold; adds all detections to `results`."""
        with all_detections(self.model) as threshold:
            predictions = self.predict_batch(x)
        for name, prediction in zip(names, predictions, strict=True):
            results.add(name, prediction["objects"])
        return [
            {
                "objects": [detection for detection in prediction["objects"] if detection["score"] >= threshold],
                "threshold": round(threshold, 6),
            }
            for prediction in predictions
        ]

    def range_warnings(self, names: Sequence[str], x: Tensor, value_range: tuple[float, float] | None) -> list[str]:
        """Warnings for images with values outside `value_range`, the range of the training values."""
        return input_values.range_warnings(names, x, value_range)

    def worst_samples(self, count: int = 9, split: str = "test") -> list[PredictionDict]:
        """Samples with the largest errors, largest first: name, truth and prediction; fewer if fewer are wrong."""
        predictions = self.predictions(split)
        ids = predictions["ids"][self.task.worst_samples(predictions, self.spec, count)].tolist()
        return [
            {
                "name": self.data.name(id),
                "truth": self.task.truth(self.data, id),
                "answer": self.predict_batch(read_inputs(self.data, torch.tensor([id]), self.record.preprocessing))[0],
            }
            for id in ids
        ]

    def predict(self, x: str | Path | Tensor) -> PredictionDict | list[PredictionDict]:
        """Prediction for one file or one sample; a list of predictions for a folder, a glob, a table or a batch."""
        if isinstance(x, Tensor):
            single = x.ndim == len(self.spec.input.shape)
            predictions = self.predict_batch(x[None] if single else x)
            return predictions[0] if single else predictions
        predictions = list(self.predict_files([x]))
        return predictions[0] if len(predictions) == 1 and Path(x).is_file() else predictions

    def sample(self, count: int = 64, seed: int = 0) -> Tensor:
        """New samples of a generator, (count, ...) in raw units; see `draw_samples`."""
        with limit_threads(self.record.threads):
            return draw_samples(self.task, self.model, self.record.learner, count, seed)

    def predict_batch(self, x: Tensor) -> list[PredictionDict]:
        """Predictions for (B, ...) raw inputs, read with `record.preprocessing`."""
        with limit_threads(self.threads or prediction_threads(self._multiply_adds * len(x))):
            return self.task.predict_batch(self.model, x.to(self.record.device), self.spec)

    @cached_property
    def _multiply_adds(self) -> float:
        """Multiply-adds per sample, as stored; infinite if unknown."""
        with contextlib.suppress(DataError, KeyError, TypeError, ValueError):
            return float(read_metrics(self.folder / "metrics.json")["cost"]["multiply_adds"])
        return math.inf

    def _repr_html_(self) -> str:
        title = f"{self.record.learner} on {self.spec.name}"
        score = validation_score(self.task, self.spec, self.metrics)
        return run_html(title, self.headline, self.metrics, read_history(self.folder / "history.jsonl"), score)

    def __repr__(self) -> str:
        metric = f"{self.headline} {self.metrics.get(self.headline, 'not measured')}"
        return f"<run {self.folder}: {self.record.learner} on {self.spec.name}, {metric}>"


def load(
    folder: str | Path,
    *,
    learner: AnyLearner | nn.Module | None = None,
    device: str = "auto",
    data: Experience | None = None,
) -> TrainedRun:
    """Load a run; checks the weights against their SHA-256. No file in the folder can run code.

    Args:
        learner: the learner, if it is a custom one.
        data: the data, if it was made in memory or is already open.
    """
    folder = Path(folder)
    record = dataclasses.replace(read_record(folder), device=find_device(device))
    run_learner = recorded_learner(record, learner)
    record = with_present_settings(record, run_learner)
    path = folder / "model.safetensors"
    if not os.path.lexists(path):
        raise DataError(
            f"{folder} has no trained model yet", f"Resume with: snellen train --resume {shlex.quote(str(folder))}"
        )
    expected = record.files.get("model.safetensors")
    if expected is not None and file_io.sha256(path) != expected:
        raise DataError(f"{path} has changed since it was written: its SHA-256 differs", "Restore it, or train again.")
    tensors, _ = file_io.read_tensors(path)
    if source_changed(record, run_learner):
        warn(None, f"The source of {run_learner.name} has changed since {folder} was trained.")
    settings = core_settings.make(run_learner.settings, read_settings(run_learner, record.settings))
    model = build(run_learner, settings, record, tensors)
    model_state.load_weights(model, tensors, f"The weights of {path}")
    model.to(record.device).eval()
    if data is not None:
        data, changes = with_splits_of_run(folder, record, for_task(data, run_learner.task))
        if changes:
            raise DataError(
                f"The given data is not that of {folder}: {changes.text()}", "Give the data that it was trained on."
            )
        data = dataclasses.replace(data, preprocessing=record.preprocessing)
    return TrainedRun(folder, record, run_learner, model, data)
