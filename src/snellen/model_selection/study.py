"""Study: settings varied over a grid or a range, each cell trained with the same seeds.

All cells share the splits of the data's seed and the training seeds 0 ... n-1, which also determine the order of the
samples: cells are paired. The best cell is selected on validation. The test split is evaluated once, at the end, for
the runs of the selected cell only. With folds the selection is nested: a sample of a test split lies in the validation
splits of other folds, so in each fold the cell that is best on the validation split of this fold is tested.

A grid trains every cell with one seed before the next seed, so that all cells have equally many seeds when the budget
is spent.
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
from snellen.api.lookup import for_task, is_builtin
from snellen.core import file_io
from snellen.core.errors import SnellenError, Stopped, UsageError, first_line
from snellen.core.experience import Experience
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.data.experience import open_experience
from snellen.model_selection import hyperparameter_search
from snellen.model_selection.cross_validation import mean_with_interval, open_fold, train_folds
from snellen.model_selection.importance import importance
from snellen.model_selection.runner_up import runner_up_sentence
from snellen.model_selection.search_space import StudyCell, grid_cells, parse_axes
from snellen.model_selection.study_maps import cell_maps
from snellen.model_selection.study_plan import (
    StudyPlan,
    best_cell,
    cell_results,
    common_validation,
    open_study,
    score,
    stored_cells,
    tested_trainings,
)
from snellen.model_selection.study_results import CellResult, Study, write_study
from snellen.model_selection.time_estimate import trial_seconds
from snellen.report.html_text import MAX_OVERRUN, format_duration

RESERVE = 4.0  # seconds for the test split and the report
WARM_UP = 0.25  # seconds of a first trial, whose start-up costs are not measured
clock = time.monotonic


def study(
    data: str | Path | Experience,
    vary: Mapping[str, Any],
    *,
    seeds: int = 5,
    folds: int | None = None,
    trials: int = 20,
    task: str | None = None,
    out: str | Path | None = None,
    options: RunOptions = RunOptions(),
) -> Study:
    """Train every cell of a grid, or `trials` cells of a search, and select the best one on validation.

    Args:
        data: a dataset, a name or a path.
        vary: setting -> list of its values; or text as on the command line: "0.001,0.01", a range "1e-4..0.1", and
            for settings of several numbers "60,60+60". A setting with one value is constant. "model" holds learners
            or their names.
        seeds: trainings of each cell, with the seeds 0 ... seeds - 1.
        folds: cross-validate each cell instead of training it with several seeds.
        trials: number of cells of a search.
        task: name of the task; None: the first that fits the data.
        out: the study's folder; an unfinished study in that folder is resumed.
        options: its `seconds` are the budget of the whole study: no training is started that does not fit into it.
    Raises:
        UsageError: for a setting that cannot be varied, or a folder that contains another study.
    """
    started = clock()
    opened = open_experience(data)
    learners, axes = parse_axes(vary, opened.spec, task)
    opened = for_task(opened, learners[0].task)
    if seeds < 1 or trials < 1:
        raise UsageError(f"A study of {seeds} seeds and {trials} trials trains nothing", "Give at least one of each.")
    if folds is not None:
        open_fold(opened, folds, 0)  # raises before anything is written
    folder = Path(out) if out is not None else new_folder(f"study-{opened.spec.name}")
    plan = StudyPlan(
        data=opened,
        folder=folder,
        learners=learners,
        axes=axes,
        seeds=seeds,
        folds=folds,
        trials=trials,
        options=dataclasses.replace(options, seconds=None, evaluate_test=False, report=False),
        headline=learners[0].task.headline(opened.spec),
    )
    cells = [] if plan.is_search else list(grid_cells(learners, axes, opened.spec))
    if plan.is_search:
        hyperparameter_search.require_optuna()
    state = open_study(plan)
    if "finished" not in state or (folds is not None and not state.get("nested")):  # folds of 0.1.0 were not nested
        spent = float(state["spent"])
        budget = options.seconds
        end = math.inf if budget is None else started + budget - spent - min(RESERVE, 0.2 * budget)
        _StudyRunner(plan, state, cells, started - spent, end).run()
    overrun = 0.0 if options.seconds is None else float(state["spent"]) - options.seconds
    overrun = overrun if overrun > (MAX_OVERRUN - 1) * (options.seconds or 0.0) else 0.0
    return _study_result(plan, state, stored_cells(plan, state) if plan.is_search else cells, overrun)


class _StudyRunner:
    """Run the trainings of a study in sequence within the budget; the state is stored in `study.json`."""

    def __init__(
        self, plan: StudyPlan, state: dict[str, Any], cells: list[StudyCell], since: float, end: float
    ) -> None:
        self.plan = plan
        self.state = state
        self.cells = stored_cells(plan, state) if plan.is_search else cells
        self.since = since
        self.end = end
        self.estimates: dict[str, float | None] = {}  # learner -> estimated seconds of one training
        self.position = 0
        self.of = plan.of(self.cells)

    def run(self) -> None:
        """Train all cells, select the best, evaluate it on the test split."""
        if "chosen" not in self.state:
            self._train_all()
            self.state["chosen"] = best_cell(cell_results(self.plan, self.state, self.cells))
            self._write()  # stored before the test split is evaluated: a resumed study keeps this selection
        rows = cell_results(self.plan, self.state, self.cells)
        for number, training in tested_trainings(rows, self.state["chosen"], nested=self.plan.folds is not None):
            self._evaluate_test(self.cells[number - 1], Path(training.folder))
        self.state["finished"] = True
        if self.plan.folds:
            self.state["nested"] = True
        self._write()

    def _train_all(self) -> None:
        plan = self.plan
        try:
            self._announce()
        except Stopped as stopped:
            raise self._stopped(stopped, "the estimate of the training time") from stopped
        if not plan.is_search:
            for labels in self._groups():
                for cell in self.cells:
                    self._train(cell, labels)
            return
        for number in range(1, plan.trials + 1):
            if number > len(self.cells):
                if clock() + self._longest() * len(self._groups()[0]) > self.end:
                    break
                observations = [
                    (row.cell, score(row.validation))
                    for row in cell_results(plan, self.state, self.cells)
                    # A suggestion from the results of one fold would depend on test samples of the others.
                    if not plan.folds and row.validation is not None and row.validation.value is not None
                ]
                cell = hyperparameter_search.suggest_cell(
                    observations, number, plan.learners, plan.axes, plan.data.spec
                )
                self.cells.append(cell)
                self.state["cells"].append({"model": cell.learner.name, "settings": to_plain(dict(cell.settings))})
                self._write()
            for labels in self._groups():
                self._train(self.cells[number - 1], labels)

    def _groups(self) -> list[list[str]]:
        """Groups of trainings that run together: one seed, or all folds."""
        return [self.plan.labels] if self.plan.folds else [[label] for label in self.plan.labels]

    def _announce(self) -> None:
        """Report the number of trainings and their estimated time, from a short trial of each learner."""
        plan = self.plan
        for k, learner in enumerate(plan.learners):
            candidates = [cell.settings for cell in self.cells if cell.learner is learner]
            candidates = candidates or [hyperparameter_search.middle_settings(plan.axes)]
            self.estimates[learner.name] = None
            if k == 0:
                trial_seconds(plan.data, learner, candidates[0], plan.options, WARM_UP)
            for settings in candidates[:1] + candidates[1:][-1:]:  # the first and the last: the extremes of the grid
                measured = trial_seconds(plan.data, learner, settings, plan.options)
                if measured is not None:
                    self.estimates[learner.name] = max(measured, self.estimates[learner.name] or 0.0)
        known = [seconds for seconds in self.estimates.values() if seconds is not None]
        count = self.of // len(plan.labels)
        repeats = len(plan.labels)
        over = "fold" if plan.folds else "seed"
        cells = f"{count} cell{'s' if count > 1 else ''} × {repeats} {over}{'s' if repeats > 1 else ''}"
        time_ = (
            f"at most about {format_duration(max(known) * self.of)}, estimated from a short run"
            if len(known) == len(self.estimates)
            else "their time is unknown until the first has finished"
        )
        if plan.options.progress is not None:
            plan.options.progress.message(f"{self.of} training runs ({cells}), {time_}. Output folder: {plan.folder}")

    def _longest(self) -> float:
        """The longest training time so far, else the longest estimate."""
        measured = [t["seconds"] for t in self.state["trainings"].values() if t["seconds"] is not None]
        return float(max(measured or [seconds or 0.0 for seconds in self.estimates.values()]))

    def _expected_seconds(self, cell: StudyCell) -> float:
        """Expected time of a training of this cell: the longest of this cell, else of its learner, else the estimate;
        0 if unknown."""
        measured: dict[str, list[float]] = {
            n: [
                t["seconds"]
                for key, t in self.state["trainings"].items()
                if key.startswith(f"{n}/") and t["seconds"] is not None
            ]
            for n in (c.name for c in self.cells)
        }
        if measured[cell.name]:
            return max(measured[cell.name])
        of_learner = [s for c in self.cells if c.learner is cell.learner for s in measured[c.name]]
        return max([*of_learner, self.estimates[cell.learner.name] or 0.0])

    def _train(self, cell: StudyCell, labels: Sequence[str]) -> None:
        """Train one seed, or all folds, of a cell; skipped if done, failed or over budget."""
        keys = [f"{cell.name}/{label}" for label in labels]
        self.position += len(keys)
        if all(key in self.state["trainings"] for key in keys):
            return
        if clock() + self._expected_seconds(cell) * len(keys) > self.end:
            return
        options = self.plan.options
        if options.progress is not None:
            options.progress.begin(f"{cell.label} {labels[0]}", self.position - len(keys), self.of)
        before = clock()
        reason = ""
        try:
            if self.plan.folds:
                train_folds(
                    self.plan.data,
                    cell.learner,
                    self.plan.folds,
                    out=self.plan.folder / cell.name,
                    settings=cell.settings,
                    options=options,
                )
            else:
                self._train_seed(cell, labels[0])
        except Stopped as stopped:
            self._write()
            raise self._stopped(stopped, cell.label) from stopped
        except SnellenError as error:
            reason = error.cause
        except Exception as error:  # a learner may raise any exception; the other cells continue
            reason = f"{type(error).__name__}: {first_line(error)}"
        measured = (
            (clock() - before) / len(keys)
            if reason
            else max((clock() - before) / len(keys), self._training_seconds(keys))
        )
        for key in keys:
            self.state["trainings"][key] = {"reason": reason, "seconds": None if reason else round(measured, 3)}
        self._write()

    def _stopped(self, stopped: Stopped, where: str) -> Stopped:
        """The same exception with instructions to resume the study."""
        return Stopped(
            f"{stopped.cause.rstrip('.')}, in {where}.",
            f"Resume with the same arguments and --out {shlex.quote(str(self.plan.folder))}",
            signal=stopped.exit_code - 128,
        )

    def _training_seconds(self, keys: Sequence[str]) -> float:
        """The longest training time of the runs (this session measures little of a run that was finished earlier)."""
        costs = [file_io.read_json(self.plan.folder / key / "metrics.json")["cost"] for key in keys]
        return max(float(cost.get("seconds_learning", 0.0)) for cost in costs)

    def _train_seed(self, cell: StudyCell, label: str) -> None:
        run_folder = self.plan.folder / cell.name / label
        custom = None if is_builtin(cell.learner) else cell.learner
        if not (run_folder / "run.json").exists():
            prepare(
                self.plan.data,
                cell.learner,
                cell.settings,
                seed=int(label.removeprefix("seed-")),
                out=run_folder,
                options=self.plan.options,
            )
        if read_record(run_folder).status != "finished":
            resume(run_folder, learner=custom, data=self.plan.data, options=self.plan.options)

    def _evaluate_test(self, cell: StudyCell, run_folder: Path) -> None:
        """Evaluate one run on the test split, unless this was done before a kill."""
        trained = load(
            run_folder, learner=None if is_builtin(cell.learner) else cell.learner, device=self.plan.options.device
        )
        if "test" in file_io.read_json(run_folder / "metrics.json")["splits"]:
            return
        data = (
            trained.data
            if self.plan.folds
            else dataclasses.replace(self.plan.data, preprocessing=trained.record.preprocessing)
        )
        trained = TrainedRun(run_folder, trained.record, trained.learner, trained.model, data)
        trained.evaluate_splits(("test",), Run(run_folder, resume=None, device=trained.record.device), report=False)

    def _write(self) -> None:
        self.state["spent"] = round(clock() - self.since, 3)
        file_io.write_json(self.plan.folder / "study.json", self.state)


def _runner_up(evaluated: Sequence[CellResult], values: Sequence[Sequence[float]], chosen: int, over: str) -> str:
    numbers = [row.cell.number for row in evaluated]
    return runner_up_sentence([row.cell.label for row in evaluated], values, numbers.index(chosen), over)


def _study_result(plan: StudyPlan, state: Mapping[str, Any], cells: Sequence[StudyCell], overrun: float) -> Study:
    rows = cell_results(plan, state, cells)
    over = "folds" if plan.folds else "seeds"
    tested = [
        training.test
        for _, training in tested_trainings(rows, state["chosen"], nested=plan.folds is not None)
        if training.test is not None
    ]
    evaluated, values = common_validation(rows)
    study = Study(
        folder=plan.folder,
        headline=plan.headline,
        over=over,
        of=plan.of(cells),
        rows=tuple(rows),
        chosen=state["chosen"],
        test=mean_with_interval(tested, over) if tested else None,
        runner_up="" if state["chosen"] is None else _runner_up(evaluated, values, state["chosen"], over),
        importance=importance([row.cell for row in evaluated], values, plan.axes, over),
        is_search=plan.is_search,
        overrun=overrun,
    )
    write_study(study, *cell_maps(rows, plan.data))
    return study
