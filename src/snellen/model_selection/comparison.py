"""Runs against each other on the same test samples: by how much, how sure, and a verdict in words. Reads only.

The verdict "better" needs two things: a test of the difference that stands after Holm's correction for the number of
pairs, and a 95 % interval that leaves zero out. All pairs count for the correction, though the table shows each run
beside the best alone: the best was found on the same samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.api.lookup import Origin
from snellen.core import files
from snellen.core.errors import DataError, UsageError, shown
from snellen.core.record import Record, read_predictions, read_record
from snellen.core.serialization import from_plain
from snellen.core.spec import Classes, Spec
from snellen.core.task import Predictions, Task
from snellen.core.views import Metric
from snellen.data.names import BUILTIN_NAMES
from snellen.metrics.intervals import bootstrap
from snellen.metrics.significance import exchange, holm, mcnemar
from snellen.tasks import TASKS

LEVEL = 0.05  # of the test, for all pairs together
SAME = "not distinguishable"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """One run: what it is called, and its headline on the test split."""

    name: str
    learner: str
    headline: Metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs on the same samples.

    Args:
        first, second: their names; on these samples the first is at least as good.
        difference: by how much the first is better, with a paired bootstrap interval; shares in points.
        test: "McNemar" where the headline is the share of right answers, else "exchange".
        chance: of a difference at least as large between equal learners, by that test.
        corrected: the same after Holm's correction for all pairs.
        only: samples on which only the first, and only the second, is right; None where there is no one right class.
        better: whether they are told apart.
        samples: how many there are.
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

    @property
    def verdict(self) -> str:
        """ "better by 1.2 ± 0.4 points over 10,000 samples" or "not distinguishable"."""
        return f"better by {self.difference} over {self.samples:,} samples" if self.better else SAME


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs on the same test samples, best first, and every pair of them."""

    headline: str
    samples: int
    runs: tuple[Compared, ...]
    pairs: tuple[Pair, ...]

    def pair(self, first: str, second: str) -> Pair:
        return next(p for p in self.pairs if {p.first, p.second} == {first, second})

    @property
    def verdict(self) -> str:
        """The best against the others, in a sentence."""
        best, *others = (run.name for run in self.runs)
        pairs = [self.pair(best, other) for other in others]
        if len(pairs) == 1:
            (pair,) = pairs
            if pair.better:
                return f"{best} is {pair.verdict.replace('better', f'better than {others[0]}', 1)}."
            return f"{best} and {others[0]} are {SAME} over {self.samples:,} samples."
        same = [pair.second if pair.first == best else pair.first for pair in pairs if not pair.better]
        if not same:
            return f"{best} is better than every other over {self.samples:,} samples."
        return f"{best} is the best on these {self.samples:,} samples, but {SAME} from {', '.join(same)}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What one run said of the test split."""

    name: str
    learner: str
    task: Task[Any, Any]
    spec: Spec
    said: Predictions


def compare(*runs: str | Path | TrainedRun) -> Comparison:
    """Compares runs by what they said of the same test samples; nothing is trained and nothing is written.

    Args:
        runs: two or more, as folders or as `train` and `load` return them.
    Raises:
        UsageError: for fewer than two, one given twice, runs on different test data, or a test split that is closed.
        DataError: where predictions are damaged or the headline is undefined.
    """
    folders = [run.folder if isinstance(run, TrainedRun) else Path(run) for run in runs]
    if len(folders) < 2:
        raise UsageError("A comparison needs two runs or more", "snellen compare RUN RUN...")
    places = [folder.resolve() for folder in folders]
    for k, place in enumerate(places):
        if place in places[:k]:
            raise UsageError(f"{folders[k]} is given twice", "Give each run once.")
    records = [read_record(folder) for folder in folders]
    read = [_read(folder, record) for folder, record in zip(folders, records, strict=True)]
    for record, answers in zip(records[1:], read[1:], strict=True):
        why = differs(records[0], read[0].said, record, answers.said)
        if why:
            raise UsageError(
                f"{read[0].name} and {answers.name} were tested on different data: {why}",
                "Compare runs that were trained on the same data with the same --seed of its splits.",
            )
    return compared(read)


def differs(record: Record, said: Predictions, other: Record, theirs: Predictions) -> str:
    """In what the test data of two runs differ, or ""."""
    for word, a, b in (
        ("the task", record.task, other.task),
        ("the data", _source(record), _source(other)),
        ("the targets", getattr(record.spec.target, "names", ()), getattr(other.spec.target, "names", ())),
        ("the units", getattr(record.spec.target, "units", ()), getattr(other.spec.target, "units", ())),
        ("the samples", len(said["ids"]), len(theirs["ids"])),
    ):
        if a != b:
            return f"{word} {shown(a)} and {shown(b)}"
    if not torch.equal(said["ids"], theirs["ids"]):
        return f"of {len(said['ids']):,} samples {int((said['ids'] != theirs['ids']).sum()):,} are not the same"
    if not torch.equal(said["truth"], theirs["truth"]):
        return "the truth of the same samples is another"
    if TASKS[record.task].headline(record.spec) != TASKS[other.task].headline(other.spec):
        return "their classes are so differently frequent in training that their headlines differ"
    return ""


def _source(record: Record) -> str:
    """What the test samples are samples of; built-in sets are drawn by their seed."""
    if record.data is None:
        return record.spec.name
    origin: Origin = from_plain(Origin, dict(record.data), "data")
    return f"{origin.data} of seed {origin.seed}" if origin.data in BUILTIN_NAMES else origin.data


def _read(folder: Path, record: Record) -> Answers:
    """The answers that a run has kept. Raises UsageError where it has not been tested."""
    if record.task not in TASKS:
        raise DataError(
            f"The task of {folder} is {shown(record.task)}, which is not known", f"Known: {', '.join(TASKS)}."
        )
    path = folder / "predictions" / "test.safetensors"
    if record.status != "finished":
        raise UsageError(f"{folder} has not finished training", f"Go on: snellen train --resume {_quoted(folder)}")
    if not path.exists():
        raise UsageError(
            f"{folder} has not been tested: its test split is still closed",
            f"Finish what it is a part of, or open it: snellen train --resume {_quoted(folder)}",
        )
    expected = record.files.get("predictions/test.safetensors")
    if expected is not None and files.sha256(path) != expected:
        raise DataError(
            f"{path} is not what was written: its SHA-256 differs",
            f"Judge it again: snellen train --resume {_quoted(folder)}",
        )
    said = read_predictions(folder, "test")
    task = TASKS[record.task]
    return Answers(name=str(folder), learner=record.learner, task=task, spec=record.spec, said=said)


def _quoted(folder: Path) -> str:
    return shlex.quote(str(folder))


def compared(read: Sequence[Answers]) -> Comparison:
    """The comparison of answers to the same samples."""
    task, spec = read[0].task, read[0].spec
    headline = task.headline(spec)
    runs = []
    for answers in read:
        metric = task.measure(answers.said, spec)[headline]
        if metric.value is None:
            raise DataError(
                f"The {headline} of {answers.name} is undefined: {metric.reason}",
                "Compare runs on a test split where it is defined.",
            )
        runs.append(Compared(name=answers.name, learner=answers.learner, headline=metric))
    sign = 1.0 if runs[0].headline.higher_is_better else -1.0
    order = sorted(range(len(runs)), key=lambda k: -sign * (runs[k].headline.value or 0.0))
    pairs = [_pair(read[a], read[b], runs[a].headline) for a, b in itertools.combinations(order, 2)]
    raised = holm([pair.chance for pair in pairs])
    return Comparison(
        headline=headline,
        samples=len(read[0].said["ids"]),
        runs=tuple(runs[k] for k in order),
        pairs=tuple(_judged(pair, p) for pair, p in zip(pairs, raised, strict=True)),
    )


def _judged(pair: Pair, corrected: float) -> Pair:
    low = pair.difference.low
    return dataclasses.replace(pair, corrected=corrected, better=corrected < LEVEL and low is not None and low > 0)


def _pair(first: Answers, second: Answers, like: Metric) -> Pair:
    """Two runs of which the first is at least as good; not yet corrected."""
    count = len(first.said["ids"])
    gain = _gain(first, second, like.higher_is_better)
    value = float(gain(torch.arange(count)[None], torch.arange(count)[None] + count)[0])
    low, high = bootstrap(lambda rows: gain(rows, rows + count), count, draws=2000)
    scale = 100 if like.percent else 1
    difference = Metric(
        value=scale * value,
        low=scale * low,
        high=scale * high,
        over="samples",
        unit="points" if like.percent else like.unit,
    )
    only = None
    if isinstance(first.spec.target, Classes):
        right, theirs = (a.said["scores"].argmax(1) == a.said["truth"] for a in (first, second))
        only = int((right & ~theirs).sum()), int((theirs & ~right).sum())
    if only is not None and first.task.headline(first.spec) == "accuracy":
        test, chance = "McNemar", mcnemar(*only)
    else:
        own = torch.arange(count)
        test = "exchange"
        chance = exchange(lambda swap: gain(own + count * swap, own + count * (1 - swap)), count)
    return Pair(
        first=first.name,
        second=second.name,
        difference=difference,
        test=test,
        chance=chance,
        corrected=chance,
        only=only,
        better=False,
        samples=count,
    )


def _gain(first: Answers, second: Answers, higher_is_better: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """By how much the headline of some rows is better than that of others, of both answers one below the other.

    Rows below N are the first's answers, those from N on the second's to the same samples.
    """
    both = {key: torch.cat([value, second.said[key]]) if value.ndim else value for key, value in first.said.items()}
    headline = first.task.resampled_headline(both, first.spec)
    sign = 1.0 if higher_is_better else -1.0
    return lambda a, b: sign * (headline(a) - headline(b))
