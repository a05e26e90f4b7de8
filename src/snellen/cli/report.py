"""`snellen report [RUN]`: the page again."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli.main import parser
from snellen.cli.options import Own, given_run


def run(words: Sequence[str], own: Own) -> int:
    made = parser("report", "Write the page of RUN (default: the newest) again and print its path.")
    made.add_argument("run", nargs="?", metavar="RUN", help="a run's folder (default: the newest under runs/)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    given = made.parse_args(list(words))
    print(given_run(given, own).report())
    return 0
