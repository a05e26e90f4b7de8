"""Named datasets: folders, download, checksums, errors."""

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
from snellen.data.named_datasets import NAMED, data_folder, download, find_named_dataset, weights_names
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


def test_data_folder_follows_the_environment_variables(folder, monkeypatch, tmp_path):
    assert data_folder() == folder
    monkeypatch.delenv("SNELLEN_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "snellen"


def test_a_folder_of_the_name_of_a_built_in_dataset_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert not any(finding.kind == "same-name" for finding in dataset("xor").findings)
    (tmp_path / "xor").mkdir()
    first = dataset("xor").findings[0]
    assert (first.kind, first.severity) == ("same-name", "warning")
    assert first.text == "xor is the built-in dataset; the folder of that name is ./xor. Give ./xor to open the folder."
    (tmp_path / "xor" / "a.csv").write_text("a,b,y\n" + "1,2,u\n3,5,v\n" * 30)
    named = dataset("./xor")
    assert not any(finding.kind == "same-name" for finding in named.findings)
    assert len(named.source) == 60


def test_a_missing_dataset_names_the_download_command(folder):
    with pytest.raises(DataError) as caught:
        find_named_dataset("mnist")
    assert str(folder) in caught.value.cause
    assert "snellen get mnist" in caught.value.remedy


def test_a_present_dataset_is_not_downloaded_again(folder, no_network):
    (folder / "MNIST").mkdir(parents=True)
    assert download("mnist") == folder / "MNIST"


@pytest.mark.parametrize("name", [*NAMED, "resnet18"])
def test_without_network_it_fails_and_leaves_no_files(folder, no_network, name):
    with pytest.raises(EnvironmentProblem) as caught:
        download(name)
    assert "does not respond" in caught.value.cause
    assert name in caught.value.cause
    assert caught.value.remedy
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "remedy"), [("minst", "mnist"), ("resnet19", "resnet18"), ("digits", "snellen digits")]
)
def test_an_unknown_name_suggests_the_nearest(folder, name, remedy):
    with pytest.raises(UsageError) as caught:
        download(name)
    assert remedy in caught.value.remedy


def test_weights_names_equal_the_models_torchvision_registers():
    from torchvision.models import list_models

    assert set(weights_names()) == {name for name in list_models() if not name.startswith("quantized_")}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server with a tiny CIFAR-10, in place of the public one."""
    from torchvision import datasets

    (tmp_path / "server").mkdir()
    batch = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 0, 1]}
    with tarfile.open(tmp_path / "server" / "cifar.tar.gz", "w:gz") as archive:
        files = {"data_batch_1": batch, "test_batch": batch, "batches.meta": {"label_names": ["a", "b"]}}
        for name, content in files.items():
            data = pickle.dumps(content, protocol=2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http_server.server_port}"
        for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(scheme, raising=False)
        monkeypatch.setitem(named_datasets._DATASET_SERVERS, "cifar10", address)
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
        content = (tmp_path / "server" / "cifar.tar.gz").read_bytes()
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content, usedforsecurity=False).hexdigest())
        yield datasets.CIFAR10
        http_server.shutdown()


def test_a_dataset_is_downloaded_verified_and_moved_into_place(folder, server):
    assert download("cifar10") == folder / "cifar-10-batches-py"
    assert [entry.name for entry in folder.iterdir()] == ["cifar-10-batches-py"]
    assert dataset("cifar10").spec.sizes["test"] == 4


def test_a_wrong_checksum_or_url_leaves_no_files(folder, server, monkeypatch):
    for name, value in (("tgz_md5", "0" * 32), ("url", server.url + ".gone")):
        monkeypatch.setattr(server, name, value)
        with pytest.raises(EnvironmentProblem, match="Downloading cifar10 failed"):
            download("cifar10")
        assert list(folder.iterdir()) == []
