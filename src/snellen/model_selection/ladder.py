"""Ladder: train learners that support the data, from simple to complex, and compare all in one table.

Models are selected on validation. The test split is evaluated once, for all models together, after all are trained.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from snellen.api import RunOptions, TrainedRun, find_task, load, new_folder, prepare, resume, unsupported_reason
from snellen.api.evaluation_data import check_same_data, check_same_rounding
from snellen.api.lookup import resolve_available
from snellen.architectures.pretrained import MissingWeights
from snellen.core import file_io
from snellen.core.errors import SnellenError, Stopped, TooLittleTime, UsageError, suggest_name
from snellen.core.learner import Learner
from snellen.core.legacy_names import upgrade
from snellen.core.run import Run
from snellen.core.serialization import from_plain, to_plain
from snellen.core.spec import Labels, Preprocessing, Spec, as_stored
from snellen.core.views import Metric
from snellen.data.check.checks import with_deferred_checks
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import flattened_size
from snellen.data.open_dataset import dataset
from snellen.data.splits import ROUNDING
from snellen.metrics.intervals import LEVEL
from snellen.metrics.significance import SUFFICIENT, mcnemar, paired_t_test
from snellen.model_selection.comparison import RunPredictions, exchange_p_value
from snellen.report.pages.ladder import Rung, ladder_page
from snellen.report.pages.run import best_model_sections
from snellen.report.pages.sections import data_section
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]

MIN_SECONDS = 2.0  # with less time a model is not trained
RESERVE = 4.0  # seconds for the report; other work after training is part of the time of each model
MIN_STEP_FRACTION = 0.01  # of all steps: with fewer, the result does not represent the model
SUBPROCESS_SIZE = 5_000_000  # values in the training split from which an unstoppable learner runs in a subprocess


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ladder:
    """Result of a ladder. `best` is the best model on validation, `advised` the simplest not significantly worse."""

    folder: Path
    task: str
    headline: str
    rungs: tuple[Rung, ...]
    best: str | None
    advised: str | None
    advice: str
    untried: tuple[str, ...] = ()  # built-in learners for this kind of input that were not selected

    def rung(self, name: str) -> Rung:
        return next(r for r in self.rungs if r.name == name)


def ladder(
    data: str | Path | Dataset[Labelled],
    *,
    budget: float = 600.0,
    task: str | None = None,
    seed: int = 0,
    split_seed: int = 0,
    out: str | Path | None = None,
    learners: Sequence[str | AnyLearner] = (),
    options: RunOptions = RunOptions(),
) -> Ladder:
    """Train each learner within its part of the time budget, evaluate all, and recommend one.

    Args:
        data: a dataset, a name or a path.
        seed, split_seed: as in `train`.
        budget: seconds for the whole ladder. Time that a model does not use goes to the models after it.
        out: the ladder's folder; an unfinished ladder in that folder is resumed.
        learners: names of built-in learners, or "all"; custom learners are trained after the built-in ones. Without
            names, the learners of the default ladder are trained (`Learner.in_default_ladder`).
    """
    started = time.monotonic()
    opened = data if isinstance(data, Dataset) else dataset(data, seed=split_seed)
    selected_task = find_task(task, opened.spec)
    candidates = _candidates(selected_task.name, learners, opened.spec.modality)
    folder = Path(out) if out is not None else new_folder(f"ladder-{opened.spec.name}")
    spent = _open_folder(folder, opened, budget, seed)
    reasons = {learner.name: _unsupported_reason(learner, opened.spec) for learner in candidates}
    supported = [learner for learner in candidates if reasons[learner.name] is None]
    rungs = {name: Rung(name=name, status="refused", reason=reason or "") for name, reason in reasons.items()}
    opened, findings = with_deferred_checks(opened)  # once for all models, within the budget
    for finding in findings:
        if options.progress is not None:
            options.progress.message(f"{finding.severity}: {finding.message}")
    end = started + budget - spent - min(RESERVE, 0.2 * budget)
    trained: dict[str, TrainedRun] = {}
    for k, learner in enumerate(supported):
        if options.progress is not None:
            options.progress.begin(learner.name, k, len(supported))
        seconds = _time_slice(end - time.monotonic(), len(supported) - k, learner.stoppable)
        limits = dataclasses.replace(
            options, seconds=seconds, min_fraction=MIN_STEP_FRACTION, evaluate_test=False, report=False
        )
        try:
            rung, run = _train_rung(learner, opened, folder / learner.name, seed, limits)
        except Stopped as stopped:
            cause = f"{stopped.cause.rstrip('.')}, in {learner.name}."
            raise Stopped(
                cause, f"Resume with the same arguments and --out {folder}", signal=stopped.exit_code - 128
            ) from stopped
        rungs[learner.name] = rung
        if run is not None:
            trained[learner.name] = run
            end -= _test_seconds(run)
        file_io.write_json(
            folder / "ladder.json",
            {**file_io.read_json(folder / "ladder.json"), "spent": spent + time.monotonic() - started},
        )
    headline = selected_task.headline(opened.spec)
    best, advised, advice = _select_best(trained, headline)
    for name, run in trained.items():
        run.evaluate_splits(("test",), Run(run.folder, resume=None, device=run.record.device), report=name == best)
        rungs[name] = dataclasses.replace(rungs[name], headline=run.metrics[headline])
    result = Ladder(
        folder=folder,
        task=selected_task.name,
        headline=headline,
        rungs=_with_frontier(list(rungs.values())),
        best=best,
        advised=advised,
        advice=advice,
        untried=tuple(
            name
            for name, learner in LEARNERS[selected_task.name].items()
            if name not in rungs and opened.spec.modality in learner.accepts
        ),
    )
    file_io.write_json(
        folder / "ladder.json",
        {
            **file_io.read_json(folder / "ladder.json"),
            "finished": to_plain({"rungs": result.rungs, "best": best, "advised": advised, "advice": advice}),
        },
    )
    _write_page(result, opened, trained.get(best or ""))
    return result


def _candidates(task: str, learners: Sequence[str | AnyLearner], modality: str) -> list[AnyLearner]:
    """The learners to train, from simple to complex; of the others only those that are named may read other inputs."""
    builtin = LEARNERS[task]
    names = [learner for learner in learners if isinstance(learner, str)]
    for name in names:
        if name != "all" and name not in builtin:
            raise UsageError(f"Unknown model {name!r} of {task}", suggest_name(name, list(builtin)))
    selected = [
        learner
        for name, learner in builtin.items()
        if name in names
        or ((learner.in_default_ladder if not names else "all" in names) and modality in learner.accepts)
    ]
    return selected + [custom for custom in learners if not isinstance(custom, str) and custom.task.name == task]


def _time_slice(remaining: float, models: int, stoppable: bool) -> float:
    """Seconds for the next of the remaining models.

    The time decreases evenly from model to model: small models need little, large ones would not finish in twice the
    time. A learner that cannot be stopped gets an even part, as all of it may be lost. With a short budget, the small
    models, which come first, still get MIN_SECONDS.
    """
    seconds = 2 * remaining / (models + 1) if stoppable else remaining / models
    return max(seconds, min(MIN_SECONDS, remaining))


def _test_seconds(run: TrainedRun) -> float:
    """Expected seconds for evaluating the test split, from the time of the validation split."""
    sizes = run.spec.sizes
    seconds = file_io.read_json(run.folder / "metrics.json")["cost"].get("seconds_judging", 0.0)
    return float(seconds) * sizes["test"] / max(sizes["val"], 1)


def _write_page(result: Ladder, data: Dataset[Labelled], best: TrainedRun | None) -> None:
    """Write `report.html` of the ladder: table and plots, sections on the best model, data."""
    best_sections = best_model_sections(best.summary()) if best is not None else ""
    title = f"Ladder on {data.spec.name}"
    page = ladder_page(title, result.rungs, result.advice, best_sections, data_section(data))
    file_io.write_text(result.folder / "report.html", page)


def _open_folder(folder: Path, data: Dataset[Labelled], budget: float, seed: int) -> float:
    """Write `ladder.json` of a new ladder, or check an existing one; return the seconds already spent."""
    file_io.reject_links(folder)
    path = folder / "ladder.json"
    check_same_data(folder, data, is_new=not path.exists())
    if not path.exists():
        file_io.write_json(
            path, {"data": to_plain(data.spec), "rounding": ROUNDING, "seed": seed, "budget": budget, "spent": 0.0}
        )
        return 0.0
    plain = upgrade(file_io.read_json(path))
    rounding = from_plain(Literal[1, 2], plain.get("rounding", 1), f"{path}: rounding")
    check_same_rounding(folder, data, rounding)
    stored: Spec = from_plain(Spec, plain.get("data"), f"{path}: data")
    if (to_plain(as_stored(data.spec, stored)), seed) != (to_plain(stored), plain.get("seed")):
        raise UsageError(f"{folder} contains a ladder on other data or with another seed", "Give another --out.")
    return min(float(plain["spent"]), 0.9 * budget)


def _train_rung(
    learner: AnyLearner, data: Dataset[Labelled], folder: Path, seed: int, options: RunOptions
) -> tuple[Rung, TrainedRun | None]:
    """Train one model. A failure ends this model only; its reason appears in the table."""
    name = learner.name
    custom = None if learner is LEARNERS[learner.task.name].get(name) else learner
    try:
        finished = (folder / "metrics.json").exists()
        if finished:
            run = load(folder, learner=custom, device=options.device, data=data)
            return _finished_rung(run), run
        if options.seconds is not None and options.seconds < MIN_SECONDS:
            return Rung(name=name, status="no time", reason="not trained: the budget was spent"), None
        remark = ""
        if not (folder / "run.json").exists():
            remark = _prepare(data, learner, folder, seed, options)
        if _needs_subprocess(learner, custom, data):
            _train_in_subprocess(folder, options)
            run = load(folder, device=options.device, data=data)
        else:
            run = resume(folder, learner=custom, data=data, options=options)
        rung = _finished_rung(run)
        return dataclasses.replace(rung, reason="; ".join(filter(None, [rung.reason, remark]))), run
    except (Stopped, KeyboardInterrupt):
        raise
    except TooLittleTime as error:
        return Rung(name=name, status="no time", reason=error.cause), None
    except SnellenError as error:
        return Rung(name=name, status="failed", reason=error.cause, folder=str(folder)), None
    except Exception as error:  # a learner may raise any exception; the others continue
        return Rung(name=name, status="failed", reason=f"{type(error).__name__}: {error}", folder=str(folder)), None


def _unsupported_reason(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner cannot be trained, or None. Without published weights it is trained from scratch, if possible."""
    reason = unsupported_reason(learner, spec)
    if reason is not None:
        return reason
    try:
        learner.check_requirements(resolve_available(learner, {}, spec)[0], spec)
    except MissingWeights as missing:
        return f"needs published weights: {missing.remedy.split(';')[0].partition(': ')[2]}"
    return None


def _prepare(data: Dataset[Labelled], learner: AnyLearner, folder: Path, seed: int, options: RunOptions) -> str:
    """Prepare a run, without published weights from scratch. Returns a remark on the latter."""
    missing = resolve_available(learner, {}, data.spec)[2]
    prepare(data, learner, {} if missing is None else {"from_scratch": True}, out=folder, seed=seed, options=options)
    return "" if missing is None else f"from scratch: {missing.cause}"


def _finished_rung(run: TrainedRun) -> Rung:
    """The rung of a finished run, from its metrics."""
    stored = file_io.read_json(run.folder / "metrics.json")
    validation = from_plain(Metric, stored["splits"]["val"][run.headline])
    shortened = stored["notes"].get("fitted") or stored["notes"].get("cut")
    reason = ""
    if shortened:
        steps = shortened.get("steps", shortened.get("step"))
        reason = f"trained {steps:,} of {shortened['of']:,} steps (time limit)"
    return Rung(name=run.record.learner, folder=str(run.folder), validation=validation, reason=reason, **stored["cost"])


def _needs_subprocess(learner: AnyLearner, custom: AnyLearner | None, data: Dataset[Labelled]) -> bool:
    """Whether to train in a subprocess: a learner that cannot be stopped, on large data."""
    size = data.spec.sizes["train"] * flattened_size(data.spec, Preprocessing())
    return not learner.stoppable and custom is None and data.origin is not None and size > SUBPROCESS_SIZE


def _train_in_subprocess(folder: Path, options: RunOptions) -> None:
    """Train a prepared run in a subprocess, which is killed at the time limit."""
    command = [
        sys.executable,
        "-P",  # the current folder may hold a module of any name
        "-m",
        "snellen",
        "train",
        "--resume",
        str(folder),
        "--skip-test",
        "--json",
        "--device",
        options.device,
    ]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds, check=False)
    except subprocess.TimeoutExpired:
        raise TooLittleTime(f"Stopped after {options.seconds:.0f} s, its part of the time budget") from None
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        raise SnellenError(lines[0].removeprefix("snellen: ") if lines else f"ended with code {process.returncode}")


def _select_best(trained: dict[str, TrainedRun], headline: str) -> tuple[str | None, str | None, str]:
    """The best model on validation, the simplest one not significantly worse, and the advice as a sentence."""
    values: dict[str, float] = {}
    for name, run in trained.items():
        metric = file_io.read_json(run.folder / "metrics.json")["splits"]["val"][headline]
        if metric["value"] is not None:
            values[name] = metric["value"] if metric["higher_is_better"] else -metric["value"]
    predictions = {
        name: RunPredictions(name=name, learner=name, task=run.task, spec=run.spec, predictions=run.predictions("val"))
        for name, run in trained.items()
        if name in values
    }
    errors = {name: run.task.errors(run.predictions, run.spec) for name, run in predictions.items()}
    if not any(isinstance(run.spec.target, Labels) for run in predictions.values()):
        return select_best(values, errors)
    # The headline, a mean of average precisions, is no mean of errors of samples.
    draws = 40 * SUFFICIENT * len(values)
    return select_best(values, errors, lambda a, b: exchange_p_value(predictions[a], predictions[b], draws))


def select_best(
    values: Mapping[str, float], errors: Mapping[str, Tensor], p_value: Callable[[str, str], float] | None = None
) -> tuple[str | None, str | None, str]:
    """The best model on validation, the simplest one not significantly worse, and the advice as a sentence.

    Args:
        values: validation result of each model, higher is better, the simplest first.
        errors: (N,) of each model on the same validation samples.
        p_value: two-sided, of two models by name; None: a test of their errors.
    """
    if not values:
        return None, None, "No model has a validation result."
    names = list(values)
    best, *rest = sorted(names, key=lambda name: -values[name])  # of equal ones the simplest first
    if p_value is None:
        worse = significantly_worse(best, errors)
    else:
        worse = {name for name in rest if values[name] < values[best] and p_value(name, best) / 2 * len(rest) < LEVEL}
    simplest = next(name for name in names if name not in worse)
    if simplest == "baseline" and best != "baseline":
        advice = (
            f"No model is significantly better than the baseline on the validation split (best: {best}): the inputs do "
            "not predict the target, or there is too little data."
        )
    elif simplest == "baseline":
        advice = (
            "No model is better than the baseline on the validation split: the inputs do not predict the target, or "
            "there is too little data."
        )
    elif simplest == best and len(worse) == len(names) - 1 and names[-1] == best and rest:
        advice = f"Use {best}: it is significantly better than every simpler model on the validation split."
    elif simplest == best:
        simpler = ", and every simpler model is significantly worse" if names[0] != best else ""
        advice = f"Use {best}: it has the best result on the validation split{simpler}."
    else:
        advice = (
            f"Use {simplest}: {best} has the best result on the validation split, but is not significantly better than "
            f"the simpler {simplest}."
        )
    return best, simplest, f"{advice} {_runner_up(best, rest, values, worse)}".rstrip()


def _runner_up(best: str, rest: Sequence[str], values: Mapping[str, float], worse: Collection[str]) -> str:
    """The second-best model, and whether it differs from the best."""
    if not rest:
        return ""
    if values[rest[0]] == values[best]:
        equal = [name for name in rest if values[name] == values[best]]
        return f"{', '.join(equal)} and {best} have the same validation result."
    if rest[0] in worse:
        return f"The runner-up, {rest[0]}, is significantly worse than {best}."
    return f"The runner-up, {rest[0]}, does not differ significantly from {best}."


def significantly_worse(best: str, errors: Mapping[str, Tensor]) -> set[str]:
    """The models that are significantly worse than the best of these m; the others hold the truly best in 95 %.

    A model is falsely left out if any of the m − 1 others seems better, so each one-sided test has the level
    0.05 / (m − 1): the best was selected on the same samples.

    Args:
        errors: (N,) of each model on the same samples.
    Source: Gupta 1965; Hsu 1981 (multiple comparisons with the best), with Bonferroni's bound.
    """
    others = [name for name in errors if name != best]
    return {
        name
        for name in others
        if float(errors[name].double().mean()) > float(errors[best].double().mean())
        and _p_value(errors[name], errors[best]) / 2 * len(others) < LEVEL
    }


def _p_value(first: Tensor, second: Tensor) -> float:
    """Two-sided p-value of equal mean errors: McNemar's test of errors 0 and 1, else a paired t-test."""
    if bool(((first == 0) | (first == 1)).all()) and bool(((second == 0) | (second == 1)).all()):
        return mcnemar(int((first < second).sum()), int((first > second).sum()))
    return paired_t_test(first, second)


def _with_frontier(rungs: list[Rung]) -> tuple[Rung, ...]:
    """Mark the models on the Pareto frontier of multiply-adds and validation result."""
    points = [(rung.multiply_adds or 0, value) for rung in rungs if (value := _value(rung)) is not None]

    def on_frontier(rung: Rung) -> bool:
        value = _value(rung)
        if value is None:
            return False
        cost = rung.multiply_adds or 0
        return not any((c < cost and v >= value) or (c == cost and v > value) for c, v in points)

    return tuple(dataclasses.replace(rung, on_frontier=on_frontier(rung)) for rung in rungs)


def _value(rung: Rung) -> float | None:
    metric = rung.validation
    if metric is None or metric.value is None:
        return None
    return metric.value if metric.higher_is_better else -metric.value
