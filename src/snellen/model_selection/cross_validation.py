"""Cross-validation: as many trainings as folds, each judged on a part of the data that it has not seen.

Source: Stone 1974.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from snellen.api import RunOptions, TrainedRun, find_learner, find_task, load, new_folder, prepare, resume
from snellen.api.lookup import is_ours
from snellen.core import files, renamed
from snellen.core.errors import Stopped, UsageError
from snellen.core.learner import Learner
from snellen.core.record import SCHEMA, read_record
from snellen.core.serialization import to_plain
from snellen.core.settings import resolve, values
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import dataset

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folds:
    """The headline on the test split of each fold, and its mean with a 95 % interval over folds."""

    folder: Path
    learner: str
    headline: str
    each: tuple[Metric, ...]
    mean: Metric


def cross_validate(
    data: str | Path | Dataset[Labelled],
    model: str | nn.Module | AnyLearner | None = None,
    folds: int = 5,
    *,
    out: str | Path | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    options: RunOptions = RunOptions(),
    command: str = "",
) -> Folds:
    """Divides the data into folds and trains once for each, with that fold as the test split.

    Args:
        data: a name, a path, or a dataset that was opened from one: it is opened again for each fold.
        model: as in `train`.
        out: the folder of the runs fold-1, fold-2 ...; folds that are finished there are not trained again.
        settings: any setting of the learner by name.
    Raises:
        UsageError: where the data has splits of its own or was made in memory, or `out` holds other folds.
    """
    opened = data if isinstance(data, Dataset) else dataset(data)
    first = fold_of(opened, folds, 0)
    learner = find_learner(model, find_task(None, first.spec), first.spec)
    seed = int((first.origin or {})["seed"])
    headline = learner.task.headline(first.spec)
    folder = Path(out) if out is not None else new_folder(f"{learner.name}-{first.spec.name}-folds")
    chosen, _ = resolve(learner.settings, settings, learner.suggest(first.spec))
    _begin(
        folder, to_plain({"data": opened.origin, "folds": folds, "learner": learner.name, "settings": values(chosen)})
    )
    done: list[Metric] = []
    for fold in range(folds):
        place = folder / f"fold-{fold + 1}"
        if options.progress is not None:
            options.progress.begin(f"fold {fold + 1}", fold, folds)
        part = first if fold == 0 else fold_of(opened, folds, fold)
        if not (place / "run.json").exists():
            prepare(part, learner, settings, seed=seed, out=place, options=options, command=command)
        try:
            trained = _learned(place, part, learner, options)
        except Stopped as stopped:
            raise Stopped(
                stopped.cause,
                f"Go on by the same command with --out {shlex.quote(str(folder))}",
                signal=stopped.exit_code - 128,
            ) from stopped
        done.append(trained.metrics[headline])
    made = Folds(folder=folder, learner=learner.name, headline=headline, each=tuple(done), mean=over_folds(done))
    files.write_json(
        folder / "folds.json",
        {
            **files.read_json(folder / "folds.json"),
            "finished": to_plain({"headline": headline, "each": made.each, "mean": made.mean}),
        },
    )
    return made


def over_folds(each: Sequence[Metric]) -> Metric:
    """The mean of a figure with its 95 % interval over folds.

    The folds share training samples, so that the interval is narrower than that of new data would be.

    Source: Bengio and Grandvalet 2004 on what the interval leaves out.
    """
    return mean_over(each, "folds")


def mean_over(each: Sequence[Metric], over: str) -> Metric:
    """The mean of a figure with its 95 % interval over seeds or folds, by Student's t; without one where it is alone.

    Source: Student 1908.
    """
    from scipy.special import stdtrit  # torch has no quantile of t

    found = [metric.value for metric in each if metric.value is not None]
    if len(found) < len(each):
        reason = next(metric.reason for metric in each if metric.value is None)
        return dataclasses.replace(each[0], value=None, low=None, high=None, reason=f"undefined in one: {reason}")
    mean = statistics.fmean(found)
    if len(found) == 1:
        return dataclasses.replace(each[0], low=None, high=None, over="")
    half = float(stdtrit(len(found) - 1, 0.975)) * statistics.stdev(found) / math.sqrt(len(found))
    return dataclasses.replace(each[0], value=mean, low=mean - half, high=mean + half, over=over)


def fold_of(data: Dataset[Labelled], folds: int, fold: int) -> Dataset[Labelled]:
    """The data opened again with one of its folds as the test split."""
    if data.origin is None:
        raise UsageError("Data made in memory cannot be opened again for each fold", "Give its name or its path.")
    options = dataclasses.replace(data.origin["options"], folds=folds, fold=fold)
    again = dataset(data.origin["data"], seed=data.origin["seed"], options=options)
    return dataclasses.replace(again, value_range=data.value_range)


def _begin(folder: Path, about: dict[str, Any]) -> None:
    """Writes what the folds are of, or compares it with what was begun there."""
    path = folder / "folds.json"
    if not path.exists():
        files.write_json(path, {"schema": SCHEMA, **about})
        return
    kept = files.read_json(path)
    if "schema" not in kept:
        kept["data"] = renamed.upgrade_origin(kept["data"])
        kept["settings"] = renamed.upgrade_settings(kept["settings"], about["settings"])
    if {key: value for key, value in kept.items() if key not in ("finished", "schema")} != about:
        raise UsageError(f"{folder} holds folds of other data, another model or other settings", "Give another --out.")


def _learned(folder: Path, data: Dataset[Labelled], learner: AnyLearner, options: RunOptions) -> TrainedRun:
    """The run of one fold: read where it is finished, begun or gone on with where it is not."""
    own = None if is_ours(learner) else learner
    if read_record(folder).status == "finished":
        return load(folder, learner=own, device=options.device)
    return resume(folder, learner=own, data=data, options=options)
