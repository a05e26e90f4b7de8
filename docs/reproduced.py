"""Write docs/reproduced.md from the published tables and their stored results.

python docs/reproduced.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from snellen.cli.terminal import table as format_table
from snellen.reproduce import TABLES
from snellen.reproduce.result import COLUMNS, comparison_rows, load_result, provenance, verdicts
from snellen.reproduce.table import PublishedTable

PAGE = Path(__file__).parent / "reproduced.md"

HEAD = """# Published tables, reproduced

Written by `python docs/reproduced.py` from `src/snellen/reproduce/`; do not edit. Every value was published in a
lecture or a paper; beside it is the value that Snellen measures with the given command. [How to run
them](guide/reproducing.md) explains the verdicts and the intervals.
"""


def page() -> str:
    """Markdown page of all tables."""
    counts = {name: Counter(verdicts(table, load_result(table)).values()) for name, table in TABLES.items()}
    rows = [
        [name, TABLES[name].title, ", ".join(f"{n} {verdict}" for verdict, n in counter.most_common())]
        for name, counter in counts.items()
    ]
    overview = format_table(["table", "title", "rows"], rows, "markdown")
    for name in counts:
        overview = overview.replace(f"| {name} |", f"| [{name}](#{name}) |", 1)
    return "\n".join([HEAD, overview, *map(section, TABLES.values())]) + "\n"


def section(table: PublishedTable) -> str:
    """Markdown section of one table."""
    result = load_result(table)
    rows = comparison_rows(table, result)
    columns = [k for k, column in enumerate(COLUMNS) if column == "row" or any(row[k] for row in rows)]
    return "\n".join(
        [
            f"\n## {table.name}\n",
            f"{table.title}, in {table.unit}.\n",
            *(f"- {line[:1].upper()}{line[1:]}" for line in provenance(table, result)),
            "",
            format_table([COLUMNS[k] for k in columns], [[row[k] for k in columns] for row in rows], "markdown"),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
