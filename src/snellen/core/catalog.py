"""Catalogue of tasks and learners: names, summaries and settings, without importing torch.

`--help`, `list` and the grid of the docs use only this. `docs/grid.py` writes `catalog.json` from the registries; a
test compares both.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snellen.core.settings import EffectiveIf, Limit, Setting

FILE = Path(__file__).with_name("catalog.json")


@dataclass(frozen=True, kw_only=True)
class LearnerEntry:
    """A learner without its functions. `file` defines it, relative to the package."""

    name: str
    task: str
    summary: str
    source: str
    accepts: tuple[str, ...]
    settings: tuple[Setting, ...]
    file: str


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A task without its functions."""

    name: str
    question: str
    learners: tuple[LearnerEntry, ...]


@functools.cache
def tasks() -> dict[str, TaskEntry]:
    """All tasks with their learners, simplest first."""
    plain = json.loads(FILE.read_text(encoding="utf-8"))
    settings = {key: _fields(entry) for key, entry in plain["settings"].items()}
    entries = {}
    for task, entry in plain["tasks"].items():
        learners = tuple(_learner(name, task, learner, settings) for name, learner in entry["learners"].items())
        entries[task] = TaskEntry(name=task, question=entry["question"], learners=learners)
    return entries


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a setting that do not depend on the learner, in their types."""
    limit = {"limit": Limit(**entry["limit"])} if "limit" in entry else {}
    condition = entry.get("effective_if")
    effective_if = EffectiveIf(condition["name"], tuple(condition["values"])) if condition else None
    return {**entry, "choices": tuple(entry.get("choices", ())), "effective_if": effective_if, **limit}


def _learner(name: str, task: str, entry: dict[str, Any], settings: dict[str, dict[str, Any]]) -> LearnerEntry:
    own = []
    for path, default in entry["settings"].items():
        *group, key = path.split(".")
        value = tuple(default) if isinstance(default, list) else default
        own.append(Setting(name=key.partition("#")[0], default=value, group=tuple(group), **settings[key]))
    return LearnerEntry(
        name=name,
        task=task,
        summary=entry["summary"],
        source=entry["source"],
        accepts=tuple(entry["accepts"]),
        settings=tuple(own),
        file=entry["file"],
    )


def settings_of(model: str) -> dict[str, dict[str, Setting]]:
    """Task -> setting name -> setting, for the learner `model` in every task that has it."""
    return {
        task.name: {s.name: s for s in entry.settings}
        for task in tasks().values()
        for entry in task.learners
        if entry.name == model
    }
