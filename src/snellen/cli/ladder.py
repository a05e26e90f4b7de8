"""`snellen DATA` and `snellen ladder DATA`: check, climb, write the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import STARTED, parser
from snellen.cli.options import Own, add_data, add_machine, open_data, run_options
from snellen.core.errors import UsageError

if TYPE_CHECKING:
    from snellen.model_selection.ladder import Ladder


def run(words: Sequence[str], own: Own) -> int:
    made = parser("ladder", "Train every model that fits DATA within a time budget, smallest first, and compare them.")
    made.add_argument("data", metavar="DATA", help="a folder, a file, or a name (see snellen list data)")
    made.add_argument("--budget", metavar="TIME", help="for everything: 90s, 10m, 1h (default 10m)")
    made.add_argument("--models", metavar="NAME[,NAME]|all", help="who climbs (default: one of each family)")
    made.add_argument("--task", metavar="NAME", help="the task (default: what the data asks)")
    made.add_argument("--out", metavar="FOLDER", help="the ladder's folder; an unfinished climb there is gone on with")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the table (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON line a model")
    add_data(made)
    add_machine(made)
    given = made.parse_args(list(words))
    try:
        budget = terminal.seconds(vars(given).get("budget", "10m"))
    except ValueError:
        raise UsageError(f"--budget cannot be {given.budget!r}", "Give a time such as 90s, 10m or 1h30m.") from None

    from snellen.core.serialization import to_plain
    from snellen.model_selection.ladder import ladder

    progress = terminal.ProgressBar(quiet="json" in given)
    try:
        data = open_data(given)
        progress.say(f"{given.data}: {data.recognised_as}")
        for finding in data.findings:
            progress.say(f"{finding.severity}: {finding.message} {finding.remedy}".rstrip())
        asked = [name for name in vars(given).get("models", "").split(",") if name]
        left = max(budget - (time.monotonic() - STARTED), 0.5 * budget)  # starting and reading count too
        climbed = ladder(
            data,
            budget=left,
            task=vars(given).get("task"),
            seed=vars(given).get("seed", 0),
            out=vars(given).get("out"),
            learners=[*asked, *own],
            options=run_options(given, progress=progress),
        )
    finally:
        progress.end()
    if "json" in given:
        for rung in climbed.rungs:
            terminal.line(to_plain(rung))
    else:
        print(shown(climbed, given.format))
        terminal.tell(f"\n{climbed.advice}")
        if climbed.untried:
            terminal.tell(f"Not tried: {', '.join(climbed.untried)} (--models all).")
        page = climbed.folder / "report.html"
        if page.exists():
            terminal.tell(f"\npage: {page}")
    return 0


def shown(climbed: Ladder, form: str) -> str:
    """The table: figures, cost, and why a model has none."""
    rows = []
    for rung in climbed.rungs:
        rows.append(
            [
                ("* " if rung.on_frontier else "  ") + rung.name,
                "" if rung.headline is None else str(rung.headline),
                _said(rung.parameters, terminal.amount),
                _said(rung.multiply_adds, terminal.amount),
                _said(rung.seconds_learning, terminal.duration),
                _said(rung.milliseconds_a_prediction, lambda value: terminal.duration(value / 1000)),
                rung.reason if rung.status in ("done", "no time") else f"{rung.status}: {rung.reason}",
            ]
        )
    columns = ["  model", f"{climbed.headline} (test)", "weights", "mult-adds", "learned in", "a prediction", ""]
    return terminal.table(columns, rows, form)


def _said(value: float | None, words: Callable[[float], str]) -> str:
    return "" if value is None else words(value)
