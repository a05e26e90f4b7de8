"""`snellen compare RUN RUN...`: runs on the same test samples, with a verdict. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own

if TYPE_CHECKING:
    from snellen.model_selection.comparison import Comparison


def run(words: Sequence[str], own: Own) -> int:
    made = parser(
        "compare",
        "Compare runs on the same test samples: paired intervals and tests, and a verdict. "
        "Nothing is trained and nothing is written.",
    )
    made.add_argument("runs", nargs="+", metavar="RUN", help="the folders of two runs or more")
    made.add_argument("--format", choices=terminal.FORMATS, default="text", help="of the table (default text)")
    made.add_argument("--json", action="store_true", help="print one JSON line for every pair of runs")
    given = made.parse_args(list(words))

    from snellen.core.serialization import to_plain
    from snellen.model_selection.comparison import compare

    found = compare(*given.runs)
    if "json" in given:
        for pair in found.pairs:
            terminal.line({"headline": found.headline, **to_plain(pair), "verdict": pair.verdict})
        return 0
    terminal.tell(shown(found, given.format))
    if given.format == "text":
        terminal.tell(f"\n{found.verdict}\n\n{footnote(found)}")
    return 0


def shown(found: Comparison, form: str) -> str:
    """The runs, best first, each with what the best is ahead by."""
    best = found.runs[0].name
    rows: list[terminal.Row] = []
    for run in found.runs:
        row: list[str | float | int | None] = [run.name, run.learner, str(run.headline)]
        if run.name == best:
            rows.append([*row, "", "", "the best here"])
            continue
        pair = found.pair(best, run.name)
        rows.append(
            [
                *row,
                str(pair.difference),
                f"{pair.corrected:.2g}",
                f"the best is {pair.verdict}" if pair.better else pair.verdict,
            ]
        )
    return terminal.table(["run", "model", f"{found.headline} (test)", "the best is ahead by", "p", ""], rows, form)


def footnote(found: Comparison) -> str:
    """What ± and p mean here."""
    test = {"McNemar": "McNemar's test", "exchange": "exchanging the answers of both at random"}[found.pairs[0].test]
    count = len(found.pairs)
    held = f", corrected for {count} pairs (Holm)" if count > 1 else ""
    return f"± is a 95 % interval over {found.samples:,} samples; p is by {test}{held}."
