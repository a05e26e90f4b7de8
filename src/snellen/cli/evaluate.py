"""`snellen evaluate [RUN]`: metrics on the run's own splits or on other data."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own, add_data, given_run, open_data


def run(words: Sequence[str], own: Own) -> int:
    made = parser("evaluate", "Metrics of RUN (default: the newest) on its test split, or on other data.")
    made.add_argument("run", nargs="?", metavar="RUN", help="a run's folder (default: the newest under runs/)")
    made.add_argument("--data", metavar="DATA", help="other data with the same targets")
    made.add_argument("--split", choices=["train", "val", "test"], default="test", help="default test")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the table (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    add_data(made)
    given = made.parse_args(list(words))
    trained = given_run(given, own)
    from snellen.core.serialization import to_plain

    metrics = trained.evaluate(open_data(given) if "data" in given else None, given.split)
    if "json" in given:
        terminal.line(
            {
                "run": str(trained.folder),
                "split": given.split,
                "metrics": {name: to_plain(metric) for name, metric in metrics.items()},
            }
        )
        return 0
    rows = [[name, str(metric)] for name, metric in metrics.items()]
    print(terminal.table(["metric", f"{given.split}, ± 95 % over samples"], rows, given.format))
    return 0
