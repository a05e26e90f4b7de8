"""Data known by a name: built in, or public sets where torchvision would put them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from snellen.core.errors import DataError
from snellen.data import toys
from snellen.data.dataset import Draft

BUILTIN: dict[str, Callable[[int], Draft]] = toys.TOYS

NAMED: dict[str, tuple[str, ...]] = {  # name -> where it lies under the data folder
    "mnist": ("MNIST",),
    "fashion-mnist": ("FashionMNIST",),
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
}


def data_folder() -> Path:
    """`$SNELLEN_DATA`, else the XDG data folder."""
    given = os.environ.get("SNELLEN_DATA")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "snellen"


def find_named(name: str) -> Path:
    """Raises DataError naming where the set was looked for and how to get it."""
    folder = data_folder()
    for place in NAMED[name]:
        if (folder / place).is_dir():
            return folder / place
    raise DataError(f"{name} is not in {folder} (looked for {', '.join(NAMED[name])})",
                    f"Fetch it with: snellen get {name}, or say where it lies with SNELLEN_DATA.")
