"""Writes docs/reproduced.md from the published tables and the results that are kept of them.

python docs/reproduced.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from snellen.cli.terminal import table as drawn
from snellen.reproduce import TABLES
from snellen.reproduce.result import COLUMNS, compared, stored, story, verdicts
from snellen.reproduce.table import Table

PAGE = Path(__file__).parent / "reproduced.md"

HEAD = """# Published tables, reproduced

Written by `python docs/reproduced.py` from `src/snellen/reproduce/`; do not edit. Every figure was printed by a lecture
or a paper; beside it stands what Snellen measures, by the command that is given. [How to run
them](guide/reproducing.md) says what a verdict means and how an interval is made.
"""


def page() -> str:
    said = {name: Counter(verdicts(table, stored(table)).values()) for name, table in TABLES.items()}
    rows = [
        [f"[{name}](#{name})", TABLES[name].title, ", ".join(f"{n} {what}" for what, n in counted.most_common())]
        for name, counted in said.items()
    ]
    return "\n".join([HEAD, drawn(["table", "what", "rows"], rows, "markdown"), *map(section, TABLES.values())]) + "\n"


def section(table: Table) -> str:
    result = stored(table)
    rows = compared(table, result)
    wanted = [k for k, column in enumerate(COLUMNS) if column == "row" or any(row[k] for row in rows)]
    return "\n".join(
        [
            f"\n## {table.name}\n",
            f"{table.title}, in {table.unit}.\n",
            *(f"- {line[:1].upper()}{line[1:]}" for line in story(table, result)),
            "",
            drawn([COLUMNS[k] for k in wanted], [[row[k] for k in wanted] for row in rows], "markdown"),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
