"""`snellen DATA` and `snellen ladder DATA`: check the data, train the ladder of models, write the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import START_TIME, make_parser
from snellen.cli.options import CustomLearners, add_compute_options, add_data_options, open_data, run_options
from snellen.core.errors import UsageError

if TYPE_CHECKING:
    from snellen.model_selection.ladder import Ladder


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "ladder", "Train models from simple to complex within a time budget, and compare them on the test split."
    )
    parser.add_argument("data", metavar="DATA", help="Folder, file, or name of a dataset (see snellen list data)")
    parser.add_argument("--budget", metavar="TIME", help="Time budget for all models, e.g. 90s, 10m, 1h (default 10m)")
    parser.add_argument(
        "--models",
        metavar="NAME[,NAME]|all",
        help="Models to train (default: a selection; the models left out are printed)",
    )
    parser.add_argument(
        "--task", metavar="NAME", help="Task (default: inferred from the targets; see snellen list tasks)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="Output folder; an unfinished ladder in it is resumed (default: new under runs/)",
    )
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON line per model")
    add_data_options(parser)
    add_compute_options(parser)
    args = parser.parse_args(list(arguments))
    try:
        budget = terminal.parse_duration(vars(args).get("budget", "10m"))
    except ValueError:
        raise UsageError(f"--budget cannot be {args.budget!r}", "Give a time such as 90s, 10m or 1h30m.") from None

    from snellen.core.serialization import to_plain
    from snellen.model_selection.ladder import ladder

    progress = terminal.ProgressBar(quiet="json" in args)
    try:
        data = open_data(args)
        progress.message(f"{args.data}: {data.recognised_as}")
        for finding in data.findings:
            progress.message(f"{finding.severity}: {finding.text}")
        names = [name for name in vars(args).get("models", "").split(",") if name]
        result = ladder(
            data,
            budget=budget,
            task=vars(args).get("task"),
            seed=vars(args).get("seed", 0),
            out=vars(args).get("out"),
            learners=[*names, *custom],
            options=run_options(args, progress=progress),
            used=time.monotonic() - START_TIME,
        )
    finally:
        progress.end()
    if "json" in args:
        for rung in result.rungs:
            terminal.print_json(to_plain(rung))
    else:
        print(ladder_table(result, args.format))
        terminal.print_text(f"\n* marks the Pareto frontier of multiply-adds and validation result.\n\n{result.advice}")
        if result.overrun:
            terminal.print_text(result.overrun)
        if result.untried:
            terminal.print_text(f"Not trained (--models all trains them): {', '.join(result.untried)}.")
        page = result.folder / "report.html"
        if page.exists():
            terminal.print_text(f"\nreport: {page}")
    return 0


def ladder_table(result: Ladder, table_format: str) -> str:
    """Table of the models: metric, cost, and the reason if a model was not trained."""
    rows = []
    for rung in result.rungs:
        rows.append(
            [
                ("* " if rung.on_frontier else "  ") + rung.name,
                "" if rung.headline is None else str(rung.headline),
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


def _format_optional(value: float | None, formatter: Callable[[float], str]) -> str:
    return "" if value is None else formatter(value)
