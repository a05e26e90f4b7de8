"""K-fold cross-validation: one training per fold, with that fold as the test split.

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
from snellen.api.evaluation_data import check_same_data, with_present_rounding
from snellen.api.lookup import is_builtin
from snellen.core import file_io, legacy_names
from snellen.core.errors import DataError, Stopped, UsageError
from snellen.core.experience import Experience
from snellen.core.learner import Learner
from snellen.core.record import SCHEMA, read_record
from snellen.core.serialization import to_plain
from snellen.core.settings import check_effects, flatten, resolve, values
from snellen.core.views import Metric
from snellen.data.experience import open_experience, require_samples

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folds:
    """The headline metric on the test split of each fold, and its mean with a 95 % confidence interval over folds."""

    folder: Path
    learner: str
    headline: str
    each: tuple[Metric, ...]
    mean: Metric


def cross_validate(
    data: str | Path | Experience,
    model: str | nn.Module | AnyLearner | None = None,
    folds: int = 5,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    options: RunOptions = RunOptions(),
    command: str = "",
) -> Folds:
    """Split the data into folds and train once per fold, with that fold as the test split.

    Args:
        data: a name, a path, or a dataset opened from one; it is opened again for each fold.
        model, seed: as in `train`; folds are those of the data's own seed.
        out: the folder of the runs fold-1, fold-2 ...; finished folds in that folder are not trained again.
        settings: any setting of the learner by name.
    Raises:
        UsageError: if the data has predefined splits or was made in memory, a setting has no effect, or `out` contains
            other folds.
    """
    opened = open_experience(data)
    first = open_fold(opened, folds, 0)
    learner = find_learner(model, find_task(None, first.spec), first.spec)
    check_effects(resolve(learner.settings, settings, learner.suggest(first.spec))[0], settings)
    return train_folds(opened, learner, folds, seed=seed, out=out, settings=settings, options=options, command=command)


def train_folds(
    opened: Experience,
    model: AnyLearner,
    folds: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    options: RunOptions = RunOptions(),
    command: str = "",
) -> Folds:
    """As `cross_validate`, of opened data; a setting may have no effect."""
    first = open_fold(opened, folds, 0)
    learner = find_learner(model, find_task(None, first.spec), first.spec)
    headline = learner.task.headline(first.spec)
    folder = Path(out) if out is not None else new_folder(f"{learner.name}-{first.spec.name}-folds")
    resolved, _ = resolve(learner.settings, settings, learner.suggest(first.spec))
    about = {"data": opened.origin, "folds": folds, "seed": seed, "learner": learner.name, "settings": values(resolved)}
    check_same_data(folder, first, is_new=not (folder / "folds.json").exists())
    _open_folder(folder, opened, to_plain(about), learner)
    fold_metrics: list[Metric] = []
    for fold in range(folds):
        run_folder = folder / f"fold-{fold + 1}"
        if options.progress is not None:
            options.progress.begin(f"fold {fold + 1}", fold, folds)
        fold_data = first if fold == 0 else open_fold(opened, folds, fold)
        if not (run_folder / "run.json").exists():
            prepare(fold_data, learner, settings, seed=seed, out=run_folder, options=options, command=command)
        try:
            trained = _fold_run(run_folder, fold_data, learner, options)
        except Stopped as stopped:
            raise Stopped(
                stopped.cause,
                f"Resume with the same arguments and --out {shlex.quote(str(folder))}",
                signal=stopped.exit_code - 128,
            ) from stopped
        fold_metrics.append(trained.metrics[headline])
    result = Folds(
        folder=folder,
        learner=learner.name,
        headline=headline,
        each=tuple(fold_metrics),
        mean=mean_over_folds(fold_metrics),
    )
    file_io.write_json(
        folder / "folds.json",
        {
            **file_io.read_json(folder / "folds.json"),
            "finished": to_plain({"headline": headline, "each": result.each, "mean": result.mean}),
        },
    )
    return result


def mean_over_folds(each: Sequence[Metric]) -> Metric:
    """The mean of a metric with its 95 % confidence interval over folds, corrected for shared training samples.

    Source: Nadeau and Bengio 2003.
    """
    return mean_with_interval(each, "folds")


def mean_with_interval(each: Sequence[Metric], over: str) -> Metric:
    """The mean of a metric with its 95 % confidence interval (Student's t) over seeds or folds; one value has none.

    Where every seed gives the same value, no seed varies it: the interval is that of the first over its samples.

    Source: Student 1908; of folds, Nadeau and Bengio 2003.
    """
    from scipy.special import stdtrit  # torch has no quantile of t

    numbers = [metric.value for metric in each if metric.value is not None]
    if len(numbers) < len(each):
        reason = next(metric.reason for metric in each if metric.value is None)
        return dataclasses.replace(each[0], value=None, low=None, high=None, reason=f"undefined in one: {reason}")
    mean = statistics.fmean(numbers)
    if over == "folds" and len(numbers) > 1 and max(numbers) == min(numbers):
        return dataclasses.replace(each[0], low=None, high=None, over="", reason="equal for all folds")
    if len(numbers) == 1:
        return dataclasses.replace(each[0], low=None, high=None, over="", reason="")
    if over == "seeds" and max(numbers) == min(numbers):
        return each[0]
    variance = statistics.variance(numbers) / len(numbers)
    if over == "folds":
        variance *= fold_variance_factor(len(numbers))
    half = float(stdtrit(len(numbers) - 1, 0.975)) * math.sqrt(variance)
    return dataclasses.replace(each[0], value=mean, low=mean - half, high=mean + half, over=over, reason="")


def fold_variance_factor(folds: int) -> float:
    """Variance of a mean over k folds against that of k independent results: 1 + k / (k − 1).

    The folds share training samples. The second term is the ratio of test to training samples, 1 / (k − 1), times k.

    Source: Nadeau and Bengio 2003, sec. 3 (corrected resampled t-test).
    """
    return 1 + folds / (folds - 1)


def open_fold(data: Experience, folds: int, fold: int) -> Experience:
    """Open the data again with one of its folds as the test split."""
    samples = require_samples(data, "to divide into folds")
    if data.origin is None:
        raise UsageError("Data made in memory cannot be split into folds", "Give the name or the path of a dataset.")
    options = dataclasses.replace(data.origin["options"], folds=folds, fold=fold)
    again = open_experience(data.origin["data"], seed=data.origin["seed"], options=options)
    return dataclasses.replace(again, value_range=samples.value_range)


def _open_folder(folder: Path, opened: Experience, about: dict[str, Any], learner: AnyLearner) -> None:
    """Write `folds.json` for new folds, or check the arguments against an existing one."""
    file_io.reject_links(folder)
    path = folder / "folds.json"
    if not path.exists():
        file_io.write_json(path, {"schema": SCHEMA, **about})
        return
    stored = file_io.read_json(path)
    if not isinstance(stored, dict) or stored.get("schema", SCHEMA) != SCHEMA:
        raise DataError(f"{path} is damaged, or of another version: it does not describe folds", "Give another --out.")
    stored.setdefault("seed", (stored.get("data") or {}).get("seed"))  # the seed of the splits was that of training
    if "schema" not in stored and all(isinstance(stored.get(key), dict) for key in ("data", "settings")):
        known = {setting.name: setting for setting in flatten(learner.settings)}
        stored["data"] = legacy_names.upgrade_origin(stored["data"])
        stored["settings"] = legacy_names.upgrade_settings(stored["settings"], known)
    stored["data"] = with_present_rounding(folder, opened, stored.get("data"), folds=True)
    if {key: value for key, value in stored.items() if key not in ("finished", "schema")} != about:
        raise UsageError(
            f"{folder} contains folds of different data, another model or other settings", "Give another --out."
        )


def _fold_run(folder: Path, data: Experience, learner: AnyLearner, options: RunOptions) -> TrainedRun:
    """The run of one fold: loaded if finished, else trained or resumed."""
    custom = None if is_builtin(learner) else learner
    if read_record(folder).status == "finished":
        return load(folder, learner=custom, device=options.device)
    return resume(folder, learner=custom, data=data, options=options)
