"""Named datasets: built-in ones, and public ones in torchvision's folders. Only `download` uses the network."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from snellen.core.errors import DataError, EnvironmentProblem, UsageError, suggest_name
from snellen.core.torchvision_import import import_torchvision
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.names import BUILTIN_NAMES, NAMED
from snellen.data.synthetic import (
    builtin_recordings,
    gestures,
    long_lags,
    moving_shapes,
    places,
    point_shapes,
    shapes,
    tones,
    toys,
    visits,
    voxels,
)

BUILTIN: dict[str, Callable[..., RawDataset]] = {
    **toys.TOYS,
    "shapes": shapes.shapes,
    "moving-shapes": moving_shapes.moving_shapes,
    "voxels": voxels.voxels,
    "point-shapes": point_shapes.point_shapes,
    "oscillators": places.oscillators,
    "sdf": places.sdf,
    "tones": tones.tones,
    "gestures": gestures.gestures,
    "tracks": builtin_recordings.open_tracks,
    **long_lags.LONG_LAGS,
}  # functions of a seed and, for some, a target
SEVERAL_INPUTS = ("gestures",)  # built-in data of which --inputs selects some
BUILTIN_SERIES: dict[str, Callable[[int, OpenOptions], RawDataset]] = {"visits": visits.visits}  # to forecast
BUILTIN_TARGETS = {"shapes": tuple(shapes.TARGETS)}  # choice of targets; the first is the default


def open_builtin(name: str, seed: int, options: OpenOptions) -> RawDataset:
    """Open a built-in dataset, with the requested target if any.

    Raises:
        UsageError: for a target that the dataset does not have, and options that do not apply.
    """
    if options.wants_future:
        if name not in builtin_recordings.RECORDINGS:
            known = " or ".join(builtin_recordings.RECORDINGS)
            raise UsageError(
                f"{name} is built in and holds no recordings to forecast", f"Give {known}, or a path of recordings."
            )
        return builtin_recordings.open_recordings(name, seed, options)
    target = options.target
    if not target:
        return BUILTIN[name](seed)
    requested, targets = ",".join(target), BUILTIN_TARGETS.get(name, ())
    if not targets:
        raise UsageError(f"{name} has one target, not {requested!r}", "Omit --target.")
    if requested not in targets:
        raise UsageError(f"{name} has no target {requested!r}", suggest_name(requested, list(targets)))
    return BUILTIN[name](seed, requested)


_DATASET_SERVERS = {  # known before torchvision is imported
    "mnist": "https://ossci-datasets.s3.amazonaws.com",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "cifar10": "https://www.cs.toronto.edu",
    "cifar100": "https://www.cs.toronto.edu",
}
_WEIGHTS_SERVER = "https://download.pytorch.org"
_CONNECT_TIMEOUT = 0.9  # seconds
_READ_TIMEOUT = 30.0  # seconds without a byte


def data_folder() -> Path:
    """Data folder: `$SNELLEN_DATA`, else the XDG data folder."""
    override = os.environ.get("SNELLEN_DATA")
    if override:
        return Path(override).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "snellen"


def find_named_dataset(name: str) -> Path:
    """Folder of a downloaded dataset. Raises DataError with the folders searched and how to download it."""
    folder = data_folder()
    for subfolder in NAMED[name]:
        if (folder / subfolder).is_dir():
            return folder / subfolder
    raise DataError(
        f"{name} is not in {folder} (searched for {', '.join(NAMED[name])})",
        f"Download it with: snellen get {name}, or set SNELLEN_DATA to its folder.",
    )


def download(name: str) -> Path:
    """Download a named dataset to the data folder, or torchvision weights to torch's cache, unless present.

    Args:
        name: a key of `NAMED`, or a torchvision model (its default weights).
    Returns:
        the folder of the dataset, or the file of the weights.
    Raises:
        UsageError: for any other name.
        EnvironmentProblem: no network (reported within a second), a wrong checksum, a full disk.
    """
    if name in NAMED:
        with contextlib.suppress(DataError):
            return find_named_dataset(name)
        _check_connection(_DATASET_SERVERS[name], name, data_folder())
        with _download_errors(name):
            return _download_dataset(name)
    if name in BUILTIN_NAMES:
        raise UsageError(f"{name} is built in and needs no download", f"Use it: snellen {name}")
    models = weights_names()
    if name not in models:
        raise UsageError(f"Unknown dataset or weights {name!r}", suggest_name(name, [*NAMED, *models]))
    return _download_weights(name)


def weights_names() -> list[str]:
    """Names of torchvision models, parsed from its files, because importing it takes seconds."""
    module = importlib.util.find_spec("torchvision")
    folders = module.submodule_search_locations if module is not None else None
    names: list[str] = []
    for file in sorted(file for folder in folders or () for file in Path(folder).glob("models/**/*.py")):
        if "quantization" not in file.parts:
            names += re.findall(r"^@register_model\(\)\n(?:(?!def ).*\n)*?def (\w+)", file.read_text("utf-8"), re.M)
    return names


def _check_connection(url: str, name: str, folder: Path) -> None:
    """Raise EnvironmentProblem unless the server, or the proxy to it, accepts a connection at once."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80))
    connected = threading.Event()

    def connect() -> None:  # in a thread, because name resolution has no timeout
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=_CONNECT_TIMEOUT).close()
            connected.set()
        done.set()

    done = threading.Event()
    threading.Thread(target=connect, daemon=True).start()
    done.wait(_CONNECT_TIMEOUT)
    if not connected.is_set():
        raise EnvironmentProblem(
            f"Cannot download {name}: {parts.hostname} does not respond",
            f"Connect to the network, or copy the files to {folder}.",
        )


@contextlib.contextmanager
def _download_errors(name: str) -> Iterator[None]:
    """Context in which a stalled download ends, and every failure raises EnvironmentProblem."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_READ_TIMEOUT)
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:  # RuntimeError: a wrong checksum
        raise EnvironmentProblem(
            f"Downloading {name} failed: {error}", "Try again; partial files are removed."
        ) from error
    finally:
        socket.setdefaulttimeout(previous)


def _download_dataset(name: str) -> Path:
    """Download and unpack next to the final folder, verify torchvision's checksums, then move in one step."""
    import_torchvision()
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    folder = data_folder()
    (subfolder,) = NAMED[name]
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{subfolder}.", suffix=".part", dir=folder))
    try:
        if name in ("cifar10", "cifar100"):
            cifar = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            download_and_extract_archive(cifar.url, str(part), filename=cifar.filename, md5=cifar.tgz_md5)
        else:
            mnist = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
            for file, md5 in mnist.resources:
                download_and_extract_archive(
                    mnist.mirrors[0] + file, str(part / subfolder / "raw"), filename=file, md5=md5
                )
        os.replace(part / subfolder, folder / subfolder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / subfolder


def _download_weights(name: str) -> Path:
    import torch

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(cache.glob(f"{name}[-_]*")):
        _check_connection(_WEIGHTS_SERVER, name, cache)
    import_torchvision()
    from torchvision.models import get_model_weights

    url = str(get_model_weights(name).DEFAULT.url)
    file = cache / url.rpartition("/")[2]
    if not file.exists():
        _check_connection(_WEIGHTS_SERVER, name, cache)
        cache.mkdir(parents=True, exist_ok=True)
        checksum = re.search(r"-([0-9a-f]{8,})\.", file.name)
        with _download_errors(name):
            torch.hub.download_url_to_file(url, str(file), checksum[1] if checksum else None)
    return file
