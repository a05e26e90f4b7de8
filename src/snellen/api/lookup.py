"""Tasks, learners, data and folders by the names users give them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import re
import shlex
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from snellen.core.errors import DataError, UsageError, nearest, shown
from snellen.core.learner import Learner
from snellen.core.record import Record
from snellen.core.run import Progress
from snellen.core.serialization import from_plain
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.formats.coco import picture_ids
from snellen.data.open_dataset import dataset
from snellen.detection.coco_results import Numbers, numbers_of
from snellen.tasks import FROM_MODULE, LEARNERS, TASKS

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """How a run's data was opened: the arguments of `dataset`."""

    data: str
    seed: int
    options: OpenOptions


def find_task(name: str | None, spec: Spec) -> Task[Any, Any]:
    """The task asked for, or the first that the data asks."""
    if name is not None:
        if name not in TASKS:
            raise UsageError(f"No task is called {name!r}", nearest(name, list(TASKS)))
        if not TASKS[name].asks(spec):
            others = [task.name for task in TASKS.values() if task.asks(spec)]
            raise UsageError(
                f"{spec.name} has no target for {name}",
                f"It asks for {' or '.join(others) or 'none of the tasks'}; see --target.",
            )
        return TASKS[name]
    for task in TASKS.values():
        if task.asks(spec):
            return task
    raise DataError(f"{spec.name} has no target that a task asks for", "Name one with --target.")


def find_learner(model: str | nn.Module | AnyLearner | None, task: Task[Any, Any], spec: Spec) -> AnyLearner:
    """The learner asked for, or the one that suits the data."""
    if isinstance(model, Learner):
        return model
    if isinstance(model, nn.Module):
        made: AnyLearner = FROM_MODULE[task.name](model)
        return made
    name = model or task.default(spec)
    known = LEARNERS[task.name]
    if name not in known:
        elsewhere = [other for other, learners in LEARNERS.items() if name in learners]
        also = f" (it is one of {elsewhere[0]})" if elsewhere else ""
        raise UsageError(f"No learner of {task.name} is called {name!r}{also}", nearest(name, list(known)))
    return known[name]


def refusal(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner cannot learn this data, or None."""
    if spec.modality not in learner.accepts:
        return f"reads {' or '.join(sorted(learner.accepts))}, not {spec.modality}"
    return learner.unsupported_reason(spec)


def learner_of(record: Record, given: AnyLearner | nn.Module | None) -> AnyLearner:
    """The learner of a run: by its name among ours, else the one given again."""
    if record.task not in TASKS:
        raise DataError(f"The run's task is {shown(record.task)}, which is not known", f"Known: {', '.join(TASKS)}.")
    if isinstance(given, nn.Module):
        given = FROM_MODULE[record.task](given)
    if given is not None:
        if (given.name, given.task.name) != (record.learner, record.task):
            raise UsageError(
                f"The run was learned by {record.learner!r} ({record.task}), not {given.name!r}", "Give that learner."
            )
        return given
    known = LEARNERS.get(record.task, {})
    if record.learner not in known or record.source_hash is not None:
        raise UsageError(
            f"The run was learned by {shown(record.learner)}, which is not one of ours",
            "Give it again: snellen.load(run, learner=MY_LEARNER).",
        )
    return known[record.learner]


def is_ours(learner: AnyLearner) -> bool:
    return LEARNERS.get(learner.task.name, {}).get(learner.name) is learner


def source_hash(learner: AnyLearner) -> str:
    """Of the source of what decides how a learner of the user's own learns; "unknown" where none is at hand."""
    text = []
    for part in (learner.settings, learner.build, learner.fit, *learner.parts):
        try:
            code = part if inspect.isroutine(part) or inspect.isclass(part) else type(part)
            text.append(inspect.getsource(code))
        except (OSError, TypeError):
            return "unknown"
        if isinstance(part, nn.Module):
            text.append(repr(part))  # its layers
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def source_changed(record: Record, learner: AnyLearner) -> bool:
    """Whether the user's own learner has other source than when the run began, as far as can be known."""
    if record.source_hash in (None, "unknown"):
        return False
    return source_hash(learner) not in (record.source_hash, "unknown")


def read_settings(learner: AnyLearner, plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def origin_of(record: Record) -> Origin:
    """How the data of a run was opened."""
    if record.data is None:
        raise UsageError("The run's data was made in memory", "Give it again: data=...")
    origin: Origin = from_plain(Origin, dict(record.data), "data")
    return origin


def reopen(record: Record) -> Dataset[Labelled]:
    """The data of a run, opened again as it was."""
    origin = origin_of(record)
    return dataset(origin.data, seed=origin.seed, options=origin.options)


def numbers(record: Record, like: str | Path | None) -> Numbers | None:
    """The user's own numbers of pictures and classes: of a file in COCO's layout, or of the run's data; else None."""
    if like is not None:
        return numbers_of(Path(like), record.spec)
    target = record.spec.target
    if not isinstance(target, Boxes) or not target.ids or record.data is None:
        return None
    origin = origin_of(record)
    with contextlib.suppress(DataError):  # it lies there no more: the classes have their numbers all the same
        return Numbers(
            pictures=picture_ids(Path(origin.data), origin.options),
            told=origin.data,
            classes=dict(zip(target.names, target.ids, strict=True)),
        )
    return None


def warn(progress: Progress | None, message: str) -> None:
    """A line to whoever watches, else a warning of Python's."""
    if progress is not None:
        progress.say(message)
    else:
        warnings.warn(message, stacklevel=3)


def is_of_a_run(name: str) -> bool:
    """Whether an entry of a folder is what a run writes, or what is left of a write that was killed."""
    own = (
        "model.",
        "state",
        "history.jsonl",
        "metrics.json",
        "report.html",
        "README.md",
        "predictions",
        "quarantine.jsonl",
    )
    return name.startswith((".", *own))


def new_folder(stem: str) -> Path:
    """The first free `runs/STEM-N`."""
    stem = re.sub(r"\.\w{1,5}$", "", re.sub(r"[^\w.-]+", "_", stem))  # without the suffix of a table's file
    number = 1
    while Path("runs", f"{stem}-{number}").exists():
        number += 1
    return Path("runs", f"{stem}-{number}")


def newest() -> Path:
    """The run last written under `runs/`."""
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise UsageError("There is no run under runs/", "Train one first: snellen train DATA")
    return runs[-1].parent


def command_line() -> str:
    return shlex.join(["snellen", *sys.argv[1:]])
