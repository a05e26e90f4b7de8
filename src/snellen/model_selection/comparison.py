"""Comparison of runs on the same test samples: paired differences, intervals and significance tests. Read-only.

"Significantly better" requires a p-value below 0.05 after Holm's correction for the number of pairs. Without the
correction, p < 0.05 if and only if the 95 % confidence interval of the difference excludes zero (`paired_test`). The
correction counts all pairs, although the table compares each run with the best only: the best was selected on the same
samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.api.lookup import read_origin
from snellen.core import file_io
from snellen.core.errors import DataError, UsageError, short_repr
from snellen.core.record import Record, read_predictions, read_record
from snellen.core.spec import names_of
from snellen.core.task import Predictions
from snellen.core.views import Metric
from snellen.data.names import BUILTIN_NAMES
from snellen.data.sample_identity import read_identity
from snellen.metrics.intervals import LEVEL
from snellen.metrics.significance import holm
from snellen.model_selection.paired_test import RunPredictions, paired_test, unit_count
from snellen.tasks import TASKS

NO_DIFFERENCE = "no significant difference"
TAIL_DRAWS = 20  # permutations beyond the smallest p-value that the correction asks for


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run: its name, its learner and its headline metric on the test split."""

    name: str
    learner: str
    headline: Metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Paired comparison of two runs on the same samples.

    Args:
        first, second: their names; the first is at least as good on these samples.
        difference: by how much the first is better, with an interval for this pair alone; percentages in points.
        test: "McNemar" if the headline metric is accuracy, else "exchange" (paired permutation test).
        chance: p-value of the difference; below 0.05 if and only if the interval excludes zero.
        corrected: p-value after Holm's correction for all pairs.
        only: number of samples that only the first, and only the second, classifies correctly; None for other targets.
        better: whether the difference is significant after the correction.
        samples: number of samples, or of what the task resamples in their place, which `noun` names.
    """

    first: str
    second: str
    difference: Metric
    test: str
    chance: float
    corrected: float
    only: tuple[int, int] | None
    better: bool
    samples: int
    noun: str = "samples"

    @property
    def verdict(self) -> str:
        """ "better by 1.2 ± 0.4 percentage points over 10,000 samples" or "no significant difference"."""
        return f"better by {self.difference} over {self.samples:,} {self.noun}" if self.better else NO_DIFFERENCE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs on the same test samples, best first, and the comparison of every pair."""

    headline: str
    samples: int
    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    noun: str = "samples"

    def pair(self, first: str, second: str) -> Pair:
        return next(p for p in self.pairs if {p.first, p.second} == {first, second})

    @property
    def verdict(self) -> str:
        """The best run against the others, in a sentence."""
        best, *others = (run.name for run in self.runs)
        pairs = [self.pair(best, other) for other in others]
        if len(pairs) == 1:
            (pair,) = pairs
            if pair.better:
                return f"{best} is {pair.verdict.replace('better', f'significantly better than {others[0]}:', 1)}."
            return f"{best} and {others[0]} do not differ significantly over {self.samples:,} {self.noun}."
        not_better = [pair.second if pair.first == best else pair.first for pair in pairs if not pair.better]
        if not not_better:
            return f"{best} is significantly better than every other run over {self.samples:,} {self.noun}."
        return (
            f"{best} is the best on these {self.samples:,} {self.noun}, but not significantly better than "
            f"{', '.join(not_better)}."
        )


def compare(*runs: str | Path | TrainedRun) -> Comparison:
    """Compare runs by their stored predictions on the same test samples; nothing is trained and nothing is written.

    Args:
        runs: two or more run folders or runs as returned by `train` and `load`.
    Raises:
        UsageError: for fewer than two runs, a repeated run, different test data, or a run without test predictions.
        DataError: if predictions are damaged or the headline metric is undefined.
    """
    folders = [run.folder if isinstance(run, TrainedRun) else Path(run) for run in runs]
    if len(folders) < 2:
        raise UsageError("A comparison needs two or more runs", "Give two runs: snellen compare RUN RUN...")
    paths = [os.path.realpath(folder) for folder in folders]
    for k, path in enumerate(paths):
        if path in paths[:k]:
            raise UsageError(f"{folders[k]} is given twice", "Give each run once.")
    records = [read_record(folder) for folder in folders]
    read = [_read(folder, record) for folder, record in zip(folders, records, strict=True)]
    for record, run_predictions in zip(records[1:], read[1:], strict=True):
        listed = all(read_identity(folder) is not None for folder in (folders[0], Path(run_predictions.name)))
        reason = data_difference(records[0], read[0].predictions, record, run_predictions.predictions, listed)
        if reason:
            raise UsageError(
                f"{read[0].name} and {run_predictions.name} were tested on different data: {reason}",
                "Compare runs with the same data and the same --split-seed.",
            )
        changed = _changed_contents(folders[0], Path(run_predictions.name), run_predictions.predictions["ids"])
        if changed:
            raise UsageError(
                f"{read[0].name} and {run_predictions.name} were tested on different data: {changed:,} test samples "
                "have another content or target",
                "Train both on the data as it is now.",
            )
    return compare_predictions(read)


def _changed_contents(first: Path, second: Path, ids: Tensor) -> int:
    """Number of test samples whose content or target changed between two trainings, if both list their samples."""
    identities = [read_identity(folder) for folder in (first, second)]
    if any(identity is None or int(ids.max()) >= len(identity.contents) for identity in identities):
        return 0
    a, b = (
        np.stack([i.contents, i.contents if i.targets is None else i.targets])[:, ids.numpy()]
        for i in identities
        if i is not None
    )
    return int((a != b).any(0).sum())


def data_difference(
    record: Record, predictions: Predictions, other: Record, theirs: Predictions, listed: bool = False
) -> str:
    """How the test data of two runs differ, or "".

    Args:
        listed: both runs list the contents of their samples, which are compared; so data that was moved is the same.
    """
    for word, a, b in (
        ("the task", record.task, other.task),
        ("the data", "" if listed else _source(record), "" if listed else _source(other)),
        ("the targets", names_of(record.spec.target), names_of(other.spec.target)),
        ("the units", getattr(record.spec.target, "units", ()), getattr(other.spec.target, "units", ())),
        ("the samples", len(predictions["ids"]), len(theirs["ids"])),
    ):
        if a != b:
            return f"{word} {short_repr(a)} and {short_repr(b)}"
    if not torch.equal(predictions["ids"], theirs["ids"]):
        different = int((predictions["ids"] != theirs["ids"]).sum())
        return f"{different:,} of {len(predictions['ids']):,} samples differ"
    if not torch.equal(predictions["truth"], theirs["truth"]):
        return "the ground truth of the same samples differs"
    if TASKS[record.task].headline(record.spec) != TASKS[other.task].headline(other.spec):
        return "the headline metrics differ, because the class frequencies of the training splits differ"
    return ""


def _source(record: Record) -> str:
    """Identity of the data; built-in datasets are generated from their seed."""
    if record.data is None:
        return record.spec.name
    origin = read_origin(record.data)
    return f"{origin.data} of seed {origin.seed}" if origin.data in BUILTIN_NAMES else origin.data


def _read(folder: Path, record: Record) -> RunPredictions:
    """Read the stored test predictions of a run. Raises UsageError if it has none."""
    if record.task not in TASKS:
        raise DataError(f"{folder} has the unknown task {short_repr(record.task)}", f"Known tasks: {', '.join(TASKS)}.")
    path = folder / "predictions" / "test.safetensors"
    if record.status != "finished":
        raise UsageError(f"{folder} has not finished training", f"Resume it: snellen train --resume {_quoted(folder)}")
    if not path.exists():
        raise UsageError(
            f"{folder} has not been evaluated on the test split",
            f"Finish its ladder or study, or evaluate it: snellen train --resume {_quoted(folder)}",
        )
    expected = record.files.get("predictions/test.safetensors")
    if expected is not None and file_io.sha256(path) != expected:
        raise DataError(
            f"{path} is damaged: its SHA-256 differs from the recorded one",
            f"Evaluate the run again: snellen train --resume {_quoted(folder)}",
        )
    predictions = read_predictions(folder, "test")
    task = TASKS[record.task]
    return RunPredictions(
        name=str(folder), learner=record.learner, task=task, spec=record.spec, predictions=predictions
    )


def _quoted(folder: Path) -> str:
    return shlex.quote(str(folder))


def compare_predictions(read: Sequence[RunPredictions]) -> Comparison:
    """Compare predictions on the same samples."""
    task, spec = read[0].task, read[0].spec
    headline = task.headline(spec)
    runs = []
    for run_predictions in read:
        metric = task.measure(run_predictions.predictions, spec)[headline]
        if metric.value is None:
            raise DataError(
                f"The {headline} of {run_predictions.name} is undefined: {metric.reason}",
                "Compare runs on a test split on which it is defined.",
            )
        runs.append(ComparedRun(name=run_predictions.name, learner=run_predictions.learner, headline=metric))
    sign = 1.0 if runs[0].headline.higher_is_better else -1.0
    order = sorted(range(len(runs)), key=lambda k: -sign * (runs[k].headline.value or 0.0))
    both = list(itertools.combinations(order, 2))
    max_draws = round(TAIL_DRAWS * len(both) / LEVEL)
    pairs = [_pair(read[a], read[b], runs[a].headline, max_draws) for a, b in both]
    corrected = holm([pair.chance for pair in pairs])
    return Comparison(
        headline=headline,
        samples=unit_count(read[0]),
        noun=task.unit_noun,
        runs=tuple(runs[k] for k in order),
        pairs=tuple(with_corrected_p(pair, p) for pair, p in zip(pairs, corrected, strict=True)),
    )


def with_corrected_p(pair: Pair, corrected: float) -> Pair:
    """The pair with its verdict, at the family-wise level of all pairs."""
    return dataclasses.replace(pair, corrected=corrected, better=corrected < LEVEL)


def _pair(first: RunPredictions, second: RunPredictions, like: Metric, max_draws: int) -> Pair:
    """Compare two runs of which the first is at least as good; the p-value is not corrected yet."""
    result = paired_test(first, second, like, max_draws)
    return Pair(
        first=first.name,
        second=second.name,
        difference=result.difference,
        test=result.test,
        chance=result.p,
        corrected=result.p,
        only=result.only,
        better=False,
        samples=unit_count(first),
        noun=first.task.unit_noun,
    )
