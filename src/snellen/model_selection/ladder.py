"""The ladder: every learner that fits the data, smallest first, in one honest table.

Choices are made on validation. The test split is opened once, for all models together, when all have learned.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from snellen.api import RunOptions, TrainedRun, find_task, load, new_folder, prepare, refusal, resume
from snellen.architectures.pretrained import MissingWeights
from snellen.core import files
from snellen.core.errors import SnellenError, Stopped, TooLittleTime, UsageError, nearest
from snellen.core.learner import Learner
from snellen.core.renamed import upgrade
from snellen.core.run import Run
from snellen.core.serialization import from_plain, to_plain
from snellen.core.settings import resolve
from snellen.core.spec import Preprocessing, Spec, as_kept
from snellen.core.views import Metric
from snellen.data.check.checks import looked_late
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import flat_size
from snellen.data.open_dataset import dataset
from snellen.metrics.intervals import Z
from snellen.report.pages.ladder import Rung, ladder_page
from snellen.report.pages.run import closer
from snellen.report.pages.sections import data_section
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]

LEAST = 2.0  # seconds: with less a rung is not begun
RESERVE = 4.0  # seconds for the page; what else follows learning is a part of each rung's share
WORTH = 0.01  # of its steps: with fewer, what comes out says nothing of the model
CHILD = 5_000_000  # numbers in the training split from which a method that cannot be stopped gets its own process


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ladder:
    """The whole climb. `best` is the best on validation, `advised` the simplest that is not told from it."""

    folder: Path
    task: str
    headline: str
    rungs: tuple[Rung, ...]
    best: str | None
    advised: str | None
    advice: str
    untried: tuple[str, ...] = ()  # ours that were not asked to climb

    def rung(self, name: str) -> Rung:
        return next(r for r in self.rungs if r.name == name)


def ladder(
    data: str | Path | Dataset[Labelled],
    *,
    budget: float = 600.0,
    task: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    learners: Sequence[str | AnyLearner] = (),
    options: RunOptions = RunOptions(),
) -> Ladder:
    """Climbs: trains each learner within its share of the time, judges all, and gives advice.

    Args:
        data: a dataset, a name or a path.
        budget: seconds for everything. What a rung leaves of its share goes to those after it.
        out: the ladder's folder; one that holds an unfinished climb is gone on with.
        learners: of the caller's own, after ours; or the names of those of ours that are to climb, or "all". Unnamed
            climb those that are worth trying unasked (`Learner.in_default_ladder`).
    """
    started = time.monotonic()
    opened = data if isinstance(data, Dataset) else dataset(data, seed=seed)
    asked = find_task(task, opened.spec)
    folder = Path(out) if out is not None else new_folder(f"ladder-{opened.spec.name}")
    spent = _begin(folder, opened, budget, seed)
    candidates = _candidates(asked.name, learners)
    refused = {learner.name: _why_not(learner, opened.spec) for learner in candidates}
    fitting = [learner for learner in candidates if refused[learner.name] is None]
    rungs = {name: Rung(name=name, status="refused", reason=why or "") for name, why in refused.items()}
    opened, late = looked_late(opened)  # once for all, and within the budget
    for finding in late:
        if options.progress is not None:
            options.progress.say(f"{finding.severity}: {finding.message}")
    end = started + budget - spent - min(RESERVE, 0.2 * budget)
    trained: dict[str, TrainedRun] = {}
    for place, learner in enumerate(fitting):
        if options.progress is not None:
            options.progress.begin(learner.name, place, len(fitting))
        share = _share(end - time.monotonic(), len(fitting) - place, learner.stoppable)
        limits = dataclasses.replace(options, seconds=share, least=WORTH, evaluate_test=False, report=False)
        try:
            rung, one = _climb(learner, opened, folder / learner.name, seed, limits)
        except Stopped as stopped:
            cause = f"{stopped.cause.rstrip('.')}, in {learner.name}."
            raise Stopped(
                cause, f"Go on with the same words and --out {folder}", signal=stopped.exit_code - 128
            ) from stopped
        rungs[learner.name] = rung
        if one is not None:
            trained[learner.name] = one
            end -= _judging(one)
        files.write_json(
            folder / "ladder.json",
            {**files.read_json(folder / "ladder.json"), "spent": spent + time.monotonic() - started},
        )
    headline = asked.headline(opened.spec)
    best, advised, advice = _choose(trained, headline)
    for name, one in trained.items():
        one.judge(("test",), Run(one.folder, resume=None, device=one.record.device), report=name == best)
        rungs[name] = dataclasses.replace(rungs[name], headline=one.metrics[headline])
    made = Ladder(
        folder=folder,
        task=asked.name,
        headline=headline,
        rungs=_with_frontier(list(rungs.values())),
        best=best,
        advised=advised,
        advice=advice,
        untried=tuple(name for name in LEARNERS[asked.name] if name not in rungs),
    )
    files.write_json(
        folder / "ladder.json",
        {
            **files.read_json(folder / "ladder.json"),
            "finished": to_plain({"rungs": made.rungs, "best": best, "advised": advised, "advice": advice}),
        },
    )
    _write_page(made, opened, trained.get(best or ""))
    return made


def _candidates(task: str, learners: Sequence[str | AnyLearner]) -> list[AnyLearner]:
    """Who climbs, smallest first."""
    ours = LEARNERS[task]
    names = [given for given in learners if isinstance(given, str)]
    for name in names:
        if name != "all" and name not in ours:
            raise UsageError(f"No learner of {task} is called {name!r}", nearest(name, list(ours)))
    chosen = [
        one for name, one in ours.items() if (one.in_default_ladder if not names else name in names or "all" in names)
    ]
    return chosen + [own for own in learners if not isinstance(own, str) and own.task.name == task]


def _share(left: float, coming: int, stoppable: bool) -> float:
    """Seconds for the next of so many rungs.

    Shares fall evenly: a small model learns all it can in its own, a large one would not in twice as much. What cannot
    be stopped may lose all of it. Where many share little, the small ones, which come first, still get what they need.
    """
    even = 2 * left / (coming + 1) if stoppable else left / coming
    return max(even, min(LEAST, left))


def _judging(one: TrainedRun) -> float:
    """Seconds that judging the test split will take, by what validation took."""
    sizes = one.spec.sizes
    seconds = files.read_json(one.folder / "metrics.json")["cost"].get("seconds_judging", 0.0)
    return float(seconds) * sizes["test"] / max(sizes["val"], 1)


def _write_page(made: Ladder, data: Dataset[Labelled], best: TrainedRun | None) -> None:
    """`report.html` of the whole climb: the table and its plots, the best model looked at closely, the data."""
    about = closer(best.told()) if best is not None else ""
    page = ladder_page(f"The ladder on {data.spec.name}", made.rungs, made.advice, about, data_section(data))
    files.write_text(made.folder / "report.html", page)


def _begin(folder: Path, data: Dataset[Labelled], budget: float, seed: int) -> float:
    """Writes what the climb is, or reads it where one was begun; returns the seconds already spent."""
    path = folder / "ladder.json"
    if not path.exists():
        files.write_json(path, {"data": to_plain(data.spec), "seed": seed, "budget": budget, "spent": 0.0})
        return 0.0
    plain = upgrade(files.read_json(path))
    kept: Spec = from_plain(Spec, plain.get("data"), f"{path}: data")
    if (to_plain(as_kept(data.spec, kept)), seed) != (to_plain(kept), plain.get("seed")):
        raise UsageError(f"{folder} holds a climb of other data or another seed", "Give another --out.")
    return min(float(plain["spent"]), 0.9 * budget)


def _climb(
    learner: AnyLearner, data: Dataset[Labelled], folder: Path, seed: int, options: RunOptions
) -> tuple[Rung, TrainedRun | None]:
    """One rung. Whatever goes wrong with it ends it alone, with its reason in the table."""
    name = learner.name
    own = None if learner is LEARNERS[learner.task.name].get(name) else learner
    try:
        finished = (folder / "metrics.json").exists()
        if finished:
            one = load(folder, learner=own, device=options.device, data=data)
            return _done(one), one
        if options.seconds is not None and options.seconds < LEAST:
            return Rung(name=name, status="no time", reason="the budget was spent before it"), None
        without = ""
        if not (folder / "run.json").exists():
            without = _prepared(data, learner, folder, seed, options)
        if _own_process(learner, own, data):
            _in_a_child(folder, options)
            one = load(folder, device=options.device, data=data)
        else:
            one = resume(folder, learner=own, data=data, options=options)
        rung = _done(one)
        return dataclasses.replace(rung, reason="; ".join(filter(None, [rung.reason, without]))), one
    except (Stopped, KeyboardInterrupt):
        raise
    except TooLittleTime as error:
        return Rung(name=name, status="no time", reason=error.cause), None
    except SnellenError as error:
        return Rung(name=name, status="failed", reason=error.cause, folder=str(folder)), None
    except Exception as error:  # a learner of anyone's may fail in any way; the others go on
        return Rung(name=name, status="failed", reason=f"{type(error).__name__}: {error}", folder=str(folder)), None


def _why_not(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner cannot climb, or None; what only lacks published weights climbs from scratch, if it can."""
    why = refusal(learner, spec)
    if why is not None:
        return why
    try:
        learner.needs(resolve(learner.settings, {}, learner.suggest(spec))[0], spec)
    except MissingWeights as missing:
        try:
            learner.needs(resolve(learner.settings, {"from_scratch": True}, learner.suggest(spec))[0], spec)
        except UsageError:
            return f"needs published weights: {missing.remedy.split(';')[0].removeprefix('Fetch them: ')}"
    return None


def _prepared(data: Dataset[Labelled], learner: AnyLearner, folder: Path, seed: int, options: RunOptions) -> str:
    """Begins a rung; without published weights from scratch. Returns what is to be said of that."""
    try:
        prepare(data, learner, out=folder, seed=seed, options=options)
        return ""
    except MissingWeights as missing:
        prepare(data, learner, {"from_scratch": True}, out=folder, seed=seed, options=options)
        return f"from scratch: {missing.cause}"


def _done(one: TrainedRun) -> Rung:
    plain = files.read_json(one.folder / "metrics.json")
    value = from_plain(Metric, plain["splits"]["val"][one.headline])
    fitted = plain["notes"].get("fitted") or plain["notes"].get("cut")
    reason = f"time allowed {fitted.get('steps', fitted.get('step')):,} of {fitted['of']:,} steps" if fitted else ""
    return Rung(name=one.record.learner, folder=str(one.folder), validation=value, reason=reason, **plain["cost"])


def _own_process(learner: AnyLearner, own: AnyLearner | None, data: Dataset[Labelled]) -> bool:
    """A method that cannot be stopped, on data on which it may take long."""
    numbers = data.spec.sizes["train"] * flat_size(data.spec, Preprocessing())
    return not learner.stoppable and own is None and data.origin is not None and numbers > CHILD


def _in_a_child(folder: Path, options: RunOptions) -> None:
    """Trains a prepared run in a process of its own, ended when its time is over."""
    command = [
        sys.executable,
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds, check=False)
    except subprocess.TimeoutExpired:
        raise TooLittleTime(f"stopped after {options.seconds:.0f} s, its share of the budget") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SnellenError(lines[0].removeprefix("snellen: ") if lines else f"ended with code {done.returncode}")


def _choose(trained: dict[str, TrainedRun], headline: str) -> tuple[str | None, str | None, str]:
    """The best on validation, the simplest that is not told from it there, and a sentence of advice."""
    values: dict[str, float] = {}
    for name, one in trained.items():
        plain = files.read_json(one.folder / "metrics.json")["splits"]["val"][headline]
        if plain["value"] is not None:
            values[name] = plain["value"] if plain["higher_is_better"] else -plain["value"]
    if not values:
        return None, None, "No model could be judged."
    best = max(values, key=lambda name: values[name])
    errors = {name: trained[name].task.errors(trained[name].predictions("val"), trained[name].spec) for name in values}
    same = [name for name in values if name == best or not told_apart(errors[name], errors[best])]
    simplest = same[0]  # the order of the registry: simplest first
    names = list(values)
    if simplest == "baseline":
        advice = "No model is told from the baseline on validation: nothing to learn here, or too little data."
    elif simplest == best and best == names[-1] and len(names) > 1:
        advice = f"{best} is the best and is told from every simpler model on validation: take it."
    elif simplest == best:
        advice = f"{best} is the best on validation and no simpler model comes near: take it."
    else:
        advice = f"{best} is the best on validation but not distinguishable from {simplest}: take the simpler."
    return best, simplest, advice


def told_apart(first: Tensor, second: Tensor) -> bool:
    """Whether paired errors differ in their mean at the 5 % level, by the normal interval of their difference.

    Args:
        first, second: (N,) errors of two models on the same samples.
    """
    difference = (first - second).double()
    spread = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    mean = abs(float(difference.mean()))
    return mean > Z * spread if spread > 0 else mean > 0


def _with_frontier(rungs: list[Rung]) -> tuple[Rung, ...]:
    """Marks the models that no cheaper one equals on validation."""
    placed = [(rung.multiply_adds or 0, value) for rung in rungs if (value := _value(rung)) is not None]

    def on_it(rung: Rung) -> bool:
        value = _value(rung)
        if value is None:
            return False
        cost = rung.multiply_adds or 0
        return not any((c < cost and v >= value) or (c == cost and v > value) for c, v in placed)

    return tuple(dataclasses.replace(rung, on_frontier=on_it(rung)) for rung in rungs)


def _value(rung: Rung) -> float | None:
    metric = rung.validation
    if metric is None or metric.value is None:
        return None
    return metric.value if metric.higher_is_better else -metric.value
