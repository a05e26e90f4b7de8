"""`snellen train DATA`: one model, from data to a report."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import (
    Own,
    add_data,
    add_machine,
    all_settings,
    open_data,
    parse_settings,
    run_options,
    settings_help,
    shown,
    take_settings,
    whole,
)
from snellen.core import catalog
from snellen.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from snellen.core.spec import Preprocessing, Spec
    from snellen.model_selection.cross_validation import Folds


def run(words: Sequence[str], own: Own) -> int:
    made = parser("train", "Train one model on DATA, judge it on the test split, and write its report.")
    made.add_argument("data", nargs="?", metavar="DATA", help="a folder, a file, or a name (see snellen list data)")
    made.add_argument("--model", metavar="NAME", help="the learner (default: what suits the data; snellen list models)")
    made.add_argument("--task", metavar="NAME", help="the task (default: what the data asks)")
    made.add_argument("--out", metavar="FOLDER", help="the run's folder (default: a new one under runs/)")
    made.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped or killed")
    made.add_argument("--folds", type=whole(2), metavar="K", help="train K times, each time tested on another part")
    made.add_argument("--skip-test", action="store_true", help="judge on validation only, for now")
    made.add_argument("--explain", action="store_true", help="show every setting and where it comes from, then train")
    made.add_argument("--json", action="store_true", help="print the result as one JSON line")
    add_data(made)
    add_machine(made)
    known = all_settings(own)
    typed, rest = take_settings(words, known)
    if "-h" in rest or "--help" in rest:
        return _help(made, rest, own)
    given, unknown = made.parse_known_args(rest)
    if unknown:
        flags = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
        raise UsageError(
            f"snellen train does not know {unknown[0]}",
            nearest(unknown[0], [*flags, *(setting.flag for setting in known.values())]),
        )

    from snellen import api
    from snellen.core.record import read_record
    from snellen.core.settings import flat, resolve

    progress = terminal.ProgressBar(quiet="json" in given)
    where = run_options(given, progress=progress, evaluate_test="skip_test" not in given)
    ours = {learner.name: learner for learner in own}
    try:
        if "resume" in given:
            if typed or "data" in given or "model" in given or "folds" in given:
                raise UsageError("--resume goes on with the settings of the run", "Give --resume RUN alone.")
            trained = api.resume(given.resume, learner=ours.get(read_record(Path(given.resume)).learner), options=where)
        else:
            if "data" not in given:
                raise UsageError("snellen train needs data", "snellen train DATA; see snellen list data.")
            data = open_data(given)
            progress.say(f"{given.data}: {data.recognised_as}")
            for finding in data.findings:
                progress.say(f"{finding.severity}: {finding.message} {finding.remedy}".rstrip())
            task = api.find_task(vars(given).get("task"), data.spec)
            name = vars(given).get("model")
            learner = ours[name] if name in ours else api.find_learner(name, task, data.spec)
            values = parse_settings(typed, learner, known)
            progress.say(f"{task.name}: {task.question} {learner.name}: {learner.summary}")
            if "explain" in given:
                chosen, sources = resolve(learner.settings, values, learner.suggest(data.spec))
                rows = [[s.flag, shown(s.default), sources[s.name], s.help] for s in flat(learner.settings, chosen)]
                rows += _pictures(data.spec, learner.preprocessing_of(chosen, data.spec))
                terminal.say(terminal.table(["setting", "value", "because", "meaning"], rows))
            if "folds" in given:
                from snellen.model_selection.cross_validation import cross_validate

                crossed = cross_validate(
                    data,
                    learner,
                    given.folds,
                    out=vars(given).get("out"),
                    settings=values,
                    options=where,
                    command=api.command_line(),
                )
                progress.end()
                show_folds(crossed, as_json="json" in given)
                return 0
            trained = api.train(
                data,
                learner,
                task=task.name,
                seed=vars(given).get("seed", 0),
                out=vars(given).get("out"),
                options=where,
                command=api.command_line(),
                **values,
            )
    finally:
        progress.end()
    show(trained, as_json="json" in given)
    return 0


def _pictures(spec: Spec, preprocessing: Preprocessing) -> list[list[str]]:
    """The row that says at which size pictures are read, whatever decides it."""
    from snellen.data.image_size import why_size

    if spec.modality != "image":
        return []
    size = "any" if preprocessing.size is None else f"{preprocessing.size[1]}x{preprocessing.size[0]}"
    return [["pictures", size, why_size(spec, preprocessing), "Width and height at which pictures are read."]]


def show(trained: object, *, as_json: bool) -> None:
    """The headline, the metrics and the way to the report."""
    from snellen.api import TrainedRun
    from snellen.core.serialization import to_plain

    assert isinstance(trained, TrainedRun)
    metrics = trained.metrics
    if as_json:
        terminal.line(
            {
                "run": str(trained.folder),
                "learner": trained.record.learner,
                "headline": trained.headline,
                "metrics": {name: to_plain(metric) for name, metric in metrics.items()},
            }
        )
        return
    order = [trained.headline, *(name for name in metrics if name != trained.headline)]
    print(terminal.table(["metric", "test, ± 95 % over samples"], [[name, str(metrics[name])] for name in order]))
    report = trained.folder / "report.html"
    print(f"\nrun:    {trained.folder}")
    if report.exists():
        print(f"report: {report}")


def show_folds(crossed: Folds, *, as_json: bool) -> None:
    """The headline of every fold, their mean and its interval."""
    from snellen.core.serialization import to_plain

    if as_json:
        terminal.line(
            {
                "folder": str(crossed.folder),
                "learner": crossed.learner,
                "headline": crossed.headline,
                "folds": to_plain(crossed.each),
                "mean": to_plain(crossed.mean),
            }
        )
        return
    rows = [[f"fold-{number}", str(metric)] for number, metric in enumerate(crossed.each, 1)]
    print(terminal.table(["fold", f"{crossed.headline} (test), ± 95 % over samples"], rows))
    print(f"\nmean: {crossed.mean}, ± 95 % over {len(rows)} folds\n\nruns: {crossed.folder}")


def _help(made: argparse.ArgumentParser, rest: Sequence[str], own: Own) -> int:
    print(made.format_help())
    model = next((b for a, b in itertools.pairwise(rest) if a == "--model"), None)
    if model is None:
        print("Settings depend on the model: snellen train --model NAME --help lists them.")
        return 0
    from snellen.core.settings import flat

    mine = {learner.name: tuple(flat(learner.settings)) for learner in own}
    found = {task: tuple(settings.values()) for task, settings in catalog.settings_of(model).items()}
    if model in mine:
        found["your own"] = mine[model]
    if not found:
        names = [entry.name for task in catalog.tasks().values() for entry in task.learners] + list(mine)
        raise UsageError(f"No learner is called {model!r}", nearest(model, names))
    for task, settings in found.items():
        print(f"settings of {model} ({task}):\n{settings_help(settings) or '  none'}\n")
    return 0
