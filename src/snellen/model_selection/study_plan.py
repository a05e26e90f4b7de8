"""Plan of a study and its stored state (`study.json` and the run folders)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.api import RunOptions
from snellen.api.evaluation_data import check_same_data, with_present_rounding
from snellen.core import file_io, legacy_names
from snellen.core.errors import DataError, UsageError
from snellen.core.experience import Experience
from snellen.core.record import SCHEMA
from snellen.core.serialization import from_plain, to_plain
from snellen.core.settings import flatten
from snellen.core.spec import Spec, as_stored
from snellen.core.views import Metric
from snellen.model_selection.cross_validation import mean_with_interval
from snellen.model_selection.search_space import (
    AnyLearner,
    Axis,
    RangeAxis,
    StudyCell,
    make_cell,
    setting_text,
    varying_names,
)
from snellen.model_selection.study_results import CellResult, Training


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Everything about a study that is constant while it runs."""

    data: Experience
    folder: Path
    learners: list[AnyLearner]
    axes: list[Axis]
    seeds: int
    folds: int | None
    trials: int
    options: RunOptions
    headline: str

    @property
    def is_search(self) -> bool:
        return any(isinstance(axis, RangeAxis) for axis in self.axes)

    def of(self, cells: Sequence[StudyCell]) -> int:
        """The planned number of trainings."""
        return (self.trials if self.is_search else len(cells)) * len(self.labels)

    @property
    def labels(self) -> list[str]:
        return [f"fold-{k + 1}" for k in range(self.folds)] if self.folds else [f"seed-{k}" for k in range(self.seeds)]


def open_study(plan: StudyPlan) -> dict[str, Any]:
    """Write `study.json` of a new study, or check an existing one against the plan; return the state."""
    vary = {
        axis.name: f"{setting_text(axis.low)}..{setting_text(axis.high)}"
        if isinstance(axis, RangeAxis)
        else [setting_text(value) for value in axis.values]
        for axis in plan.axes
    }
    about = to_plain(
        {
            "data": plan.data.origin,
            "spec": plan.data.spec,
            "vary": vary,
            "folds": plan.folds,
            "models": [learner.name for learner in plan.learners],
            "seeds": None if plan.folds else plan.seeds,
            "trials": plan.trials if plan.is_search else None,
        }
    )
    file_io.reject_links(plan.folder)
    path = plan.folder / "study.json"
    check_same_data(plan.folder, plan.data, is_new=not path.exists())
    if not path.exists():
        state: dict[str, Any] = {"schema": SCHEMA, "about": about, "spent": 0.0, "trainings": {}, "cells": []}
        file_io.write_json(path, state)
        return state
    state = file_io.read_json(path)
    kinds = {"about": dict, "spent": float, "trainings": dict, "cells": list}
    if not isinstance(state, dict) or any(not isinstance(state.get(key), kind) for key, kind in kinds.items()):
        raise DataError(f"{path} is damaged: it is not the state of a study", "Give another --out.")
    if "schema" not in state:
        try:
            state = _upgraded(state, plan.learners)
        except (AttributeError, KeyError, TypeError):
            raise DataError(f"{path} is damaged: it is not the state of a study", "Give another --out.") from None
    elif state["schema"] != SCHEMA:
        raise DataError(
            f"{path} has schema {state['schema']!r}, this version reads 1 to {SCHEMA}", "Give another --out."
        )
    state["about"]["data"] = with_present_rounding(plan.folder, plan.data, state["about"].get("data"), bool(plan.folds))
    old: Spec = from_plain(Spec, state["about"].get("spec"), f"{path}: spec")
    state["about"]["spec"], about["spec"] = to_plain(old), to_plain(as_stored(plan.data.spec, old))
    if state["about"] != about:
        other = [key for key in about if state["about"].get(key) != about[key]]
        if other == ["spec"]:
            raise DataError(
                f"The data of {plan.folder} has changed since the study started: its counts, columns or classes differ",
                "Restore the data, or give another --out.",
            )
        raise UsageError(
            f"{plan.folder} contains a study with different {', '.join(other)}",
            "Repeat the arguments that the study was started with, or give another --out.",
        )
    return state


def _upgraded(state: Mapping[str, Any], learners: Sequence[AnyLearner]) -> dict[str, Any]:
    """Upgrade the state of schema 1 to the present names."""
    known = {setting.name: setting for learner in learners for setting in flatten(learner.settings)}
    about = legacy_names.upgrade(dict(state["about"]))
    if isinstance(about.get("data"), dict):
        about["data"] = legacy_names.upgrade_origin(about["data"])
    vary = {}
    for former, texts in about.get("vary", {}).items():
        name = legacy_names.setting_name(former, known)
        choices = known[name].choices if name in known else ()
        vary[name] = texts if isinstance(texts, str) else [legacy_names.setting_value(text, choices) for text in texts]
    about["vary"] = vary
    cells = [{**entry, "settings": legacy_names.upgrade_settings(entry["settings"], known)} for entry in state["cells"]]
    return {**state, "schema": SCHEMA, "about": about, "cells": cells}


def stored_cells(plan: StudyPlan, state: Mapping[str, Any]) -> list[StudyCell]:
    """The cells of a search that are stored in its state."""
    by_name = {learner.name: learner for learner in plan.learners}
    varying = varying_names(plan.learners, plan.axes)
    return [
        make_cell(
            number,
            by_name[entry["model"]],
            {name: tuple(value) if isinstance(value, list) else value for name, value in entry["settings"].items()},
            varying,
            plan.data.spec,
        )
        for number, entry in enumerate(state["cells"], 1)
    ]


def cell_results(plan: StudyPlan, state: Mapping[str, Any], cells: Sequence[StudyCell]) -> list[CellResult]:
    """Results of every cell, read from its run folders."""
    over = "folds" if plan.folds else "seeds"
    rows = []
    for cell in cells:
        trainings = [_training(plan, state, cell, label) for label in plan.labels]
        done = [t for t in trainings if t.status == "done"]
        failed = any(t.status == "failed" for t in trainings)
        validation = [t.validation for t in done if t.validation is not None]
        test = [t.test for t in done if t.test is not None]
        rows.append(
            CellResult(
                cell=cell,
                trainings=tuple(trainings),
                validation=mean_with_interval(validation, over) if validation and not failed else None,
                test=mean_with_interval(test, over) if test and not plan.folds else None,
            )
        )
    return rows


def _training(plan: StudyPlan, state: Mapping[str, Any], cell: StudyCell, label: str) -> Training:
    entry = state["trainings"].get(f"{cell.name}/{label}")
    if entry is None:
        return Training(cell=cell.number, label=label, status="not run", reason="the budget was spent before it")
    if entry["reason"]:
        return Training(cell=cell.number, label=label, status="failed", reason=entry["reason"])
    folder = plan.folder / cell.name / label
    splits = file_io.read_json(folder / "metrics.json")["splits"]
    metrics = {split: from_plain(Metric, splits[split][plan.headline]) for split in ("val", "test") if split in splits}
    return Training(
        cell=cell.number,
        label=label,
        status="done",
        validation=metrics["val"],
        test=metrics.get("test"),
        seconds=entry["seconds"],
        folder=str(folder),
    )


def best_cell(rows: Sequence[CellResult]) -> int | None:
    """The number of the cell that is best on validation, among the cells with the most finished trainings."""
    evaluated = [row for row in rows if row.validation is not None and row.validation.value is not None]
    max_done = max((row.done for row in evaluated), default=0)
    evaluated = [row for row in evaluated if row.done == max_done]
    return max(evaluated, key=lambda row: score(row.validation)).cell.number if evaluated else None


def best_cells_of_folds(rows: Sequence[CellResult]) -> list[int]:
    """For each fold the number of the cell that is best on its validation split, among the cells with all folds.

    The validation split of a fold shares no sample with its test split, so the results of these cells on the test
    splits of their folds are a nested estimate, free of the bias of selection.

    Source: Varma and Simon 2006; Cawley and Talbot 2010.
    """
    complete = [row for row in rows if row.validation is not None and row.validation.value is not None]
    complete = [row for row in complete if row.done == len(row.trainings)]
    if not complete:
        return []
    return [
        max(complete, key=lambda row: score(row.trainings[fold].validation)).cell.number
        for fold in range(len(complete[0].trainings))
    ]


def tested_trainings(rows: Sequence[CellResult], chosen: int | None, nested: bool) -> list[tuple[int, Training]]:
    """The trainings that are evaluated on the test split, each with the number of its cell."""
    if nested:
        return [(number, rows[number - 1].trainings[fold]) for fold, number in enumerate(best_cells_of_folds(rows))]
    if chosen is None:
        return []
    return [(chosen, training) for training in rows[chosen - 1].trainings if training.status == "done"]


def common_validation(rows: Sequence[CellResult]) -> tuple[list[CellResult], list[list[float]]]:
    """The cells with a result, and their validation scores for the seeds or folds that all of them have."""
    evaluated = [row for row in rows if row.validation is not None and row.validation.value is not None]
    columns = [
        trainings
        for trainings in zip(*(row.trainings for row in evaluated), strict=True)
        if all(training.status == "done" for training in trainings)
    ]
    return evaluated, [[score(trainings[k].validation) for trainings in columns] for k in range(len(evaluated))]


def score(metric: Metric | None) -> float:
    """The value of a metric, negated if lower is better."""
    assert metric is not None
    assert metric.value is not None
    return metric.value if metric.higher_is_better else -metric.value
