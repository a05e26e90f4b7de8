"""`snellen reproduce [NAME...]`: published tables next to values measured here."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, int_at_least
from snellen.core.errors import UsageError, suggest_name

if TYPE_CHECKING:
    from snellen.reproduce.result import Result
    from snellen.reproduce.table import MeasureOptions, PublishedTable


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "reproduce",
        "Measure the values of published tables and compare them with the published values: "
        "seeds, confidence interval, deviations and a verdict. Without NAME: list the tables and stored verdicts.",
    )
    parser.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="Published tables to measure (default: list all)"
    )
    parser.add_argument("--stored", action="store_true", help="Show the stored result without measuring")
    parser.add_argument(
        "--seeds",
        type=int_at_least(1),
        metavar="N",
        help="Number of random seeds, at least 1 (default: set by the table)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="Measure a smaller, faster version; scaled-down values are marked"
    )
    parser.add_argument("--device", metavar="NAME", help="Device: auto, cpu, cuda or mps (default auto)")
    parser.add_argument(
        "--out", metavar="FOLDER", help="Output folder of the results, as NAME.json (default: not saved)"
    )
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON line per row")
    args = parser.parse_args(list(arguments))

    from snellen.reproduce import TABLES
    from snellen.reproduce.result import load_result, resolve_options
    from snellen.reproduce.table import MeasureOptions

    unknown = [name for name in args.names if name not in TABLES]
    if unknown:
        raise UsageError(f"No published table is called {unknown[0]!r}", suggest_name(unknown[0], list(TABLES)))
    values = vars(args)
    _check_flags(args.names, values)
    if not args.names and "stored" not in values:
        _list(list(TABLES.values()), args.format, "json" in args)
        return 0
    progress = terminal.ProgressBar(quiet="json" in args)
    measure_options = MeasureOptions(
        seeds=values.get("seeds", 0), quick="quick" in values, device=values.get("device", "auto"), progress=progress
    )
    command = shlex.join(["snellen", "reproduce", *arguments])
    for name in args.names or TABLES:
        table = TABLES[name]
        try:
            result = (
                load_result(table)
                if "stored" in values
                else _measure(table, resolve_options(table, measure_options), command, progress, values.get("out"))
            )
        finally:
            progress.end()
        _show(table, result, args.format, "json" in args)
    return 0


def _check_flags(names: Sequence[str], values: dict[str, object]) -> None:
    """Refuse flags of a measurement where nothing is measured.

    Raises:
        UsageError: naming the first of them.
    """
    flags = [f"--{name}" for name in ("seeds", "quick", "device", "out") if name in values]
    if flags and "stored" in values:
        raise UsageError(
            f"{flags[0]} does not apply to --stored, which measures nothing", f"Omit {flags[0]} or --stored."
        )
    if flags and not names:
        raise UsageError(f"{flags[0]} does not apply without the NAME of a table", "snellen reproduce lists the names.")


def _measure(
    table: PublishedTable,
    measure_options: MeasureOptions,
    command: str,
    progress: terminal.ProgressBar,
    out: str | None,
) -> Result:
    """Measure a table; each row is saved as soon as it is measured."""
    from snellen.reproduce.result import run as run_table
    from snellen.reproduce.result import save_result

    progress.message(
        f"{table.name}: {measure_options.seeds} seed{'s' * (measure_options.seeds > 1)} on {measure_options.device}, "
        f"about {terminal.format_duration(table.seconds(measure_options))}"
    )
    folder = None if out is None else Path(out)

    def save_rows(result: Result) -> None:
        if folder is not None:
            save_result(result, folder)

    result = run_table(table, measure_options, command, save_rows)
    if folder is not None:
        progress.message(f"saved: {folder / table.name}.json")
    return result


def _show(table: PublishedTable, result: Result | None, table_format: str, as_json: bool) -> None:
    from snellen.reproduce.result import COLUMNS, comparison_rows, provenance

    if as_json:
        _lines(table, result)
        return
    if table_format == "text":
        terminal.print_text("\n".join([table.title, *provenance(table, result), ""]))
    rows = comparison_rows(table, result)
    columns = [k for k, name in enumerate(COLUMNS) if name == "row" or any(row[k] for row in rows)]
    print(terminal.table([COLUMNS[k] for k in columns], [[row[k] for k in columns] for row in rows], table_format))


def _lines(table: PublishedTable, result: Result | None) -> None:
    from snellen.core.serialization import to_plain
    from snellen.reproduce.result import verdicts

    common = {} if result is None else {k: v for k, v in to_plain(result).items() if k not in ("is", "table", "rows")}
    row_verdicts = verdicts(table, result)
    for row in table.rows:
        measured = None if result is None or row.name not in result.rows else to_plain(result.rows[row.name])
        published = {"text": row.published.text, "source": row.published.source}
        terminal.print_json(
            {
                "table": table.name,
                "row": row.name,
                "unit": table.unit,
                "published": published,
                "measured": measured,
                "verdict": row_verdicts[row.name],
                **common,
            }
        )


def _list(tables: list[PublishedTable], table_format: str, as_json: bool) -> None:
    from snellen.reproduce.result import load_result, verdicts

    rows = []
    for table in tables:
        result = load_result(table)
        row_verdicts = Counter(verdicts(table, result).values())
        summary = ", ".join(f"{count} {verdict}" for verdict, count in row_verdicts.most_common())
        if as_json:
            terminal.print_json(
                {
                    "table": table.name,
                    "title": table.title,
                    "verdicts": dict(row_verdicts),
                    "measured": None if result is None else result.date,
                }
            )
        rows.append([table.name, table.title, summary, "" if result is None else result.date])
    if not as_json:
        print(terminal.table(["table", "title", "rows", "measured"], rows, table_format))
