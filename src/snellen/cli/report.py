"""`snellen report [RUN]`: write the HTML report again."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners, load_run


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("report", "Write the HTML report of RUN (default: newest) again and print its path.")
    parser.add_argument("run", nargs="?", metavar="RUN", help="Run folder (default: newest under runs/)")
    parser.add_argument("--device", default="auto", help="Device: auto, cpu, cuda or mps (default auto)")
    args = parser.parse_args(list(arguments))
    terminal.print_text(str(load_run(args, custom).report()))
    return 0
