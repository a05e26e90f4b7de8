"""`snellen get NAME`: the only verb that uses the network."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.cli.main import parser
from snellen.cli.options import Own


def run(words: Sequence[str], own: Own) -> int:
    made = parser("get", "Fetch a public data set or weights to where Snellen looks for them.")
    made.add_argument("name", metavar="NAME", help="mnist, fashion-mnist, cifar10, cifar100, or torchvision weights")
    given = made.parse_args(list(words))
    from snellen.data.named_datasets import get

    print(get(given.name))
    return 0
