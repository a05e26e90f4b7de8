"""Data known by a name: built in, or public sets where torchvision would put them. Only `get` uses the network."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from snellen.core.errors import DataError, EnvironmentProblem, UsageError, nearest
from snellen.core.files import sync_folder
from snellen.data.dataset import RawDataset
from snellen.data.names import NAMED
from snellen.data.synthetic import shapes, toys

BUILTIN: dict[str, Callable[..., RawDataset]] = {
    **toys.TOYS,
    "shapes": shapes.shapes,
}  # of a seed and, of some, a target
MANY_TARGETS = {"shapes": tuple(shapes.TARGETS)}  # the built-in sets whose target can be chosen; the first is usual


def built_in(name: str, seed: int, target: tuple[str, ...]) -> RawDataset:
    """A built-in set with the target that was asked for, if any.

    Raises:
        UsageError: for a target that the set has not.
    """
    if not target:
        return BUILTIN[name](seed)
    wanted, known = ",".join(target), MANY_TARGETS.get(name, ())
    if not known:
        raise UsageError(f"{name} has one target, and {wanted!r} was asked for", "Leave --target out.")
    if wanted not in known:
        raise UsageError(f"{name} has no target {wanted!r}", nearest(wanted, list(known)))
    return BUILTIN[name](seed, wanted)


_HOMES = {  # where the sets are fetched from, as far as it must be known before torchvision is imported
    "mnist": "https://ossci-datasets.s3.amazonaws.com",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "cifar10": "https://www.cs.toronto.edu",
    "cifar100": "https://www.cs.toronto.edu",
}
_WEIGHTS_HOME = "https://download.pytorch.org"
_PATIENCE = 0.9  # seconds in which a home must answer
_STALL = 30.0  # seconds without a byte after which a transfer is given up


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
    raise DataError(
        f"{name} is not in {folder} (looked for {', '.join(NAMED[name])})",
        f"Fetch it with: snellen get {name}, or say where it lies with SNELLEN_DATA.",
    )


def get(name: str) -> Path:
    """Fetches a named set into the data folder, or torchvision's weights into torch's cache, where not there yet.

    Args:
        name: a key of `NAMED`, or a network of torchvision (its default weights).
    Returns:
        the folder of the set, or the file of the weights.
    Raises:
        UsageError: for a name that is neither.
        EnvironmentProblem: no network (said within a second), a sum that is wrong, no room.
    """
    if name in NAMED:
        with contextlib.suppress(DataError):
            return find_named(name)
        _reach(_HOMES[name], name, data_folder())
        with _transfer(name):
            return _get_set(name)
    if name in BUILTIN:
        raise UsageError(f"{name} is built in and needs no fetching", f"Use it: snellen {name}")
    networks = weights_names()
    if name not in networks:
        raise UsageError(f"No data or weights are called {name!r}", nearest(name, [*NAMED, *networks]))
    return _get_weights(name)


def weights_names() -> list[str]:
    """The networks that torchvision registers, read from its files: importing it takes seconds."""
    found = importlib.util.find_spec("torchvision")
    places = found.submodule_search_locations if found is not None else None
    names: list[str] = []
    for file in sorted(file for place in places or () for file in Path(place).glob("models/**/*.py")):
        if "quantization" not in file.parts:
            names += re.findall(r"^@register_model\(\)\n(?:(?!def ).*\n)*?def (\w+)", file.read_text("utf-8"), re.M)
    return names


def _reach(home: str, name: str, folder: Path) -> None:
    """Raises EnvironmentProblem unless the home, or the proxy that leads to it, takes a connection at once."""
    parts = urlsplit(home)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80))
    reached = threading.Event()

    def connect() -> None:  # in a thread, for resolving a name knows no time limit
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=_PATIENCE).close()
            reached.set()
        done.set()

    done = threading.Event()
    threading.Thread(target=connect, daemon=True).start()
    done.wait(_PATIENCE)
    if not reached.is_set():
        raise EnvironmentProblem(
            f"{name} cannot be fetched: {parts.hostname} does not answer",
            f"Connect to the network, or put the files into {folder} by hand.",
        )


@contextlib.contextmanager
def _transfer(name: str) -> Iterator[None]:
    """Inside, a transfer that stalls ends, and every failure is one of the environment."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL)
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:  # RuntimeError: a sum that is wrong
        raise EnvironmentProblem(
            f"{name} could not be fetched: {error}", "Try again; what was fetched in part is gone."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _get_set(name: str) -> Path:
    """Fetches and unpacks beside the final place, checks the sums that torchvision knows, then moves in one step."""
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    folder = data_folder()
    (place,) = NAMED[name]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{place}.{os.getpid()}.part"
    try:
        if name in ("cifar10", "cifar100"):
            cifar = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            download_and_extract_archive(cifar.url, str(part), filename=cifar.filename, md5=cifar.tgz_md5)
        else:
            mnist = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
            for file, md5 in mnist.resources:
                download_and_extract_archive(mnist.mirrors[0] + file, str(part / place / "raw"), filename=file, md5=md5)
        os.replace(part / place, folder / place)
        sync_folder(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / place


def _get_weights(name: str) -> Path:
    import torch

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(cache.glob(f"{name}[-_]*")):
        _reach(_WEIGHTS_HOME, name, cache)
    from torchvision.models import get_model_weights

    url = str(get_model_weights(name).DEFAULT.url)
    file = cache / url.rpartition("/")[2]
    if not file.exists():
        _reach(_WEIGHTS_HOME, name, cache)
        cache.mkdir(parents=True, exist_ok=True)
        sum_ = re.search(r"-([0-9a-f]{8,})\.", file.name)
        with _transfer(name):
            torch.hub.download_url_to_file(url, str(file), sum_[1] if sum_ else None)
    return file
