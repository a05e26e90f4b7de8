"""`snellen evaluate [RUN]`: metrics on a split of the run or on other data."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, add_data_options, check_data_exists, load_run, open_data


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

    data = open_data(args) if "data" in args else None
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
    rows = [[name, str(metric)] for name, metric in metrics.items()]
    print(terminal.table(["metric", f"{args.split}, ± 95 % over samples"], rows, args.format))
    return 0
