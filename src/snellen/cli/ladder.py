"""`snellen DATA` and `snellen ladder DATA`: check the data, train the ladder of models, write the report."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import START_TIME, make_parser
from snellen.cli.options import (
    CustomLearners,
    add_compute_options,
    add_data_options,
    add_task_option,
    check_names,
    format_value,
    open_data,
    run_options,
)
from snellen.core.errors import SnellenError, TooLittleTime, UsageError

if TYPE_CHECKING:
    from snellen.model_selection.ladder import Ladder
    from snellen.model_selection.ladder_preview import LadderPlan


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "ladder", "Train models from simple to complex within a time budget, and compare them on the test split."
    )
    arguments = _with_stored_arguments(list(arguments))
    parser.add_argument("data", metavar="DATA", help="Folder, file, or name of a dataset (see snellen list data)")
    parser.add_argument("--resume", metavar="FOLDER", help="Resume a stopped ladder with its DATA and options")
    parser.add_argument("--budget", metavar="TIME", help="Time budget for all models, e.g. 90s, 10m, 1h (default 10m)")
    parser.add_argument(
        "--models",
        metavar="NAME[,NAME]|all",
        help="Models to train (default: a selection; the models left out are printed)",
    )
    add_task_option(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="Output folder; an unfinished ladder in it is resumed (default: new under runs/)",
    )
    parser.add_argument(
        "--plan", action="store_true", help="Measure the models, print what the time budget allows, and stop"
    )
    parser.add_argument(
        "--explain", action="store_true", help="With --plan: print the settings that the data or the time suggest, why"
    )
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON line per model")
    add_data_options(parser)
    add_compute_options(parser)
    args = parser.parse_args(list(arguments))
    try:
        budget = terminal.parse_duration(vars(args).get("budget", "10m"))
        if budget <= 0:
            raise ValueError
    except ValueError:
        raise UsageError(f"--budget cannot be {args.budget!r}", "Give a time such as 90s, 10m or 1h30m.") from None

    if "explain" in args and "plan" not in args:
        raise UsageError("--explain needs --plan", "Add --plan; the settings of a trained model are in its report.")
    if "plan" in args and "out" in args:
        raise UsageError("--plan writes no folder", "Omit --out, and --resume.")
    names = [name for name in vars(args).get("models", "").split(",") if name]
    if "models" in args and not names:
        raise UsageError(
            f"--models {args.models!r} names no model", "Give names, such as --models lenet,convnet, or all."
        )
    check_names(vars(args).get("task"), [name for name in names if name != "all"], custom)

    from snellen.api import find_task
    from snellen.core.serialization import to_plain
    from snellen.model_selection.ladder import ladder, ladder_candidates
    from snellen.model_selection.ladder_preview import plan_ladder

    progress = terminal.ProgressBar(quiet="json" in args)
    try:
        data = open_data(args)
        progress.message(f"{args.data}: {data.recognised_as}")
        for finding in data.findings:
            progress.message(f"{finding.severity}: {finding.text}")
        used = time.monotonic() - START_TIME  # start-up and data loading count
        if "plan" in args:
            task = find_task(vars(args).get("task"), data.spec).name
            candidates = ladder_candidates(task, [*names, *custom], data.spec.modality, len(data.spec.inputs))
            planned = plan_ladder(
                data,
                candidates,
                budget=max(budget - used, 0.5 * budget),
                seed=vars(args).get("seed", 0),
                options=run_options(args),
            )
            progress.end()
            _print_plan(planned, budget, args)
            return 0
        result = ladder(
            data,
            budget=budget,
            task=vars(args).get("task"),
            seed=vars(args).get("seed", 0),
            out=vars(args).get("out"),
            learners=[*names, *custom],
            options=run_options(args, progress=progress),
            arguments=_portable(arguments, args.data),
            used=used,
        )
    finally:
        progress.end()
    if "json" in args:
        for rung in result.rungs:
            terminal.print_json(to_plain(rung))
    else:
        print(ladder_table(result, args.format))
        terminal.print_interval_note(rung.headline for rung in result.rungs if rung.headline is not None)
        terminal.print_text(f"\n* marks the Pareto frontier of multiply-adds and validation result.\n\n{result.advice}")
        longer = _longer_budget(result)
        if longer:
            folder = shlex.quote(str(result.folder))
            terminal.print_text(f"go on: snellen ladder --resume {folder} --budget {longer}")
        if result.overrun:
            terminal.print_text(result.overrun)
        if result.untried:
            terminal.print_text(f"Not trained (--models all trains them): {', '.join(result.untried)}.")
        advised = next((rung for rung in result.rungs if rung.name == result.advised), None)
        if advised is not None and advised.name != "baseline":
            terminal.print_text(f"\nuse {advised.name}: snellen predict {shlex.quote(advised.folder)} FILE...")
        page = result.folder / "report.html"
        if page.exists():
            terminal.print_text(f"report: {page}")
    if not any(rung.status == "done" for rung in result.rungs):
        raise _nothing_measured(result, budget)
    return 0


def _nothing_measured(result: Ladder, budget: float) -> SnellenError:
    """The error of a ladder without a trained model."""
    if all(rung.status != "no time" for rung in result.rungs):
        return SnellenError(f"No model of the ladder in {result.folder} was trained", "The table has the reasons.")
    longer = f"snellen ladder --resume {shlex.quote(str(result.folder))} --budget"
    return TooLittleTime(
        f"The time budget of {terminal.format_duration(budget)} was spent before the first model was trained",
        f"Give more time: {longer} {max(10, math.ceil(budget / 30))}m",
    )


def _with_stored_arguments(arguments: list[str]) -> list[str]:
    """Replace `--resume FOLDER` by the arguments with which the ladder in FOLDER was begun; typed ones override them.

    Raises:
        UsageError: if there is no such ladder, or it was begun from Python.
    """
    joined = next((word for word in arguments if word.startswith("--resume=")), None)
    if joined is not None:  # as two words
        place = arguments.index(joined)
        arguments[place : place + 1] = ["--resume", joined.partition("=")[2]]
    if "--resume" not in arguments or "-h" in arguments or "--help" in arguments:
        return arguments
    place = arguments.index("--resume")
    if place + 1 == len(arguments):
        raise UsageError("--resume needs a folder", "Give the folder of the ladder: --resume FOLDER.")
    folder = arguments[place + 1]
    path = Path(folder, "ladder.json")
    if not path.is_file():
        raise UsageError(f"{folder} contains no ladder: {path} does not exist", "Give the folder of a ladder.")

    from snellen.core import file_io

    plain = file_io.read_json(path)
    stored: object = plain.get("arguments") if isinstance(plain, dict) else None
    if (
        not isinstance(stored, list)
        or not stored
        or not all(isinstance(word, str) for word in stored)
        or {"-h", "--help"} & set(stored)
    ):
        raise UsageError(
            f"{path} does not hold the arguments of its ladder", f"Give them again, with --out {shlex.quote(folder)}."
        )
    typed = arguments[:place] + arguments[place + 2 :]
    if other := next((flag for word in typed if (flag := word.partition("=")[0]) in ("--out", "--resume")), None):
        raise UsageError(
            f"{other} has no effect on --resume {folder}: the ladder is continued in that folder", f"Leave out {other}."
        )
    if typed and not typed[0].startswith("-"):
        stored = stored[1:]  # the data is typed again
        typed, rest = typed[:1], typed[1:]
        return [*typed, *stored, *rest, "--out", folder]
    if os.path.isabs(stored[0]) and not os.path.exists(stored[0]):
        raise UsageError(
            f"{stored[0]}, the data of {folder}, does not exist",
            f"If it was moved: snellen ladder NEW_PATH --resume {shlex.quote(folder)}",
        )
    return [*stored, *typed, "--out", folder]


def _portable(arguments: Sequence[str], data: str) -> list[str]:
    """Arguments that resume the ladder from any folder: the data first, with its full path; without --out."""
    words = [word for word in arguments if word != "--"]
    words.remove(data)
    while "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    return [os.path.abspath(data) if os.path.exists(data) else data, *words]


def _longer_budget(result: Ladder) -> str:
    """The smallest budget that completes another model, as the reasons of the models name it; "" without one."""
    budgets = [int(match[1]) for rung in result.rungs if (match := re.search(r"--budget (\d+)m$", rung.reason))]
    return f"{min(budgets)}m" if budgets else ""


def ladder_table(result: Ladder, table_format: str) -> str:
    """Table of the models: metric, cost, and the reason if a model was not trained."""
    rows = []
    for rung in result.rungs:
        rows.append(
            [
                ("* " if rung.on_frontier else "  ") + rung.name,
                "" if rung.headline is None else rung.headline.cell,
                _format_optional(rung.parameters, terminal.format_count),
                _format_optional(rung.multiply_adds, terminal.format_count),
                _format_optional(rung.seconds_learning, terminal.format_duration),
                _format_optional(rung.milliseconds_a_prediction, lambda value: terminal.format_duration(value / 1000)),
                rung.reason
                if rung.status in ("done", "no time")
                else f"{'skipped' if rung.status == 'refused' else rung.status}: {rung.reason}",
            ]
        )
    columns = ["  model", f"{result.headline} (test)", "parameters", "multiply-adds", "training time", "latency", ""]
    return terminal.table(columns, rows, table_format)


def _print_plan(planned: LadderPlan, budget: float, args: argparse.Namespace) -> None:
    """Print the plan: a table, or one JSON line per model."""
    if "json" in args:
        from snellen.core.serialization import to_plain

        for model in planned.models:
            terminal.print_json(to_plain(model))
        return
    rows = []
    for model in planned.models:
        time = terminal.format_duration(model.seconds)
        training = {
            "complete": f"complete, {time}" if model.needed is not None else f"tried for at most {time}",
            "pilot": f"pilot, {time}; then a final training if it is among the best",
            "none": f"not begun: {model.reason}",
        }[model.training]
        if model.training == "none" and model.needed is not None:
            training += f"; --budget {math.ceil((budget + model.needed) / 60)}m"
        size = f"{model.image_size} px" if model.image_size else ""
        rows.append([model.name, _format_optional(model.needed, terminal.format_duration), size, training])
    print(terminal.table(["model", "complete training", "input size", "plan"], rows, vars(args)["format"]))
    if "explain" in args:
        settings = [
            [model.name, flag, format_value(value), reason]
            for model in planned.models
            for flag, (value, reason) in model.suggested.items()
        ]
        if settings:
            print("\n" + terminal.table(["model", "setting", "value", "origin"], settings, vars(args)["format"]))
        else:
            terminal.print_text("\nNeither the data nor the time suggests other settings than the defaults.")
    terminal.print_text(
        f"\nTime for the final trainings: {terminal.format_duration(planned.seconds_final)} of the budget of "
        f"{terminal.format_duration(budget)}. Times are measured on this machine, by a few steps of each training."
    )


def _format_optional(value: float | None, formatter: Callable[[float], str]) -> str:
    return "" if value is None else formatter(value)
