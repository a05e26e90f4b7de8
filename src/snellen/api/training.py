"""Learning a model from data: begun, gone on with, finished."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from snellen.api.lookup import (
    AnyLearner,
    find_learner,
    find_task,
    is_of_a_run,
    is_ours,
    learner_of,
    new_folder,
    read_settings,
    refusal,
    reopen,
    source_changed,
    source_hash,
    warn,
)
from snellen.api.run_options import RunOptions, find_device, most_threads, same_bits, suited, threads
from snellen.api.trained_run import TrainedRun, build, planned
from snellen.core import allocator, files
from snellen.core import settings as core_settings
from snellen.core.errors import DataError, UsageError
from snellen.core.random import drawing
from snellen.core.record import Record, read_record, versions, write_record
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.core.spec import as_kept
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import dataset
from snellen.report.cost import Cost, cost_of
from snellen.report.reference_metrics import most_of
from snellen.tasks import LEARNERS


def train(
    data: str | Path | Dataset[Labelled],
    model: str | nn.Module | AnyLearner | None = None,
    *,
    task: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    loss: str | Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
    command: str = "",
    **settings: object,
) -> TrainedRun:
    """Learns a model from data, judges it, and writes the run's folder with its report.

    Args:
        data: a dataset, a name or a path.
        model: a learner's name, a `Learner`, or a plain module; None: what suits the data.
        task: a task's name; None: what the data asks.
        out: the run's folder; None: a new one under `runs/`.
        loss: a callable (scores or numbers, targets) -> scalar in place of the learner's own, or one of the learner's
            losses by name.
        settings: any setting of the learner by name.
    Raises:
        UsageError, DataError, EnvironmentProblem, Diverged, Stopped.
    """
    opened = data if isinstance(data, Dataset) else dataset(data, seed=seed)
    learner = find_learner(model, find_task(task, opened.spec), opened.spec)
    if isinstance(loss, str):
        settings, loss = {**settings, "loss": loss}, None
    folder = prepare(opened, learner, settings, seed=seed, out=out, loss=loss, options=options, command=command)
    return _learn(folder, read_record(folder), learner, opened, options, loss, resume=False)


def prepare(
    data: Dataset[Labelled],
    learner: AnyLearner,
    settings: Mapping[str, Any] = MappingProxyType({}),
    *,
    seed: int = 0,
    out: str | Path | None = None,
    loss: Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
    command: str = "",
) -> Path:
    """Writes the folder of a run that has not begun: all choices made, nothing learned. `resume` begins it."""
    why_not = refusal(learner, data.spec)
    if why_not:
        others = ", ".join(
            name
            for name, other in LEARNERS[learner.task.name].items()
            if other.in_default_ladder and not refusal(other, data.spec)
        )
        raise UsageError(f"{learner.name} {why_not}", f"Take another: {others}.")
    chosen, sources = core_settings.resolve(learner.settings, settings, learner.suggest(data.spec))
    learner.needs(chosen, data.spec)
    plan = planned(learner, chosen, data.spec, seed)
    folder = Path(out) if out is not None else new_folder(f"{learner.name}-{data.spec.name}")
    if os.path.lexists(folder / "run.json"):
        raise UsageError(f"{folder} holds a run already", f"Go on with it by --resume {folder}, or give another --out.")
    foreign = [name for name in os.listdir(folder) if not is_of_a_run(name)] if os.path.isdir(folder) else []
    if foreign:
        raise UsageError(f"{folder} holds other files, such as {foreign[0]}", "Give an empty or a new folder to --out.")
    preprocessing = dataclasses.replace(learner.preprocessing_of(chosen, data.spec), pages=data.preprocessing.pages)
    record = Record(
        learner=learner.name,
        task=learner.task.name,
        settings=to_plain(core_settings.values(chosen)),
        sources=sources,
        spec=data.spec,
        seed=seed,
        value_range=data.value_range,
        preprocessing=preprocessing,
        data=None if data.origin is None else to_plain(data.origin),
        device=find_device(options.device),
        threads=options.threads or suited(plan, data.spec, preprocessing),
        versions=versions(),
        command=command,
        source_hash=None if is_ours(learner) else source_hash(learner),
        loss=None if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
    )
    write_record(folder, record)
    if data.aside:
        lines = [json.dumps(aside._asdict(), ensure_ascii=False) + "\n" for aside in data.aside]
        files.write_text(folder / "quarantine.jsonl", "".join(lines))
    return folder


def resume(
    folder: str | Path,
    *,
    learner: AnyLearner | nn.Module | None = None,
    data: Dataset[Labelled] | None = None,
    loss: Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
) -> TrainedRun:
    """Goes on with a run where it was stopped or killed: the result has the same bits as if it had not been.

    Args:
        learner, loss: again, where they are the user's own.
        data: again, where it was made in memory.
    """
    folder = Path(folder)
    record = read_record(folder)
    found = learner_of(record, learner)
    if (record.loss is None) != (loss is None):
        raise UsageError(f"{folder} was trained with {record.loss or 'the loss of its learner'}", "Give the same loss.")
    opened = data if data is not None else reopen(record)
    opened = dataclasses.replace(opened, spec=as_kept(opened.spec, record.spec))
    if to_plain(opened.spec) != to_plain(record.spec):
        raise DataError(f"The data of {folder} has changed since it was trained on", "Train anew.")
    now = versions()
    different = [f"{k} {v} is now {now.get(k)}" for k, v in record.versions.items() if now.get(k) != v]
    device = find_device(record.device if options.device == "auto" else options.device)
    if device != record.device:
        different.append(f"device {record.device} is now {device}")
    count = record.threads if options.threads is None else options.threads
    if count != record.threads or count > most_threads():
        different.append(f"{record.threads} threads are now {min(count, most_threads())}")
    if different:
        warn(options.progress, f"Resuming under other conditions ({'; '.join(different)}): the bits may differ.")
    if source_changed(record, found):
        warn(options.progress, f"The source of {found.name} has changed since {folder} began: the bits may differ.")
    record = dataclasses.replace(record, device=device, threads=count)
    return _learn(folder, record, found, opened, options, loss, resume=True)


def _learn(
    folder: Path,
    record: Record,
    learner: AnyLearner,
    data: Dataset[Labelled],
    options: RunOptions,
    loss: Callable[..., Tensor] | None,
    *,
    resume: bool,
) -> TrainedRun:
    with files.alone(folder):
        return _learned(folder, record, learner, data, options, loss, resume)


def _learned(
    folder: Path,
    record: Record,
    learner: AnyLearner,
    data: Dataset[Labelled],
    options: RunOptions,
    loss: Callable[..., Tensor] | None,
    resume: bool,
) -> TrainedRun:
    chosen = core_settings.make(learner.settings, read_settings(learner, record.settings))
    data = dataclasses.replace(data, preprocessing=record.preprocessing)
    run = Run(
        folder,
        seed=record.seed,
        device=record.device,
        resume=resume,
        save_every=options.save_every,
        seconds=options.seconds,
        progress=options.progress,
        loss=loss,
    )
    run.least = options.least
    allocator.tune()
    sizes = data.spec.sizes
    again = min(sizes["train"], most_of(data))  # training samples that the diagnosis asks about
    run.aftermath = 1 + (sizes["test"] + again) / max(sizes["val"], 1)
    model = build(learner, chosen, record)
    with threads(record.threads), same_bits(record.device), run.listening():
        cost = Cost()
        with cost.watching(), drawing(record.seed, "fit"):
            learner.fit(chosen, data, model, run)
        run.flush()
        model.eval()
        files.write_tensors(folder / "model.safetensors", model.state_dict())
        trained = TrainedRun(folder, record, learner, model, data)
        measured = cost_of(model, learner.task, data, record.spec, cost)
        trained.judge(("val", "test") if options.evaluate_test else ("val",), run, measured, report=options.report)
    return trained
