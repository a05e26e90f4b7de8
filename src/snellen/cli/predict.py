"""`snellen predict [RUN] WHAT...`: what a run says of files, folders, globs, tables, or paths on stdin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, given_run


def run(words: Sequence[str], own: Own) -> int:
    made = parser("predict", "What RUN (default: the newest) says of files, folders, globs, tables; - reads paths.")
    made.add_argument("what", nargs="+", metavar="WHAT", help="[RUN] and what to predict")
    made.add_argument("--csv", action="store_true", help="a table instead of JSON lines")
    made.add_argument("--draw", metavar="FOLDER", help="write each picture there with its answer on it")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    given = made.parse_args(list(words))
    if (Path(given.what[0]) / "run.json").exists() and len(given.what) > 1:
        given.run = given.what.pop(0)
    trained = given_run(given, own)
    header: list[str] = []
    for record in trained.answers(given.what, draw=vars(given).get("draw")):
        if "csv" not in given:
            terminal.line(record)
            continue
        row = _flat(record)
        if not header:
            header = list(row)
            print(terminal.table(header, [], "csv"))
        print(terminal.table([str(row.get(name, "")) for name in header], [], "csv"))
    return 0


def _flat(record: dict[str, object]) -> dict[str, object]:
    """A nested answer as one row: probabilities become columns of their own."""
    row: dict[str, object] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            row.update({f"{key}[{name}]": entry for name, entry in value.items()})
        else:
            row[key] = ";".join(map(str, value)) if isinstance(value, list) else value
    return row

