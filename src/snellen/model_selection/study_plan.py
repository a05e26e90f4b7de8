"""The plan of a study and what is kept of it: `study.json`, and the runs themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.api import RunOptions
from snellen.core import files, renamed
from snellen.core.errors import DataError, UsageError
from snellen.core.record import SCHEMA
from snellen.core.serialization import from_plain, to_plain
from snellen.core.settings import flat
from snellen.core.spec import Spec, as_kept
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.model_selection.cross_validation import mean_over
from snellen.model_selection.search_space import AnyLearner, Axis, Between, Cell, cell, text, varying
from snellen.model_selection.study_results import Row, Training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What does not change while a study runs."""

    data: Dataset[Labelled]
    folder: Path
    learners: list[AnyLearner]
    axes: list[Axis]
    seeds: int
    folds: int | None
    trials: int
    options: RunOptions
    headline: str

    @property
    def searched(self) -> bool:
        return any(isinstance(axis, Between) for axis in self.axes)

    def of(self, cells: Sequence[Cell]) -> int:
        """How many trainings there are to be."""
        return (self.trials if self.searched else len(cells)) * len(self.labels)

    @property
    def labels(self) -> list[str]:
        return [f"fold-{k + 1}" for k in range(self.folds)] if self.folds else [f"seed-{k}" for k in range(self.seeds)]


def begin(plan: Plan) -> dict[str, Any]:
    """What is kept of the study, `study.json`: written where it begins, compared with the words where it goes on."""
    vary = {
        axis.name: f"{text(axis.low)}..{text(axis.high)}"
        if isinstance(axis, Between)
        else [text(value) for value in axis.values]
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
            "trials": plan.trials if plan.searched else None,
        }
    )
    path = plan.folder / "study.json"
    if not path.exists():
        kept: dict[str, Any] = {"schema": SCHEMA, "about": about, "spent": 0.0, "trainings": {}, "cells": []}
        files.write_json(path, kept)
        return kept
    kept = files.read_json(path)
    kinds = {"about": dict, "spent": float, "trainings": dict, "cells": list}
    if not isinstance(kept, dict) or any(not isinstance(kept.get(key), kind) for key, kind in kinds.items()):
        raise DataError(f"{path} is not what was written", "Give another --out.")
    if "schema" not in kept:
        kept = _upgraded(kept, plan.learners)
    old: Spec = from_plain(Spec, kept["about"].get("spec"), f"{path}: spec")
    kept["about"]["spec"], about["spec"] = to_plain(old), to_plain(as_kept(plan.data.spec, old))
    if kept["about"] != about:
        other = [key for key in about if kept["about"].get(key) != about[key]]
        raise UsageError(
            f"{plan.folder} holds a study of other {', '.join(other)}",
            "Give the words it was begun with, or another --out.",
        )
    return kept


def _upgraded(kept: Mapping[str, Any], learners: Sequence[AnyLearner]) -> dict[str, Any]:
    """`study.json` of schema 1 with the present names."""
    known = {setting.name for learner in learners for setting in flat(learner.settings)}
    about = renamed.upgrade(dict(kept["about"]))
    if isinstance(about.get("data"), dict):
        about["data"] = renamed.upgrade_origin(about["data"])
    about["vary"] = {renamed.setting_name(name, known): texts for name, texts in about.get("vary", {}).items()}
    cells = [{**one, "settings": renamed.upgrade_settings(one["settings"], known)} for one in kept["cells"]]
    return {**kept, "schema": SCHEMA, "about": about, "cells": cells}


def restored(plan: Plan, kept: Mapping[str, Any]) -> list[Cell]:
    """The cells that a search has begun, as they were kept."""
    by_name = {learner.name: learner for learner in plan.learners}
    shown = varying(plan.learners, plan.axes)
    return [
        cell(
            number,
            by_name[one["model"]],
            {name: tuple(value) if isinstance(value, list) else value for name, value in one["settings"].items()},
            shown,
            plan.data.spec,
        )
        for number, one in enumerate(kept["cells"], 1)
    ]


def rows_of(plan: Plan, kept: Mapping[str, Any], cells: Sequence[Cell]) -> list[Row]:
    """Every cell with what is known of its trainings, read from the runs themselves."""
    over = "folds" if plan.folds else "seeds"
    rows = []
    for one in cells:
        trainings = [_training(plan, kept, one, label) for label in plan.labels]
        done = [t for t in trainings if t.status == "done"]
        failed = any(t.status == "failed" for t in trainings)
        figures = [t.validation for t in done if t.validation is not None]
        tested = [t.test for t in done if t.test is not None]
        rows.append(
            Row(
                cell=one,
                trainings=tuple(trainings),
                validation=mean_over(figures, over) if figures and not failed else None,
                test=mean_over(tested, over) if tested else None,
            )
        )
    return rows


def _training(plan: Plan, kept: Mapping[str, Any], one: Cell, label: str) -> Training:
    known = kept["trainings"].get(f"{one.name}/{label}")
    if known is None:
        return Training(cell=one.number, label=label, status="not run", reason="the budget was spent before it")
    if known["reason"]:
        return Training(cell=one.number, label=label, status="failed", reason=known["reason"])
    place = plan.folder / one.name / label
    splits = files.read_json(place / "metrics.json")["splits"]
    figures = {split: from_plain(Metric, splits[split][plan.headline]) for split in ("val", "test") if split in splits}
    return Training(
        cell=one.number,
        label=label,
        status="done",
        validation=figures["val"],
        test=figures.get("test"),
        seconds=known["seconds"],
        folder=str(place),
    )


def best_of(rows: Sequence[Row]) -> int | None:
    """The number of the cell that is the best on validation, among those with the most trainings done."""
    judged = [row for row in rows if row.validation is not None and row.validation.value is not None]
    most = max((row.done for row in judged), default=0)
    judged = [row for row in judged if row.done == most]
    return max(judged, key=lambda row: figure(row.validation)).cell.number if judged else None


def figure(metric: Metric | None) -> float:
    """A figure of which more is better."""
    assert metric is not None
    assert metric.value is not None
    return metric.value if metric.higher_is_better else -metric.value
