"""`snellen study DATA --vary KEY=A,B`: grid or random search over settings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from snellen.cli import terminal
from snellen.cli.main import START_TIME, make_parser, unrecognised
from snellen.cli.options import (
    CustomLearners,
    add_compute_options,
    add_data_options,
    add_task_option,
    all_settings,
    check_data_exists,
    check_names,
    current_name,
    int_at_least,
    open_data,
    run_options,
    split_settings,
)
from snellen.core import legacy_names
from snellen.core.errors import SnellenError, TooLittleTime, UsageError

if TYPE_CHECKING:
    from snellen.model_selection.study_results import Study


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "study",
        "Train every cell (combination of values) of a grid, or search ranges, with the same seeds and splits for "
        "each: means with confidence intervals, importance of each setting, and the best cell on validation. "
        "Any other setting of the model can be fixed: --epochs 3.",
    )
    parser.add_argument("data", metavar="DATA", help="Folder, file, or name of a dataset (see snellen list data)")
    parser.add_argument(
        "--vary",
        action="append",
        metavar="KEY=A,B|LOW..HIGH",
        help="Setting and its values (grid) or range (search); repeatable; model=A,B varies the model; "
        "+ joins the numbers of one value: hidden=60,60+60 compares 60 with 60,60",
    )
    parser.add_argument("--model", metavar="NAME", help="Model (default: chosen by the data; see snellen list models)")
    parser.add_argument(
        "--seeds", type=int_at_least(1), metavar="N", help="Number of random seeds per cell: seeds 0 to N-1 (default 5)"
    )
    parser.add_argument(
        "--folds",
        type=int_at_least(2),
        metavar="K",
        help="Number of cross-validation folds, at least 2, in place of --seeds",
    )
    parser.add_argument(
        "--trials", type=int_at_least(1), metavar="N", help="Number of cells of a search, at least 1 (default 20)"
    )
    add_task_option(parser)
    parser.add_argument(
        "--budget", metavar="TIME", help="Time budget for all training runs, e.g. 90s, 10m, 1h (default: none)"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="Output folder; an unfinished study in it is resumed (default: new under runs/)"
    )
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON line per training run and per cell")
    add_data_options(parser)
    add_compute_options(parser, seed=False)
    known = all_settings(custom)
    typed, other_arguments = split_settings(arguments, known)
    args, unknown = parser.parse_known_args(other_arguments)
    if unknown:
        raise unrecognised(parser, "study", unknown[0], [setting.flag for setting in known.values()])
    check_data_exists(args)
    if "seeds" in args and "folds" in args:
        raise UsageError("--folds and --seeds exclude each other", "Give one of them.")
    check_names(vars(args).get("task"), [], custom)
    vary = parse_axes(vars(args).get("vary", []), typed, vars(args).get("model"), custom)
    try:
        budget = terminal.parse_duration(args.budget) if "budget" in args else None
    except ValueError:
        raise UsageError(f"--budget cannot be {args.budget!r}", "Give a time such as 90s, 10m or 1h30m.") from None

    from snellen.model_selection.study import study

    progress = terminal.ProgressBar(quiet="json" in args)
    try:
        data = open_data(args)
        progress.message(f"{args.data}: {data.recognised_as}")
        for finding in data.findings:
            progress.message(f"{finding.severity}: {finding.text}")
        if budget is not None:
            budget = max(budget - (time.monotonic() - START_TIME), 0.5 * budget)  # start-up and data loading count
        result = study(
            data,
            vary,
            seeds=vars(args).get("seeds", 5),
            folds=vars(args).get("folds"),
            trials=vars(args).get("trials", 20),
            task=vars(args).get("task"),
            out=vars(args).get("out"),
            options=run_options(args, progress=progress, seconds=budget),
        )
    finally:
        progress.end()
    _print(result, args)
    if not any(row.done for row in result.rows):
        raise _nothing_measured(result)
    return 0


def _print(result: Study, args: argparse.Namespace) -> None:
    """Print the rows as JSON lines, as a table of a format, or as tables with the verdict."""
    from snellen.core.serialization import to_plain
    from snellen.model_selection.study_results import caption, format_tables, importance_table, mean_table

    if "json" in args:
        for row in result.rows:
            values = to_plain(row.cell.values)
            for training in row.trainings:
                terminal.print_json({"values": values, **to_plain(training)})
            terminal.print_json(
                {
                    "values": values,
                    "cell": row.cell.number,
                    "chosen": row.cell.number == result.chosen,
                    "validation": to_plain(row.validation),
                    "test": to_plain(row.test),
                }
            )
        return
    if args.format != "text":
        terminal.print_text(format_tables(result, args.format))
        return
    terminal.print_text(terminal.table(*mean_table(result)))
    if result.importance:
        terminal.print_text("\n" + terminal.table(*importance_table(result)))
    terminal.print_text(
        f"\n{result.verdict}\n\n{caption(result)}\n\n"
        f"study:  {result.folder} (all training runs: study.csv, study.md, study.tex)\n"
        f"report: {result.folder / 'report.html'}"
    )


def _nothing_measured(result: Study) -> SnellenError:
    """The error of a study without a finished training run."""
    trainings = [training for row in result.rows for training in row.trainings]
    failed = next((training for training in trainings if training.status == "failed"), None)
    if failed is not None:
        return SnellenError(f"No training run succeeded: {failed.reason}", f"See {result.folder / 'report.html'}.")
    return TooLittleTime(
        f"The time budget was spent before the first training run had finished: {result.folder} has no result",
        "Train again in a new folder, with a longer --budget or without it.",
    )


def parse_axes(axes: Sequence[str], typed: dict[str, str], model: str | None, custom: CustomLearners) -> dict[str, Any]:
    """The `vary` argument of `snellen.study` from --vary, --model and fixed settings."""
    custom_by_name = {learner.name: learner for learner in custom}
    vary: dict[str, Any] = {}
    for axis in axes:
        name, equals, text = axis.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--vary cannot be {axis!r}", "Give for example --vary lr=0.001,0.01")
        name = _present_name(name, custom)
        if name in vary:
            raise UsageError(f"--vary {name} is given twice", "List its values: --vary NAME=A,B.")
        vary[name] = text
    for former, text in typed.items():
        name = _present_name(former, custom)
        if name in vary:
            raise UsageError(f"{name} is both varied and fixed, or fixed twice", f"Omit --vary {name}=... or --{name}.")
        vary[name] = text.replace(",", "+")  # one value, also of several numbers
    if model is not None and "model" in vary:
        raise UsageError("The model is both varied and fixed", "Omit --model or --vary model=...")
    names = vary.get("model", model)
    if names is not None:
        vary["model"] = [custom_by_name.get(name, name) for name in names.split(",") if name]
    return vary


def _present_name(name: str, custom: CustomLearners) -> str:
    """The present name of a setting, with a message; a name that depends on the learner is resolved with it."""
    if len(legacy_names.SETTINGS.get(name, ())) > 1:
        return name
    return current_name(name, all_settings(custom))
