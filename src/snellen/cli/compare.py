"""`snellen compare RUN RUN...`: paired comparison of runs on the same test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners

if TYPE_CHECKING:
    from snellen.model_selection.comparison import Comparison


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "compare",
        "Compare runs on the same test samples: paired confidence intervals, significance tests and a verdict. "
        "Trains and writes nothing.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="Folders of at least two runs")
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON line per pair of runs")
    args = parser.parse_args(list(arguments))

    from snellen.core.serialization import to_plain
    from snellen.model_selection.comparison import compare

    comparison = compare(*args.runs)
    if "json" in args:
        for pair in comparison.pairs:
            terminal.print_json({"headline": comparison.headline, **to_plain(pair), "verdict": pair.verdict})
        return 0
    terminal.print_text(comparison_table(comparison, args.format))
    if args.format == "text":
        terminal.print_text(f"\n{comparison.verdict}\n\n{footnote(comparison)}")
    return 0


def comparison_table(comparison: Comparison, table_format: str) -> str:
    """Table of the runs, best first, each with the difference to the best."""
    best = comparison.runs[0].name
    rows: list[terminal.RowCells] = []
    for run in comparison.runs:
        row: list[str | float | int | None] = [run.name, run.learner, str(run.headline)]
        if run.name == best:
            rows.append([*row, "", "", "best"])
            continue
        pair = comparison.pair(best, run.name)
        rows.append(
            [
                *row,
                str(pair.difference),
                f"{pair.corrected:.2g}",
                f"the best is {pair.verdict}" if pair.better else pair.verdict,
            ]
        )
    return terminal.table(
        ["run", "model", f"{comparison.headline} (test)", "difference from best", "p", "verdict"], rows, table_format
    )


def footnote(comparison: Comparison) -> str:
    """Footnote: the meaning of ± and p."""
    test = {
        "McNemar": "from McNemar's test (exact if only one run is correct on fewer than 25 samples, else χ² without "
        "continuity correction)",
        "exchange": "the larger of those of a paired permutation test and of the bootstrap",
    }[comparison.pairs[0].test]
    count = len(comparison.pairs)
    correction = f", corrected for {count} pairs (Holm); the intervals are not corrected" if count > 1 else ""
    interval = f"± is half the width of the 95 % confidence interval over {comparison.samples:,} {comparison.noun}"
    return f"{interval}; p is {test}{correction}."
