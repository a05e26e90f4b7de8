"""Lookup of tasks, learners, data and run folders by name."""

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
from types import MappingProxyType
from typing import Any

from torch import nn

from snellen.architectures.pretrained import MissingWeights
from snellen.core.errors import DataError, SnellenError, UsageError, short_repr, suggest_name
from snellen.core.experience import Experience
from snellen.core.file_io import make_new_folder
from snellen.core.learner import Learner
from snellen.core.legacy_names import TASKS as FORMER_TASKS
from snellen.core.legacy_names import upgrade_settings
from snellen.core.record import Record
from snellen.core.run import Progress
from snellen.core.serialization import from_plain, to_plain
from snellen.core.settings import Suggestion, flatten, resolve
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Task
from snellen.data.dataset import without_target
from snellen.data.experience import open_experience, samples_of
from snellen.data.formats import OpenOptions
from snellen.data.formats.coco import image_ids
from snellen.data.names import BUILTIN_NAMES, NAMED
from snellen.detection.coco_results import CocoIds, read_coco_ids
from snellen.modalities import modality_of
from snellen.tasks import FROM_MODULE, LEARNERS, TASKS

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """How the data of a run was opened: the arguments of `dataset`."""

    data: str
    seed: int
    options: OpenOptions


def find_task(name: str | None, spec: Spec) -> Task[Any, Any]:
    """Find a task by name, or the first task that fits the data."""
    if name is not None:
        name = FORMER_TASKS.get(name, name)
        if name not in TASKS:
            raise UsageError(f"Unknown task {name!r}", suggest_name(name, list(TASKS)))
        if not TASKS[name].applies_to(spec):
            others = [task.name for task in TASKS.values() if task.has_target and task.applies_to(spec)]
            raise UsageError(
                f"{spec.name} has no target for {name}",
                f"Its target fits {' or '.join(others) or 'no task'}; see --target.",
            )
        return TASKS[name]
    for task in TASKS.values():
        if task.applies_to(spec):
            return task
    raise DataError(f"{spec.name} has no target that fits a task", "Give one with --target.")


def for_task(data: Experience, task: Task[Any, Any]) -> Experience:
    """The data as a task uses it: without its target where the task has none."""
    samples = None if task.has_target else samples_of(data)
    return data if samples is None else without_target(samples)


def find_learner(model: str | nn.Module | AnyLearner | None, task: Task[Any, Any], spec: Spec) -> AnyLearner:
    """Find a learner by name, or the default learner for the data."""
    if isinstance(model, Learner):
        return model
    if isinstance(model, nn.Module):
        learner: AnyLearner = FROM_MODULE[task.name](model)
        return learner
    name = model or task.default(spec)
    known = LEARNERS[task.name]
    if name not in known:
        other_tasks = [other for other, learners in LEARNERS.items() if name in learners]
        hint = f" (it is a model of {other_tasks[0]})" if other_tasks else ""
        fitting = [other for other in other_tasks if TASKS[other].applies_to(spec)]
        remedy = f"Add --task {fitting[0]}." if fitting else suggest_name(name, list(known))
        raise UsageError(f"Unknown model {name!r} of {task.name}{hint}", remedy)
    return known[name]


def unsupported_reason(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner does not support this data, or None."""
    is_constant = learner.name == "baseline" and learner.task.has_target  # it does not look at its inputs
    if len(spec.inputs) > 1 and not (learner.several_inputs or is_constant):
        return f"reads one input, this data has several: {', '.join(spec.inputs)}"
    unread = [one.modality for one in spec.inputs.values() if one.modality not in learner.accepts]
    if unread:
        return f"reads {' or '.join(sorted(learner.accepts))}, not {unread[0]}"
    if learner.flattens and spec.input.is_ragged:
        return f"reads {modality_of(spec).noun} of one length, these have several"
    return learner.unsupported_reason(spec)


def recorded_learner(record: Record, given: AnyLearner | nn.Module | None) -> AnyLearner:
    """Learner of a run: the built-in learner of that name, else the given one."""
    if record.task not in TASKS:
        raise DataError(f"Unknown task {short_repr(record.task)} of the run", f"Known: {', '.join(TASKS)}.")
    if isinstance(given, nn.Module):
        given = FROM_MODULE[record.task](given)
    if given is not None:
        if (given.name, given.task.name) != (record.learner, record.task):
            raise UsageError(
                f"The run was trained with {record.learner!r} ({record.task}), not {given.name!r}",
                "Give the model that it was trained with.",
            )
        return given
    known = LEARNERS.get(record.task, {})
    if record.learner not in known or record.source_hash is not None:
        raise UsageError(
            f"The run was trained with {short_repr(record.learner)}, which is not built in",
            "Give the custom model: snellen.load(run, learner=MY_LEARNER).",
        )
    return known[record.learner]


def is_builtin(learner: AnyLearner) -> bool:
    """Whether a learner belongs to Snellen."""
    return LEARNERS.get(learner.task.name, {}).get(learner.name) is learner


def source_hash(learner: AnyLearner) -> str:
    """SHA-256 of the source of a custom learner; "unknown" where the source is not available."""
    text = []
    groups = [type(field.default) for field in dataclasses.fields(learner.settings)]
    merged = bool(groups) and all(dataclasses.is_dataclass(group) for group in groups)  # such a class has no source
    for part in (*(groups if merged else [learner.settings]), learner.build, learner.fit, *learner.parts):
        try:
            code = part if inspect.isroutine(part) or inspect.isclass(part) else type(part)
            text.append(inspect.getsource(code))
        except (OSError, TypeError):
            return "unknown"
        if isinstance(part, nn.Module):
            text.append(repr(part))  # its layers
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def source_changed(record: Record, learner: AnyLearner) -> bool:
    """Whether the source of a custom learner has changed since the run started, as far as it is known."""
    if record.source_hash in (None, "unknown"):
        return False
    return source_hash(learner) not in (record.source_hash, "unknown")


def with_present_settings(record: Record, learner: AnyLearner) -> Record:
    """The record of a custom learner or module with the present names of Snellen's own settings (schema 1)."""
    if record.source_hash is None:
        return record
    known = {setting.name: setting for setting in flatten(learner.settings)}
    settings, sources = (upgrade_settings(part, known) for part in (record.settings, record.sources))
    return dataclasses.replace(record, settings=settings, sources=sources)


def read_settings(learner: AnyLearner, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from JSON, with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def data_origin(record: Record) -> Origin:
    """Read from the record how the data of a run was opened."""
    if record.data is None:
        raise UsageError("The data of the run was made in memory", "Give the data: data=...")
    return read_origin(record.data)


def read_origin(plain: Mapping[str, Any]) -> Origin:
    """How data was opened, as a record stores it. Options that have been added since have their defaults.

    The splits of a record without a version of the rounding are those of version 1.
    """
    options = plain.get("options")
    if isinstance(options, dict):
        plain = {**plain, "options": {"rounding": 1, **options}}
    origin: Origin = from_plain(Origin, plain, "data")
    return origin


def with_present_options(plain: Any) -> Any:
    """How data was opened, as a record stores it, with the options that have been added since at their defaults."""
    return to_plain(vars(read_origin(plain))) if isinstance(plain, dict) else plain


def reopen_data(record: Record) -> Experience:
    """Open the data of a run again with the same options."""
    origin = data_origin(record)
    if origin.data not in BUILTIN_NAMES and origin.data not in NAMED and not Path(origin.data).exists():
        raise DataError(
            f"{origin.data}, the data of the run, does not exist",
            "Put it back there, or evaluate the run on it at its new place: snellen evaluate RUN --data PATH",
        )
    opened = open_experience(origin.data, seed=origin.seed, options=origin.options)
    return for_task(opened, TASKS[record.task])


def coco_ids(record: Record, coco_annotations: str | Path | None) -> CocoIds | None:
    """Image and category ids from a COCO annotation file, or else from the data of the run; None without ids."""
    if coco_annotations is not None:
        return read_coco_ids(Path(coco_annotations), record.spec)
    target = record.spec.target
    if not isinstance(target, Boxes) or not target.ids or record.data is None:
        return None
    origin = data_origin(record)
    with contextlib.suppress(DataError):  # the data was removed: only the ids of the images are missing
        return CocoIds(
            images=image_ids(Path(origin.data), origin.options),
            source=origin.data,
            classes=dict(zip(target.names, target.ids, strict=True)),
        )
    return None


def resolve_available(
    learner: AnyLearner,
    settings: Mapping[str, Any],
    spec: Spec,
    suggested: Mapping[str, Suggestion] = MappingProxyType({}),
) -> tuple[Any, dict[str, str], MissingWeights | None]:
    """Resolve settings; where default pretrained weights are missing, from scratch if the learner can be.

    Returns:
        As `settings.resolve`, and the reason for training from scratch, or None.
    """
    suggested = {**learner.suggest(spec), **suggested}
    resolved, sources = resolve(learner.settings, settings, suggested)
    if "pretrained" not in settings:
        try:
            learner.check_requirements(resolved, spec)
        except MissingWeights as missing:
            scratch, scratch_sources = resolve(learner.settings, {**settings, "from_scratch": True}, suggested)
            with contextlib.suppress(SnellenError):
                learner.check_requirements(scratch, spec)
                return scratch, {**scratch_sources, "from_scratch": missing.cause}, missing
        except SnellenError:
            pass  # `prepare` checks again
    return resolved, sources, None


def warn(progress: Progress | None, message: str) -> None:
    """Show a message by `progress`, or else as a Python warning."""
    if progress is not None:
        progress.message(message)
    else:
        warnings.warn(message, stacklevel=3)


def is_run_file(name: str) -> bool:
    """Whether a file name is that of a run's file or of a temporary file."""
    prefixes = (
        "model.",
        "state",
        "history.jsonl",
        "metrics.json",
        "report.html",
        "README.md",
        "predictions",
        "quarantine.jsonl",
        "samples.",
        "snapshots.",
    )
    return name.startswith((".", *prefixes))


def new_folder(stem: str) -> Path:
    """Create the first unused folder `runs/STEM-N`, in one step, so that processes started at once get one each."""
    stem = re.sub(r"\.\w{1,5}$", "", re.sub(r"[^\w.-]+", "_", stem))  # without a file suffix
    number = 1
    while not make_new_folder(folder := Path("runs", f"{stem}-{number}")):
        number += 1
    return folder


def newest_run() -> Path:
    """Run folder under `runs/` that was written last."""
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise UsageError("There is no run in runs/", "Train a model first: snellen train DATA")
    return runs[-1].parent


def command_line() -> str:
    """Command line of the process, quoted for a shell."""
    return shlex.join(["snellen", *sys.argv[1:]])
