"""`snellen reproduce [NAME ...]`: published tables, what was printed beside what is measured here."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, whole
from snellen.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from snellen.reproduce.result import Result
    from snellen.reproduce.table import How, Table


def run(words: Sequence[str], own: Own) -> int:
    made = parser(
        "reproduce",
        "Measure published tables: what was printed stands beside what is measured here, with "
        "seeds, interval, deviations and a verdict. Without NAME: which there are, and what they gave.",
    )
    made.add_argument("names", nargs="*", default=[], metavar="NAME", help="tables")
    made.add_argument("--stored", action="store_true", help="run nothing: show the result that is kept")
    made.add_argument("--seeds", type=whole(1), metavar="N", help="how many are taken (default: the table's own)")
    made.add_argument("--quick", action="store_true", help="smaller, faster: figures that are scaled down say so")
    made.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, mps (default auto)")
    made.add_argument("--out", metavar="FOLDER", help="keep what was measured there, as NAME.json")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the table (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON line a row")
    given = made.parse_args(list(words))

    from snellen.reproduce import TABLES
    from snellen.reproduce.result import settled, stored
    from snellen.reproduce.table import How

    unknown = [name for name in given.names if name not in TABLES]
    if unknown:
        raise UsageError(f"No published table is called {unknown[0]!r}", nearest(unknown[0], list(TABLES)))
    asked = vars(given)
    if not given.names and "stored" not in asked:
        _list(list(TABLES.values()), given.format, "json" in given)
        return 0
    progress = terminal.ProgressBar(quiet="json" in given)
    how = How(
        seeds=asked.get("seeds", 0), quick="quick" in asked, device=asked.get("device", "auto"), progress=progress
    )
    command = shlex.join(["snellen", "reproduce", *words])
    for name in given.names or TABLES:
        table = TABLES[name]
        try:
            result = (
                stored(table)
                if "stored" in asked
                else _measured(table, settled(table, how), command, progress, asked.get("out"))
            )
        finally:
            progress.end()
        _show(table, result, given.format, "json" in given)
    return 0


def _measured(table: Table, how: How, command: str, progress: terminal.ProgressBar, out: str | None) -> Result:
    """Runs a table; each row is kept as soon as it is measured."""
    from snellen.reproduce.result import run as run_table
    from snellen.reproduce.result import store

    progress.say(
        f"{table.name}: {how.seeds} seed{'s' * (how.seeds > 1)} on {how.device}, "
        f"about {terminal.duration(table.seconds(how))}"
    )
    folder = None if out is None else Path(out)

    def keep(result: Result) -> None:
        if folder is not None:
            store(result, folder)

    result = run_table(table, how, command, keep)
    if folder is not None:
        progress.say(f"kept: {folder / table.name}.json")
    return result


def _show(table: Table, result: Result | None, form: str, as_json: bool) -> None:
    from snellen.reproduce.result import COLUMNS, compared, story

    if as_json:
        _lines(table, result)
        return
    if form == "text":
        terminal.tell("\n".join([table.title, *story(table, result), ""]))
    rows = compared(table, result)
    wanted = [k for k, name in enumerate(COLUMNS) if name == "row" or any(row[k] for row in rows)]
    print(terminal.table([COLUMNS[k] for k in wanted], [[row[k] for k in wanted] for row in rows], form))


def _lines(table: Table, result: Result | None) -> None:
    from snellen.core.serialization import to_plain
    from snellen.reproduce.result import verdicts

    head = {} if result is None else {k: v for k, v in to_plain(result).items() if k not in ("is", "table", "rows")}
    said = verdicts(table, result)
    for row in table.rows:
        measured = None if result is None or row.name not in result.rows else to_plain(result.rows[row.name])
        printed = {"text": row.published.text, "source": row.published.source}
        terminal.line(
            {
                "table": table.name,
                "row": row.name,
                "unit": table.unit,
                "published": printed,
                "measured": measured,
                "verdict": said[row.name],
                **head,
            }
        )


def _list(tables: list[Table], form: str, as_json: bool) -> None:
    from snellen.reproduce.result import stored, verdicts

    rows = []
    for table in tables:
        result = stored(table)
        said = Counter(verdicts(table, result).values())
        told = ", ".join(f"{count} {what}" for what, count in said.most_common())
        if as_json:
            terminal.line(
                {
                    "table": table.name,
                    "title": table.title,
                    "verdicts": dict(said),
                    "measured": None if result is None else result.date,
                }
            )
        rows.append([table.name, table.title, told, "" if result is None else result.date])
    if not as_json:
        print(terminal.table(["table", "what", "rows", "measured"], rows, form))
