"""A finished run, and reading one back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snellen.api.lookup import AnyLearner, is_ours, learner_of, numbers, read_settings, reopen, source_changed, warn
from snellen.api.run_options import find_device, physical_memory, threads
from snellen.core import files
from snellen.core import settings as core_settings
from snellen.core.errors import DataError, EnvironmentProblem, UsageError, first_line
from snellen.core.history import read_history
from snellen.core.random import drawing, skip_init
from snellen.core.record import Record, read_predictions, read_record, write_record
from snellen.core.run import Progress, Run
from snellen.core.serialization import from_plain, to_plain
from snellen.core.spec import Spec
from snellen.core.task import Answer, Predictions, Task
from snellen.core.views import Metric
from snellen.data.check.checks import looked_late
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import dataset
from snellen.detection.coco_results import Results
from snellen.detection.outputs import all_detections
from snellen.export.example_inputs import learned_range
from snellen.export.model_file import Published, export
from snellen.report.annotated_images import Annotated
from snellen.report.notebook import html_of_run
from snellen.report.pages.run import write_report
from snellen.report.pages.run_summary import Told, tell
from snellen.report.prediction_maps import MapFiles

OUTSIDE = 0.05  # of a picture's values: of those that were learned from, 0.002 lie outside


class TrainedRun:
    """A finished run: its model can be asked, evaluated, looked at.

    Args:
        folder: the run's folder.
        record: what `run.json` says.
        model: in evaluation mode.
        data: the dataset it was trained on, where it is at hand.
    """

    def __init__(
        self, folder: Path, record: Record, learner: AnyLearner, model: nn.Module, data: Dataset[Labelled] | None = None
    ) -> None:
        self.folder = folder
        self.record = record
        self.learner = learner
        self.model = model
        self._data = data

    @property
    def task(self) -> Task[Any, Any]:
        return self.learner.task

    @property
    def spec(self) -> Spec:
        return self.record.spec

    @property
    def data(self) -> Dataset[Labelled]:
        if self._data is None:
            self._data = dataclasses.replace(reopen(self.record), preprocessing=self.record.preprocessing)
        return self._data

    @property
    def headline(self) -> str:
        return self.task.headline(self.spec)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Of the test split, or of validation where the test split has not been opened."""
        splits = read_measured(self.folder / "metrics.json")["splits"]
        split = "test" if "test" in splits else "val"
        return {name: from_plain(Metric, value, name) for name, value in splits.get(split, {}).items()}

    def predictions(self, split: str) -> Predictions:
        """What the model said of a split, as it was kept."""
        return read_predictions(self.folder, split)

    def judge(
        self, splits: Sequence[str], run: Run, cost: Mapping[str, Any] | None = None, *, report: bool = True
    ) -> None:
        """Asks the model of whole splits, keeps what it says, measures, and writes metrics and report."""
        path = self.folder / "metrics.json"
        plain: dict[str, Any] = {"headline": self.headline, "splits": {}, "cost": {}, "notes": {}}
        if path.exists():
            plain = read_measured(path)
        if "test" in splits and "test" not in plain["splits"]:
            self._look_late(run)
        for split in splits:
            started = time.monotonic()
            said = self.task.predict(self.model, self.data, split, run)
            if cost is not None and split == "val":
                cost = {**cost, "seconds_judging": round(time.monotonic() - started, 3)}
            files.write_tensors(self.folder / "predictions" / f"{split}.safetensors", said)
            plain["splits"][split] = {n: to_plain(m) for n, m in self.task.measure(said, self.spec).items()}
        if cost is not None:
            plain["cost"] = cost
        plain["notes"] = {**plain["notes"], **run.notes}
        files.write_json(path, plain)
        self._finish()
        if report:
            self.report()

    def _look_late(self, run: Run) -> None:
        """Contents and copies that the check put off are looked at before the test split is opened."""
        self._data, late = looked_late(self.data)
        for finding in late:
            run.say(f"{finding.severity}: {finding.message}")

    def _finish(self) -> None:
        names = [
            "model.safetensors",
            "metrics.json",
            "history.jsonl",
            *(f"predictions/{p.name}" for p in sorted((self.folder / "predictions").glob("*.safetensors"))),
        ]
        hashes = {name: files.sha256(self.folder / name) for name in names if (self.folder / name).exists()}
        self.record = dataclasses.replace(self.record, status="finished", files=hashes)
        write_record(self.folder, self.record)

    def told(self) -> Told:
        """All that is known of the run, with its diagnosis: what the page is made from."""
        return tell(self.folder, self.record, self.learner, self.model, self.data)

    def report(self) -> Path:
        """Writes the page and the model card anew; returns the page's path."""
        with threads(self.record.threads):
            return write_report(self.folder, self.told())

    def publish(self, to: str = "onnx", out: str | Path | None = None) -> Published:
        """As `export`; returns also what stands in the file about itself, with how far it agrees with the run."""
        with threads(self.record.threads):
            exported = self.task.export(self.model, self.spec)
            return export(self.folder, self.record, exported, lambda: self.data, to, out)

    def export(self, to: str = "onnx", out: str | Path | None = None) -> Path:
        """Writes the model as one file that works without Snellen; returns its path.

        Args:
            to: "onnx", or "torch" for a program of torch.export.
            out: the file; None: `model.onnx` or `model.pt2` in the run's folder.
        Raises:
            Mismatch: where the file would say other than the run on 100 inputs; nothing is written.
        """
        return self.publish(to, out).path

    def evaluate(self, data: str | Path | Dataset[Labelled] | None = None, split: str = "test") -> dict[str, Metric]:
        """Metrics on a split of the run's data, or of other data with the same classes or targets."""
        opened = self.data if data is None else data if isinstance(data, Dataset) else dataset(data)
        theirs, ours = (getattr(spec.target, "names", None) for spec in (opened.spec, self.spec))
        if theirs != ours:
            raise DataError(f"The targets of {opened.spec.name} are {theirs}, the model's {ours}", "Give data like it.")
        opened = dataclasses.replace(opened, preprocessing=self.record.preprocessing)
        with threads(self.record.threads):
            run = Run(self.folder, resume=None, device=self.record.device)
            said = self.task.predict(self.model, opened, split, run)
        return self.task.measure(said, opened.spec)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The lowest and highest value of pictures that the model tells apart; None where it looks at none."""
        return learned_range(self.model, self.spec)

    def answers(
        self,
        words: Sequence[str | Path],
        draw: str | Path | None = None,
        progress: Progress | None = None,
        coco: str | Path | None = None,
        maps: str | Path | None = None,
        coco_annotations: str | Path | None = None,
    ) -> Iterator[Answer]:
        """What the model says of files, folders, globs or tables, one record a sample, in their order.

        Args:
            draw: a folder in which each picture is written with its answer.
            progress: receives one message if values lie outside the range of the training data.
            coco: a file that is written at the end with all that was found, below the threshold too.
            maps: a folder in which the map of each picture is written, of a model that answers every pixel.
            coco_annotations: COCO annotation file whose image and category ids `coco` takes; None: that of the training
                data, if it is in COCO's layout and still there.
        """
        from snellen.data.inference_inputs import inputs
        from snellen.data.source import BadSamples

        drawn = None if draw is None else Annotated(Path(draw), self.spec, self.record.preprocessing)
        results = None if coco is None else Results(Path(coco), self.spec, numbers(self.record, coco_annotations))
        mapped = None if maps is None else MapFiles(Path(maps), self.spec)
        value_range, warned = self.value_range, False
        try:
            for names, x in inputs([str(word) for word in words], self.spec, self.record.preprocessing):
                if not warned and (strange := self.strange(names, x, value_range)):
                    warn(progress, f"{strange[0]} (Said once.)")
                    warned = True
                for record, name in zip(self.records(names, x, results), names, strict=True):
                    if drawn is not None:
                        drawn.write(Path(name), value_range, record)
                    if mapped is not None:
                        mapped.write(Path(name), record)
                    yield record
        except BadSamples:  # all others are answered
            if results is not None:
                results.write(progress)
            raise
        if results is not None:
            results.write(progress)

    def records(self, names: Sequence[str], x: Tensor, results: Results | None = None) -> list[Answer]:
        """What `predict` prints of each sample: its name, and the answer.

        Args:
            results: are given all that was found, below the threshold too.
        """
        called = "input" if "input" not in getattr(self.spec.target, "names", ()) else "sample"
        answers = self.ask(x) if results is None else self._all_found(names, x, results)
        return [{called: name, **answer} for name, answer in zip(names, answers, strict=True)]

    def _all_found(self, names: Sequence[str], x: Tensor, results: Results) -> list[Answer]:
        with all_detections(self.model) as threshold:
            answers = self.ask(x)
        for name, answer in zip(names, answers, strict=True):
            results.add(name, answer["objects"])
        return [
            {
                "objects": [one for one in answer["objects"] if one["score"] >= threshold],
                "threshold": round(threshold, 6),
            }
            for answer in answers
        ]

    def strange(self, names: Sequence[str], x: Tensor, value_range: tuple[float, float] | None) -> list[str]:
        """A sentence for each picture whose values lie where the model has seen none; `value_range` is this run's."""
        from snellen.data.inference_inputs import outside_range

        if value_range is None or (x.dtype == torch.uint8 and value_range[0] <= 0 and value_range[1] >= 255):
            return []
        shares = [outside_range(values, *value_range) for values in x]
        return [
            f"{name}: {share:.0%} of the values lie outside {value_range[0]:g} … {value_range[1]:g}, "
            "the range of the training values. Was the image acquired or saved differently?"
            for name, share in zip(names, shares, strict=True)
            if share > OUTSIDE
        ]

    def worst(self, count: int = 9, split: str = "test") -> list[Answer]:
        """The samples most wrong, worst first: name, truth and answer of each; fewer where fewer are wrong."""
        said = self.predictions(split)
        ids = said["ids"][self.task.worst(said, self.spec, count)].tolist()
        return [
            {
                "name": self.data.name(id),
                "truth": self.task.truth(self.data, id),
                "answer": self.ask(self.data.source.read(np.array([id]), self.record.preprocessing))[0],
            }
            for id in ids
        ]

    def predict(self, what: str | Path | Tensor) -> Answer | list[Answer]:
        """The answer for one file or one sample; the answers for a folder, a glob, a table or a batch."""
        if isinstance(what, Tensor):
            single = what.ndim == len(self.spec.input.shape)
            answers = self.ask(what[None] if single else what)
            return answers[0] if single else answers
        answers = list(self.answers([what]))
        return answers[0] if len(answers) == 1 and Path(what).is_file() else answers

    def ask(self, x: Tensor) -> list[Answer]:
        """(B, ...) raw inputs, read as `record.preprocessing` says, to answers."""
        return self.task.answer(self.model, x.to(self.record.device), self.spec)

    def _repr_html_(self) -> str:
        title = f"{self.record.learner} on {self.spec.name}"
        return html_of_run(title, self.headline, self.metrics, read_history(self.folder / "history.jsonl"))

    def __repr__(self) -> str:
        figure = f"{self.headline} {self.metrics.get(self.headline, 'not measured')}"
        return f"<run {self.folder}: {self.record.learner} on {self.spec.name}, {figure}>"


def load(
    folder: str | Path,
    *,
    learner: AnyLearner | nn.Module | None = None,
    device: str = "auto",
    data: Dataset[Labelled] | None = None,
) -> TrainedRun:
    """Reads a run back, its weights checked against their SHA-256; nothing in the folder can run code.

    Args:
        learner: again, where it is the user's own.
        data: again, where it was made in memory or is open already.
    """
    folder = Path(folder)
    record = dataclasses.replace(read_record(folder), device=find_device(device))
    found = learner_of(record, learner)
    path = folder / "model.safetensors"
    if not os.path.lexists(path):
        raise DataError(
            f"{folder} has no trained model yet", f"Go on with: snellen train --resume {shlex.quote(str(folder))}"
        )
    expected = record.files.get("model.safetensors")
    if expected is not None and files.sha256(path) != expected:
        raise DataError(f"{path} is not what was written: its SHA-256 differs", "Restore it, or train again.")
    tensors, _ = files.read_tensors(path)
    if source_changed(record, found):
        warn(None, f"The source of {found.name} has changed since {folder} was trained.")
    chosen = core_settings.make(found.settings, read_settings(found, record.settings))
    model = build(found, chosen, record, tensors)
    files.load_weights(model, tensors, f"The weights of {path}")
    model.to(record.device).eval()
    return TrainedRun(
        folder, record, found, model, data and dataclasses.replace(data, preprocessing=record.preprocessing)
    )


def build(learner: AnyLearner, chosen: Any, record: Record, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The untrained model of a run, planned without memory first: a record may ask for more than there is.

    Args:
        tensors: the weights it is built for; a plan of other shapes is not carried out, and ours draw none before.
    Raises:
        EnvironmentProblem: where memory is too small.
        DataError: where the record describes no model, or not that of `tensors`.
    """
    plan = planned(learner, chosen, record.spec, record.seed)
    if plan is not None:
        needed = sum(t.numel() * t.element_size() for t in plan.state_dict().values())
        if needed > physical_memory():
            raise EnvironmentProblem(
                f"{learner.name} would need {needed:,} bytes, more memory than there is",
                "Take a smaller model or smaller pictures.",
            )
        if tensors is not None:
            files.refuse_misfits(plan, tensors, f"The weights of the run, learned by {learner.name},")
    filled = tensors is not None and is_ours(learner)
    with drawing(record.seed, "build"), skip_init() if filled else contextlib.nullcontext():
        made: nn.Module = learner.build(chosen, record.spec)
    return made


def planned(learner: AnyLearner, chosen: Any, spec: Spec, seed: int) -> nn.Module | None:
    """The model with shapes and no memory; None where a build of the user's own needs real values.

    Raises:
        DataError: where one of ours cannot be built.
    """
    try:
        with drawing(seed, "build"), skip_init(), torch.device("meta"):  # to draw there torch loads its whole compiler
            plan: nn.Module = learner.build(chosen, spec)
        return plan
    except (EnvironmentProblem, UsageError):
        raise
    except Exception as error:  # what a damaged record leads to
        if is_ours(learner):
            raise DataError(
                f"{learner.name} cannot be built for {spec.name}: {first_line(error)}", "Do its settings suit the data?"
            ) from error
        return None


def read_measured(path: Path) -> dict[str, Any]:
    """`metrics.json`: headline, splits -> name -> metric, cost, notes."""
    plain = files.read_json(path)
    right = isinstance(plain, dict) and all(isinstance(plain.get(key), dict) for key in ("splits", "cost", "notes"))
    if not right or not all(isinstance(split, dict) for split in plain["splits"].values()):
        raise DataError(f"{path} is not what was written", "Judge the run anew: snellen evaluate.")
    return dict(plain)
