"""`snellen evaluate [RUN]`: metrics on a split of the run or on other data."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, add_data_options, check_data_exists, load_run, open_data
from snellen.core.input_files import open_regular

if TYPE_CHECKING:
    from snellen.core.record import Record


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser(
        "evaluate", "Compute the metrics of RUN (default: newest) on its test split, or on other data."
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="Run folder (default: newest under runs/)")
    parser.add_argument("--data", metavar="DATA", help="Other data with the same targets (default: the run's data)")
    parser.add_argument(
        "--split",
        choices=["train", "val", "test"],
        default="test",
        help="Split to evaluate, of the run's data or of --data (default test)",
    )
    parser.add_argument("--device", default="auto", help="Device: auto, cpu, cuda or mps (default auto)")
    parser.add_argument("--format", choices=terminal.FORMATS, default="text", help="Table format (default text)")
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    add_data_options(parser)
    args = parser.parse_args(list(arguments))
    check_data_exists(args)
    trained = load_run(args, custom)
    from snellen.core.serialization import to_plain

    data = None
    if "data" in args:
        _use_options_of_run(args, trained.record)
        data = open_data(args)
    metrics = trained.evaluate(data, args.split, terminal.ProgressBar())
    if "json" in args:
        terminal.print_json(
            {
                "run": str(trained.folder),
                "split": args.split,
                "metrics": {name: to_plain(metric) for name, metric in metrics.items()},
            }
        )
        return 0
    over = metrics[trained.headline].over or "samples"
    rows = [[name, metric.text(over)] for name, metric in metrics.items()]
    has_intervals = any(metric.low is not None for metric in metrics.values())
    column = f"{args.split}, ± 95 % over {over}" if has_intervals else args.split
    print(terminal.table(["metric", column], rows, args.format))
    if args.format != "csv":
        terminal.print_interval_note(metrics.values())
    return 0


def _use_options_of_run(args: argparse.Namespace, record: Record) -> None:
    """Read other data as that of the run: its --impute, --nodata, --pages, --mesh-points, --modality, --target and
    so on, unless others are given.

    Its --group too where that is a column of the table, which is no input then.
    """
    if record.data is None:
        return
    from snellen.api.lookup import data_origin

    options = data_origin(record).options
    for name, value in (
        ("impute", options.impute),
        ("nodata", options.nodata),
        ("pages", options.pages),
        ("mesh_points", options.mesh_points if os.path.isdir(args.data) else None),
        ("modality", options.modality),
        ("horizon", options.horizon),
        ("window", options.window),
        ("window_stride", options.stride),
        ("known", ",".join(options.known) or None),
        ("calendar", options.calendar),
        ("season", options.season),
        ("gaps", options.gaps),
        ("max_gap", options.max_gap),
        ("resample", options.resample),
        ("frame_rate", options.frame_rate),
        ("pose", options.pose),
        ("skeleton", options.skeleton),
        ("target", ",".join(options.target) or None),
        ("task", record.task if options.optional_target or options.future else None),
        ("inputs", ",".join(options.inputs) or None),
        ("sequence_id", options.sequence_id),
        ("time", options.time),
        ("row_steps", options.row_steps),
        ("group", options.group if record.spec.modality == "vector" and _in_header(args.data, options.group) else None),
    ):
        if value is not None and name not in args:
            setattr(args, name, value)


def _in_header(path: str, column: str | None) -> bool:
    """Whether the first line of a file holds the name of a column."""
    if column is None or not os.path.isfile(path):
        return False
    with open_regular(Path(path)) as file:
        return column in file.readline(1 << 16).decode("utf-8", errors="replace")
