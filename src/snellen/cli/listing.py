"""`snellen list [tasks|models|data]`: what there is, read from the source, so it answers at once."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own
from snellen.core import catalog


def run(words: Sequence[str], own: Own) -> int:
    made = parser("list", "Tasks, models and data there are.")
    made.add_argument("what", nargs="?", choices=["tasks", "models", "data"], default=None, help="default: all three")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the tables (default text)")
    made.add_argument("--json", action="store_true", help="print JSON lines")
    given = made.parse_args(list(words))
    tables = {"tasks": _tasks, "models": _models, "data": _data}
    for place, what in enumerate([given.what] if given.what else list(tables)):
        columns, rows = tables[what](own)
        if "json" in given:
            for row in rows:
                terminal.line({"list": what, **dict(zip(columns, row, strict=True))})
            continue
        print(("\n" if place else "") + terminal.table(columns, rows, given.format))
    return 0


Listed = tuple[list[str], list[list[str]]]


def _tasks(own: Own) -> Listed:
    return ["task", "question"], [[task.name, task.question] for task in catalog.tasks().values()]


def _models(own: Own) -> Listed:
    rows = [
        [entry.name, entry.task, ", ".join(entry.accepts), entry.summary]
        for task in catalog.tasks().values()
        for entry in task.learners
    ]
    rows += [[one.name, one.task.name, ", ".join(sorted(one.accepts)), one.summary] for one in own]
    return ["model", "task", "reads", "summary"], rows


def _data(own: Own) -> Listed:
    from snellen.data.names import BUILTIN_NAMES, FORMATS, NAMED

    rows = [[name, "built in", ""] for name in BUILTIN_NAMES]
    rows += [[name, "public set", f"$SNELLEN_DATA/{place[0]}; snellen get {name}"] for name, place in NAMED.items()]
    rows += [[name, "format", summary] for name, summary in FORMATS.items()]
    return ["name", "kind", "what"], rows
