"""A study: settings varied over a grid or a range, each cell trained with the same seeds, all in one fair table.

The splits are those of the data's seed and the same for all; the training seeds are 0 ... n-1 in every cell, and with
them the order of the samples, so that cells are paired. Choices are made on validation. The test split is opened once,
at the end, for the runs of the chosen cell alone.

Grids train every cell with one seed before any gets the next, so that a spent budget costs all cells alike.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.api import RunOptions, TrainedRun, load, new_folder, prepare, resume
from snellen.api.lookup import is_ours
from snellen.core import files
from snellen.core.errors import SnellenError, Stopped, UsageError, first_line
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import dataset
from snellen.metrics.effects import main_effects
from snellen.model_selection import hyperparameter_search
from snellen.model_selection.cross_validation import cross_validate, fold_of
from snellen.model_selection.search_space import Cell, axes, grid, text
from snellen.model_selection.study_plan import Plan, begin, best_of, figure, restored, rows_of
from snellen.model_selection.study_results import Study, write
from snellen.model_selection.time_estimate import trial_seconds
from snellen.report.html_text import duration

RESERVE = 4.0  # seconds for the test split and the page
WARM_UP = 0.25  # seconds of a trial that only loads what is loaded once
clock = time.monotonic


def study(
    data: str | Path | Dataset[Labelled],
    vary: Mapping[str, Any],
    *,
    seeds: int = 5,
    folds: int | None = None,
    trials: int = 20,
    out: str | Path | None = None,
    options: RunOptions = RunOptions(),
) -> Study:
    """Trains every cell of a grid, or as many cells of a search as asked, and says which is the best on validation.

    Args:
        data: a dataset, a name or a path.
        vary: setting -> list of its values; or text as at the prompt: "0.001,0.01", a range "1e-4..0.1", and for
            settings of several numbers "60,60+60". What has one value is fixed. "model" names learners, or holds them.
        seeds: trainings of each cell, with the seeds 0 ... seeds - 1.
        folds: cross-validate each cell instead of training it with several seeds.
        trials: cells of a search.
        out: the study's folder; one that holds an unfinished study is gone on with.
        machine: its `seconds` are the budget of the whole study: no training is begun that does not fit.
    Raises:
        UsageError: for what cannot be varied, or a folder that holds another study.
    """
    started = clock()
    opened = data if isinstance(data, Dataset) else dataset(data)
    learners, given = axes(vary, opened.spec)
    if seeds < 1 or trials < 1:
        raise UsageError(f"A study of {seeds} seeds and {trials} trials trains nothing", "Give at least one of each.")
    if folds is not None:
        fold_of(opened, folds, 0)  # what cannot be folded is told before anything is written
    folder = Path(out) if out is not None else new_folder(f"study-{opened.spec.name}")
    plan = Plan(
        data=opened,
        folder=folder,
        learners=learners,
        axes=given,
        seeds=seeds,
        folds=folds,
        trials=trials,
        options=dataclasses.replace(options, seconds=None, evaluate_test=False, report=False),
        headline=learners[0].task.headline(opened.spec),
    )
    cells = [] if plan.searched else list(grid(learners, given, opened.spec))
    if plan.searched:
        hyperparameter_search.need()
    kept = begin(plan)
    if "finished" not in kept:
        spent = float(kept["spent"])
        budget = options.seconds
        end = math.inf if budget is None else started + budget - spent - min(RESERVE, 0.2 * budget)
        _Work(plan, kept, cells, started - spent, end).all()
    return _told(plan, kept, restored(plan, kept) if plan.searched else cells)


class _Work:
    """The trainings of a study, one after the other, within the budget; all that is known goes to `study.json`."""

    def __init__(self, plan: Plan, kept: dict[str, Any], cells: list[Cell], since: float, end: float) -> None:
        self.plan = plan
        self.kept = kept
        self.cells = restored(plan, kept) if plan.searched else cells
        self.since = since
        self.end = end
        self.estimates: dict[str, float | None] = {}  # learner -> seconds of one training, before any is done
        self.place = 0
        self.of = plan.of(self.cells)

    def all(self) -> None:
        """Trains, chooses, and opens the test split for the chosen."""
        if "chosen" not in self.kept:
            self._train_all()
            self.kept["chosen"] = best_of(rows_of(self.plan, self.kept, self.cells))
            self._write()  # from here on the choice stands: a study killed while it opens the test split opens no other
        if self.kept["chosen"] is not None:
            for training in rows_of(self.plan, self.kept, self.cells)[self.kept["chosen"] - 1].trainings:
                if training.status == "done":
                    self._open(self.cells[self.kept["chosen"] - 1], Path(training.folder))
        self.kept["finished"] = True
        self._write()

    def _train_all(self) -> None:
        plan = self.plan
        try:
            self._announce()
        except Stopped as stopped:
            raise self._stopped(stopped, "the trial of how long a training takes") from stopped
        if not plan.searched:
            for labels in self._units():
                for one in self.cells:
                    self._train(one, labels)
            return
        for number in range(1, plan.trials + 1):
            if number > len(self.cells):
                if clock() + self._most() * len(self._units()[0]) > self.end:
                    break
                told = [
                    (row.cell, figure(row.validation))
                    for row in rows_of(plan, self.kept, self.cells)
                    if row.validation is not None and row.validation.value is not None
                ]
                one = hyperparameter_search.suggested(told, number, plan.learners, plan.axes, plan.data.spec)
                self.cells.append(one)
                self.kept["cells"].append({"model": one.learner.name, "settings": to_plain(dict(one.settings))})
                self._write()
            for labels in self._units():
                self._train(self.cells[number - 1], labels)

    def _units(self) -> list[list[str]]:
        """What is trained in one go: one seed, or all folds."""
        return [self.plan.labels] if self.plan.folds else [[label] for label in self.plan.labels]

    def _announce(self) -> None:
        """How many trainings there are and how long they may take, from a short trial of each learner."""
        plan = self.plan
        for place, learner in enumerate(plan.learners):
            tried = [one.settings for one in self.cells if one.learner is learner]
            tried = tried or [hyperparameter_search.middle(plan.axes)]
            self.estimates[learner.name] = None
            if place == 0:
                trial_seconds(plan.data, learner, tried[0], plan.options, WARM_UP)
            for settings in tried[:1] + tried[1:][-1:]:  # the first and the last: of the smallest and the largest
                took = trial_seconds(plan.data, learner, settings, plan.options)
                if took is not None:
                    self.estimates[learner.name] = max(took, self.estimates[learner.name] or 0.0)
        known = [seconds for seconds in self.estimates.values() if seconds is not None]
        count = self.of // len(plan.labels)
        many = len(plan.labels)
        over = "fold" if plan.folds else "seed"
        cells = f"{count} {'trials' if plan.searched else 'cells'} × {many} {over}{'s' if many > 1 else ''}"
        time_ = (
            f"about {duration(max(known) * self.of)} at most, by a short trial"
            if len(known) == len(self.estimates)
            else "their time is known when the first is done"
        )
        if plan.options.progress is not None:
            plan.options.progress.say(f"{self.of} trainings ({cells}), {time_}; in {plan.folder}")

    def _most(self) -> float:
        """The longest that a training has taken, else the trial's."""
        took = [t["seconds"] for t in self.kept["trainings"].values() if t["seconds"] is not None]
        return float(max(took or [seconds or 0.0 for seconds in self.estimates.values()]))

    def _seconds(self, one: Cell) -> float:
        """What a training of this cell is expected to take: the longest of its own, else of its learner's, else the
        trial's; 0 where nothing is known yet."""
        took: dict[str, list[float]] = {
            n: [
                t["seconds"]
                for key, t in self.kept["trainings"].items()
                if key.startswith(f"{n}/") and t["seconds"] is not None
            ]
            for n in (c.name for c in self.cells)
        }
        if took[one.name]:
            return max(took[one.name])
        alike = [s for c in self.cells if c.learner is one.learner for s in took[c.name]]
        return max([*alike, self.estimates[one.learner.name] or 0.0])

    def _train(self, one: Cell, labels: Sequence[str]) -> None:
        """One seed, or all folds, of a cell; left out where it is done, has failed or does not fit."""
        keys = [f"{one.name}/{label}" for label in labels]
        self.place += len(keys)
        if all(key in self.kept["trainings"] for key in keys):
            return
        if clock() + self._seconds(one) * len(keys) > self.end:
            return
        options = self.plan.options
        if options.progress is not None:
            options.progress.begin(f"{one.words} {labels[0]}", self.place - len(keys), self.of)
        before = clock()
        reason = ""
        try:
            if self.plan.folds:
                cross_validate(
                    self.plan.data,
                    one.learner,
                    self.plan.folds,
                    out=self.plan.folder / one.name,
                    settings=one.settings,
                    options=options,
                )
            else:
                self._one(one, labels[0])
        except Stopped as stopped:
            self._write()
            raise self._stopped(stopped, one.words) from stopped
        except SnellenError as error:
            reason = error.cause
        except Exception as error:  # a learner may fail in any way; the other cells go on
            reason = f"{type(error).__name__}: {first_line(error)}"
        took = (clock() - before) / len(keys) if reason else max((clock() - before) / len(keys), self._learning(keys))
        for key in keys:
            self.kept["trainings"][key] = {"reason": reason, "seconds": None if reason else round(took, 3)}
        self._write()

    def _stopped(self, stopped: Stopped, where: str) -> Stopped:
        """The same, with how to go on with the whole study."""
        return Stopped(
            f"{stopped.cause.rstrip('.')}, in {where}.",
            f"Go on with the same words and --out {shlex.quote(str(self.plan.folder))}",
            signal=stopped.exit_code - 128,
        )

    def _learning(self, keys: Sequence[str]) -> float:
        """The longest time of learning: of a run that was finished before a kill, this session has seen little."""
        costs = [files.read_json(self.plan.folder / key / "metrics.json")["cost"] for key in keys]
        return max(float(cost.get("seconds_learning", 0.0)) for cost in costs)

    def _one(self, one: Cell, label: str) -> None:
        place = self.plan.folder / one.name / label
        own = None if is_ours(one.learner) else one.learner
        if not (place / "run.json").exists():
            prepare(
                self.plan.data,
                one.learner,
                one.settings,
                seed=int(label.removeprefix("seed-")),
                out=place,
                options=self.plan.options,
            )
        if read_record(place).status != "finished":
            resume(place, learner=own, data=self.plan.data, options=self.plan.options)

    def _open(self, one: Cell, place: Path) -> None:
        """Judges one run on the test split, unless that was done before a kill."""
        trained = load(place, learner=None if is_ours(one.learner) else one.learner, device=self.plan.options.device)
        if "test" in files.read_json(place / "metrics.json")["splits"]:
            return
        data = (
            trained.data
            if self.plan.folds
            else dataclasses.replace(self.plan.data, preprocessing=trained.record.preprocessing)
        )
        trained = TrainedRun(place, trained.record, trained.learner, trained.model, data)
        trained.judge(("test",), Run(place, resume=None, device=trained.record.device), report=False)

    def _write(self) -> None:
        self.kept["spent"] = round(clock() - self.since, 3)
        files.write_json(self.plan.folder / "study.json", self.kept)


def _told(plan: Plan, kept: Mapping[str, Any], cells: Sequence[Cell]) -> Study:
    rows = rows_of(plan, kept, cells)
    judged = [
        (row.cell, figure(row.validation))
        for row in rows
        if row.validation is not None and row.validation.value is not None
    ]
    if plan.searched:
        weights = hyperparameter_search.importance(judged, plan.learners, plan.axes)
    else:
        weights = main_effects([({k: text(v) for k, v in one.values.items()}, value) for one, value in judged])
    found = Study(
        folder=plan.folder,
        headline=plan.headline,
        over="folds" if plan.folds else "seeds",
        of=plan.of(cells),
        rows=tuple(rows),
        chosen=kept["chosen"],
        importance=weights,
        searched=plan.searched,
    )
    write(found)
    return found
