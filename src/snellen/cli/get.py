"""`snellen get NAME`: download a public dataset or weights; the only command that uses the internet."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("get", "Download a public dataset or weights to the data folder.")
    parser.add_argument(
        "name", metavar="NAME", help="Name: mnist, fashion-mnist, cifar10, cifar100, or torchvision weights"
    )
    args = parser.parse_args(list(arguments))
    from snellen.data.named_datasets import download

    print(download(args.name))
    return 0
