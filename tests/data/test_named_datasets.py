"""Named sets are found where they lie and fetched only on request, whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from snellen.core.errors import DataError, EnvironmentProblem, UsageError
from snellen.data import named_datasets
from snellen.data.named_datasets import NAMED, data_folder, find_named, get, weights_names
from snellen.data.open_dataset import dataset


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SNELLEN_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "sets"


@pytest.fixture
def no_network(monkeypatch):
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")  # the port of the discard service: closed
    monkeypatch.setenv("no_proxy", "")


def test_the_data_folder_is_the_users(folder, monkeypatch, tmp_path):
    assert data_folder() == folder
    monkeypatch.delenv("SNELLEN_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "snellen"


def test_a_set_that_is_not_there_names_the_command_that_fetches_it(folder):
    with pytest.raises(DataError) as caught:
        find_named("mnist")
    assert str(folder) in caught.value.cause
    assert "snellen get mnist" in caught.value.remedy


def test_a_set_that_is_there_is_not_fetched_again(folder, no_network):
    (folder / "MNIST").mkdir(parents=True)
    assert get("mnist") == folder / "MNIST"


@pytest.mark.parametrize("name", [*NAMED, "resnet18"])
def test_without_network_it_says_so_and_leaves_nothing(folder, no_network, name):
    with pytest.raises(EnvironmentProblem) as caught:
        get(name)
    assert "does not answer" in caught.value.cause
    assert name in caught.value.cause
    assert caught.value.remedy
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "remedy"), [("minst", "mnist"), ("resnet19", "resnet18"), ("digits", "snellen digits")]
)
def test_a_wrong_name_gets_the_nearest(folder, name, remedy):
    with pytest.raises(UsageError) as caught:
        get(name)
    assert remedy in caught.value.remedy


def test_the_networks_read_from_torchvisions_files_are_those_it_registers():
    from torchvision.models import list_models

    assert set(weights_names()) == {name for name in list_models() if not name.startswith("quantized_")}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A server with a tiny CIFAR-10 that stands in for the set's home."""
    from torchvision import datasets

    (tmp_path / "home").mkdir()
    batch = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 0, 1]}
    with tarfile.open(tmp_path / "home" / "cifar.tar.gz", "w:gz") as archive:
        files = {"data_batch_1": batch, "test_batch": batch, "batches.meta": {"label_names": ["a", "b"]}}
        for name, content in files.items():
            held = pickle.dumps(content, protocol=2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(held)
            archive.addfile(entry, io.BytesIO(held))
    handler = functools.partial(Quiet, directory=str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(scheme, raising=False)
        monkeypatch.setitem(named_datasets._HOMES, "cifar10", address)
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
        content = (tmp_path / "home" / "cifar.tar.gz").read_bytes()
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content, usedforsecurity=False).hexdigest())
        yield datasets.CIFAR10
        server.shutdown()


def test_a_set_is_fetched_checked_and_put_in_place(folder, home):
    assert get("cifar10") == folder / "cifar-10-batches-py"
    assert [entry.name for entry in folder.iterdir()] == ["cifar-10-batches-py"]
    assert dataset("cifar10").spec.sizes["test"] == 4


def test_a_wrong_sum_or_address_leaves_nothing_behind(folder, home, monkeypatch):
    for name, value in (("tgz_md5", "0" * 32), ("url", home.url + ".gone")):
        monkeypatch.setattr(home, name, value)
        with pytest.raises(EnvironmentProblem, match="could not be fetched"):
            get("cifar10")
        assert list(folder.iterdir()) == []
