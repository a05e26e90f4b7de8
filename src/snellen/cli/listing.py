"""`snellen list [tasks|models|data]`: tables of tasks, models and data, without importing torch."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners
from snellen.core import catalog


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("list", "List tasks, models, datasets and formats.")
    parser.add_argument(
        "kind",
        nargs="?",
        choices=["tasks", "models", "data"],
        default=None,
        help="Table to print (default: all)",
    )
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print JSON lines")
    args = parser.parse_args(list(arguments))
    tables = {"tasks": _tasks, "models": _models, "data": _data}
    for index, kind in enumerate([args.kind] if args.kind else list(tables)):
        columns, rows = tables[kind](custom)
        if "json" in args:
            for row in rows:
                terminal.print_json({"list": kind, **dict(zip(columns, row, strict=True))})
            continue
        print(("\n" if index else "") + terminal.table(columns, rows, args.format))
    return 0


TableData = tuple[list[str], list[list[str]]]


def _tasks(custom: CustomLearners) -> TableData:
    return ["task", "question"], [[task.name, task.question] for task in catalog.tasks().values()]


def _models(custom: CustomLearners) -> TableData:
    rows = [
        [entry.name, entry.task, ", ".join(entry.accepts), entry.summary]
        for task in catalog.tasks().values()
        for entry in task.learners
    ]
    rows += [
        [learner.name, learner.task.name, ", ".join(sorted(learner.accepts)), learner.summary] for learner in custom
    ]
    return ["model", "task", "reads", "summary"], rows


def _data(custom: CustomLearners) -> TableData:
    from snellen.data.names import BUILTIN_NAMES, FORMATS, NAMED

    rows = [[name, "built in", ""] for name in BUILTIN_NAMES]
    rows += [
        [name, "public dataset", f"$SNELLEN_DATA/{location[0]}; snellen get {name}"] for name, location in NAMED.items()
    ]
    rows += [[name, "format", summary] for name, summary in FORMATS.items()]
    return ["name", "kind", "what"], rows
