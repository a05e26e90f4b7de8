"""`snellen data DATA`: check a dataset without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import STATISTICS_HELP, CustomLearners, add_data_options, int_at_least, open_data
from snellen.core.errors import counted
from snellen.data.names import FILE_COUNTS

if TYPE_CHECKING:
    from snellen.data.dataset import Dataset, Labelled
    from snellen.metrics.pixel_correlation import PixelCorrelation

MAX_SHOWN = 8  # places printed per finding; --json prints all
MAX_CLASSES = 1000  # classes or targets in a table for other programs
MAX_VALUES = 4_000_000  # of images whose correlation is computed
MAX_LISTED, ENDS = 40, 5  # classes in a table to be read; of more, the largest and the smallest


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("data", "Check DATA: recognised format, counts, shapes, and findings with their remedies.")
    parser.add_argument("data", metavar="DATA", help="Folder, file, or name of a dataset (see snellen list data)")
    parser.add_argument("--full", action="store_true", help="Decode every file, not only names and headers")
    parser.add_argument("--statistics", nargs="?", type=int_at_least(1), const=0, metavar="D", help=STATISTICS_HELP)
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    add_data_options(parser)
    args = parser.parse_args(list(arguments))
    from snellen.data.experience import require_samples

    data = require_samples(open_data(args), "to check")
    from snellen.core.serialization import to_plain
    from snellen.modalities import MODALITIES

    statistics = _pixel_correlation(data, args.statistics) if "statistics" in args else None
    if "json" in args:
        terminal.print_json(
            {
                "taken_for": data.recognised_as,
                "spec": to_plain(data.spec),
                "files": dict(data.files),
                "findings": [to_plain(finding) for finding in data.findings],
                **({} if statistics is None else {"pixel_correlation": to_plain(statistics)}),
            }
        )
        return 0
    terminal.print_text(f"{args.data}: {data.recognised_as}")
    spec = data.spec
    for name, spec_input in spec.inputs.items():
        size = MODALITIES[spec_input.modality].describe_size(spec_input)
        terminal.print_text(f"input {name}: {spec_input.modality}, {size}, {spec_input.dtype}")
    if data.files:
        counts_text = ", ".join(f"{count:,} {FILE_COUNTS.get(kind, kind)}" for kind, count in data.files.items())
        terminal.print_text(f"files: {counts_text}")
    names = getattr(spec.target, "names", ())
    counts = getattr(spec.target, "counts", ())
    terminal.print_text(
        "\n" + terminal.table(["split", "samples"], [[s, n] for s, n in spec.sizes.items()], args.format)
    )
    if counts:
        count_column = f"training {spec.counted}"
        rows = [[name, count] for name, count in zip(names, counts, strict=True)]
        terminal.print_text("\n" + _class_table(rows, count_column, args.format))
    elif names:
        limit = MAX_LISTED if args.format == "text" else MAX_CLASSES
        more = f" and {len(names) - limit:,} more (all with --json)" if len(names) > limit else ""
        terminal.print_text(f"\ntargets: {', '.join(names[:limit])}{more}")
    if statistics is not None:
        from snellen.report.image_statistics import correlation_table, distance_limit

        correlation = correlation_table(statistics, counted(statistics.images, "training image"))
        coefficients = terminal.table(list(correlation.columns), correlation.rows, args.format)
        terminal.print_text(f"\n{coefficients}\n{correlation.caption}")
        if farthest := distance_limit(statistics, args.statistics):
            terminal.print_text(farthest)
    for finding in data.findings:
        terminal.print_text(f"\n{finding.severity}: {finding.message}")
        if places := finding.unmentioned(MAX_SHOWN):
            more = f" and {finding.count - len(places):,} more (all with --json)" if finding.count > len(places) else ""
            terminal.print_text("  " + ", ".join(places) + more)
        if finding.remedy:
            terminal.print_text(f"  {finding.remedy}")
    if not data.findings:
        terminal.print_text("\nNo findings.")
    return 0


def _pixel_correlation(data: Dataset[Labelled], distance: int) -> PixelCorrelation:
    from snellen.core.errors import UsageError
    from snellen.report.image_statistics import dataset_correlation

    correlation = dataset_correlation(data, distance or None, max_values=MAX_VALUES)
    if correlation is None:
        raise UsageError(
            f"--statistics: {data.spec.name} has no training images with finite values", "Leave it out, or give images."
        )
    return correlation


def _class_table(rows: list[list[str | int]], count_column: str, format: str) -> str:
    """The table of all classes; of many, their number, and a table of the largest and the smallest."""
    if format != "text":
        more = f"\n... and {len(rows) - MAX_CLASSES:,} more (all with --json)" if len(rows) > MAX_CLASSES else ""
        return terminal.table(["class", count_column], rows[:MAX_CLASSES], format) + more
    if len(rows) <= MAX_LISTED:
        return terminal.table(["class", count_column], rows, format)
    ordered = sorted(rows, key=lambda row: -int(row[1]))
    shown: list[list[str | int]] = [*ordered[:ENDS], ["...", "..."], *ordered[-ENDS:]]
    ends = f"{int(ordered[-1][1]):,} to {int(ordered[0][1]):,}"
    table = terminal.table([f"{len(rows):,} classes, largest first", count_column], shown, format)
    where = "--json" if len(rows) > MAX_CLASSES else "--format csv or --json"
    return f"{table}\n{len(rows):,} classes of {ends} {count_column}; the whole list: {where}"
