"""Ladder: train learners that support the data, from simple to complex, and compare all in one table.

Models are selected on validation. The test split is evaluated once, for all models together, after all are trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from snellen.api import RunOptions, TrainedRun, find_task, new_folder
from snellen.api.evaluation_data import check_same_data, check_same_rounding, check_splits
from snellen.api.lookup import for_task
from snellen.core import file_io
from snellen.core.errors import DataError, Stopped, UsageError, suggest_name
from snellen.core.experience import Experience
from snellen.core.learner import Learner
from snellen.core.legacy_names import upgrade
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.core.spec import Spec, as_stored
from snellen.data.experience import open_experience, with_deferred_findings
from snellen.data.formats import options_of_task
from snellen.data.splits import ROUNDING
from snellen.modalities import modality_of
from snellen.model_selection.advice import select_best_run, with_frontier
from snellen.model_selection.ladder_training import LadderTraining, reserve
from snellen.model_selection.rung_training import why_unsupported
from snellen.model_selection.stored_plan import check_plan, read_part
from snellen.report.html_text import format_overrun
from snellen.report.pages.ladder import Rung, ladder_page
from snellen.report.pages.run import best_model_sections
from snellen.report.pages.sections import data_section
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]

MAX_SPENT = 0.9  # of the budget: a resumed ladder always has some time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ladder:
    """Result of a ladder. `best` is the best model on validation, `advised` the simplest not significantly worse.

    `overrun` states the time and the budget, if the time exceeds it by more than 5 %.
    """

    folder: Path
    task: str
    headline: str
    rungs: tuple[Rung, ...]
    best: str | None
    advised: str | None
    advice: str
    untried: tuple[str, ...] = ()  # built-in learners for this kind of input that were not selected
    overrun: str = ""

    def rung(self, name: str) -> Rung:
        return next(r for r in self.rungs if r.name == name)


def ladder(
    data: str | Path | Experience,
    *,
    budget: float = 600.0,
    task: str | None = None,
    seed: int = 0,
    split_seed: int = 0,
    out: str | Path | None = None,
    learners: Sequence[str | AnyLearner] = (),
    options: RunOptions = RunOptions(),
    arguments: Sequence[str] = (),
    used: float = 0.0,
) -> Ladder:
    """Train each learner within its part of the time budget, evaluate all, and recommend one.

    Args:
        data: a dataset, a name or a path.
        seed, split_seed: as in `train`.
        budget: seconds for the whole ladder. Time that a model does not use goes to the models after it.
        out: the ladder's folder; an unfinished ladder in that folder is resumed.
        learners: names of built-in learners, or "all"; custom learners are trained after the built-in ones. Without
            names, the learners of the default ladder are trained (`Learner.in_default_ladder`).
        arguments: of the command line, stored for `--resume`.
        used: seconds of the budget before this call, for start-up and opening the data; half of it at most counts.
    """
    started = time.monotonic()
    whole_budget, budget = budget, max(budget - used, 0.5 * budget)
    opened = open_experience(
        data,
        seed=split_seed,
        options=options_of_task(task, data),
    )
    check_splits(opened)
    selected_task = find_task(task, opened.spec)
    opened = for_task(opened, selected_task)
    candidates = ladder_candidates(selected_task.name, learners, opened.spec.modality, len(opened.spec.inputs))
    folder = Path(out) if out is not None else new_folder(f"ladder-{opened.spec.name}")
    with file_io.exclusive_lock(folder):
        spent = _open_folder(folder, opened, budget, seed, arguments)
    names = [learner.name for learner in candidates]
    earlier = _finished_ladder(folder, whole_budget, names, selected_task.name, opened)
    if earlier is not None:
        return earlier
    with file_io.exclusive_lock(folder):  # which exists now
        reasons = {learner.name: why_unsupported(learner, opened.spec) for learner in candidates}
        supported = [learner for learner in candidates if reasons[learner.name] is None]
        rungs = {name: Rung(name=name, status="refused", reason=reason or "") for name, reason in reasons.items()}
        opened, findings = with_deferred_findings(opened)  # once for all models, within the budget
        for finding in findings:
            if options.progress is not None:
                options.progress.message(f"{finding.severity}: {finding.message}")
        end = started + budget - min(spent, MAX_SPENT * budget) - reserve(budget, opened)
        training = LadderTraining(
            opened,
            folder,
            seed,
            budget,
            end,
            options,
            spent=spent,
            started=started - min(used, 0.5 * whole_budget),
            whole_budget=whole_budget,
        )
        headline = selected_task.headline(opened.spec)
        finished: list[Ladder] = []
        with _page_if_stopped(training, rungs, opened, headline, bool(arguments), finished):
            training.run(supported)
            training.current = ""
            rungs.update(training.rungs)
            best, advised, advice = select_best_run(training.trained, headline, shortened_models(rungs.values()))
            for name, run in training.trained.items():
                evaluated = Run(run.folder, resume=None, device=run.record.device)
                run.evaluate_splits(("test",), evaluated, report=False)
                rungs[name] = dataclasses.replace(rungs[name], headline=run.metrics[headline])
            result = Ladder(
                folder=folder,
                task=selected_task.name,
                headline=headline,
                rungs=with_frontier(list(rungs.values())),
                best=best,
                advised=advised,
                advice=advice,
                untried=_untried(selected_task.name, rungs, opened),
            )
            plain = {
                "rungs": result.rungs,
                "best": best,
                "advised": advised,
                "advice": advice,
                "budget": whole_budget,
            }
            stored = file_io.read_json(folder / "ladder.json")
            file_io.write_json(folder / "ladder.json", {**stored, "finished": to_plain(plain)})
            finished.append(result)
            best_sections = _best_sections(training.trained.get(best or ""))
            overrun = format_overrun(used + spent + time.monotonic() - started, whole_budget)
            result = dataclasses.replace(result, overrun=f"The ladder {overrun}." if overrun else "")
            _write_page(result, opened, best_sections, stored.get("plan", {}))
    return result


@contextlib.contextmanager
def _page_if_stopped(
    training: LadderTraining,
    rungs: Mapping[str, Rung],
    data: Experience,
    headline: str,
    has_arguments: bool,
    finished: Sequence[Ladder],
) -> Iterator[None]:
    """Write the page of what there is if a signal stops the work, and say how to go on.

    Args:
        finished: the result, from the evaluation of the test split on.
    Raises:
        Stopped: of a stopped model, or where a child process was killed or the test split evaluated.
    """
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stopped:
        if finished:
            _write_page(finished[0], data, "", training.plan.parts)
        else:
            _write_page_so_far(training, rungs, data, headline)
        cause = stopped.cause.rstrip(".") if isinstance(stopped, Stopped) else "stopped"
        folder = training.folder
        raise Stopped(
            f"{cause} ({training.current or 'after the trainings'}); results so far: {folder / 'report.html'}",
            f"Resume it: snellen ladder --resume {folder}" if has_arguments else f"Resume it with out={str(folder)!r}",
            signal=stopped.exit_code - 128 if isinstance(stopped, Stopped) else signal.SIGINT,
        ) from stopped
    finally:
        training.store_spent()


def _untried(task: str, names: Iterable[str], data: Experience) -> tuple[str, ...]:
    """The built-in learners for this kind of input that are not among these."""
    taken = set(names)
    learners = LEARNERS[task].items()
    return tuple(name for name, learner in learners if name not in taken and data.spec.modality in learner.accepts)


def _finished_ladder(folder: Path, budget: float, names: Sequence[str], task: str, data: Experience) -> Ladder | None:
    """The stored result of a ladder of these models that was finished with at least this budget, and has its page and
    its runs; None if there is none.

    Raises:
        DataError: a damaged `ladder.json`.
    """
    path = folder / "ladder.json"
    plain = file_io.read_json(path).get("finished")
    if plain is None or not (folder / "report.html").exists():
        return None
    if not isinstance(plain, dict):
        raise DataError(f"{path} is damaged: finished is no object", "Train the ladder anew in another folder.")
    rungs = read_part(tuple[Rung, ...], plain.get("rungs"), f"{path}: finished.rungs")
    is_present = all(rung.status != "done" or Path(rung.folder, "metrics.json").exists() for rung in rungs)
    is_enough = budget <= read_part(float, plain.get("budget", 0.0), f"{path}: finished.budget")
    if not is_present or not is_enough or sorted(names) != sorted(rung.name for rung in rungs):
        return None
    return Ladder(
        folder=folder,
        task=task,
        headline=find_task(task, data.spec).headline(data.spec),
        rungs=rungs,
        best=read_part(str | None, plain.get("best"), f"{path}: finished.best"),
        advised=read_part(str | None, plain.get("advised"), f"{path}: finished.advised"),
        advice=read_part(str, plain.get("advice"), f"{path}: finished.advice"),
        untried=_untried(task, [rung.name for rung in rungs], data),
    )


def shortened_models(rungs: Iterable[Rung]) -> list[str]:
    """The models that had too little time: their results do not show what they can reach."""
    return [
        rung.name
        for rung in rungs
        if rung.status == "no time"
        or (rung.status == "done" and (rung.seconds_needed is not None or "time limit" in rung.reason))
    ]


def ladder_candidates(
    task: str, learners: Sequence[str | AnyLearner], modality: str, inputs: int = 1
) -> list[AnyLearner]:
    """The learners to train, from simple to complex; of the others only those that are named may read other inputs.

    Args:
        inputs: number of inputs of a sample.
    """
    builtin = LEARNERS[task]
    names = [learner for learner in learners if isinstance(learner, str)]
    for name in names:
        if name != "all" and name not in builtin:
            raise UsageError(f"Unknown model {name!r} of {task}", suggest_name(name, list(builtin)))
    selected = [
        learner
        for name, learner in builtin.items()
        if name in names
        or (
            (learner.is_in_default_ladder(modality) if not names else "all" in names)
            and modality in learner.accepts
            and (inputs > 1 or not learner.several_inputs)
        )
    ]
    return selected + [custom for custom in learners if not isinstance(custom, str) and custom.task.name == task]


def _best_sections(best: TrainedRun | None) -> str:
    """Write the report of the best model; its sections for the page of the ladder, from the same summary."""
    if best is None:
        return ""
    summary = best.summary()
    best.report(summary)
    return best_model_sections(summary)


def _write_page(result: Ladder, data: Experience, best_sections: str, plan: Mapping[str, Any]) -> None:
    """Write `report.html` of the ladder: table and plots, sections on the best model, data."""
    page = ladder_page(
        f"Ladder on {data.spec.name}",
        result.headline,
        result.rungs,
        result.advice,
        best_sections,
        data_section(data),
        result.overrun,
        plan=plan,
        resized=modality_of(data.spec).resized,
    )
    file_io.write_text(result.folder / "report.html", page)


def _write_page_so_far(
    training: LadderTraining, unsupported: Mapping[str, Rung], data: Experience, headline: str
) -> None:
    """Write `report.html` of a stopped ladder, with results on the validation split: the test split stays unseen."""
    shortened = [training.current, *shortened_models(training.rungs.values())]
    _, _, advice = select_best_run(training.trained, headline, shortened)
    rungs = {
        **{
            name: dataclasses.replace(rung, reason=rung.reason or "not trained yet")
            for name, rung in unsupported.items()
        },
        **{name: dataclasses.replace(rung, headline=rung.validation) for name, rung in training.rungs.items()},
    }
    page = ladder_page(
        f"Stopped ladder on {data.spec.name}",
        headline,
        list(rungs.values()),
        advice,
        "",
        data_section(data),
        split="validation",
        plan=training.plan.parts,
        resized=modality_of(data.spec).resized,
    )
    file_io.write_text(training.folder / "report.html", page)


def _open_folder(folder: Path, data: Experience, budget: float, seed: int, arguments: Sequence[str]) -> float:
    """Write `ladder.json` of a new ladder, or check an existing one; return the seconds already spent."""
    file_io.reject_links(folder)
    path = folder / "ladder.json"
    check_same_data(folder, data, is_new=not path.exists())
    if not path.exists():
        plain = {"data": to_plain(data.spec), "rounding": ROUNDING, "seed": seed, "budget": budget, "spent": 0.0}
        file_io.write_json(path, {**plain, "arguments": list(arguments)})
        return 0.0
    stored_plain = file_io.read_json(path)
    if not isinstance(stored_plain, dict):
        raise DataError(f"{path} is damaged: it is no object", "Train the ladder anew in another folder.")
    plain = upgrade(stored_plain)
    check_plan(plain, path)
    rounding = read_part(Literal[1, 2], plain.get("rounding", 1), f"{path}: rounding")
    check_same_rounding(folder, data, rounding)
    stored: Spec = read_part(Spec, plain.get("data"), f"{path}: data")
    if (to_plain(as_stored(data.spec, stored)), seed) != (to_plain(stored), plain.get("seed")):
        raise UsageError(f"{folder} contains a ladder on other data or with another seed", "Give another --out.")
    return float(plain.get("spent", 0.0))
