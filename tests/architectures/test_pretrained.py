"""Pretrained weights of architectures: published, files, runs; errors for missing or unsuitable weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from raw_datasets import classes, numbers, seeded
from safetensors.torch import save_file
from torch import Tensor, nn

from snellen.api import RunOptions, TrainedRun, resume, train
from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import InitSettings, PackagedWeights
from snellen.architectures.pretrained import MissingWeights, check_weights, load_pretrained
from snellen.core.errors import DataError, SnellenError, UsageError
from snellen.core.file_io import read_tensors
from snellen.core.run import Run
from snellen.core.settings import make
from snellen.core.spec import Input
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network

MOBILENET = ARCHITECTURES["mobilenetv2"]
QUIET = RunOptions(threads=1, report=False)


def make_network(channels: int = 3, outputs: int = 2, seed: int = 0, side: int = 224) -> Network:
    """MobileNetV2 with random weights, for large images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = MOBILENET.body(make(MOBILENET.settings, {}), (channels, side, side), outputs)
    shape = (channels, side, side)
    return Network(Standardize(Input(modality="image", shape=shape, dtype="uint8")), body)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty torch.hub cache."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of 1,000 classes as published by torchvision: a state_dict whose file name contains its checksum."""
    path = cache / "unnamed.pth"
    torch.save(make_network(outputs=1000, seed=1).body.state_dict(), path)
    named = cache / f"mobilenet_v2-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    path.rename(named)
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(url=f"somewhere/models/{named.name}"))
    monkeypatch.setattr("torchvision.models.get_model_weights", {"mobilenet_v2": weights}.__getitem__)
    return named


def photos(side: int = 70, count: int = 24) -> Dataset[Labelled]:
    x = torch.randint(256, (count, 3, side, side), generator=seeded(), dtype=torch.uint8)
    return classes(x, torch.arange(count) % 2, 2)


def bars(count: int = 60, kinds: int = 3, seed: int = 3, side: int = 14) -> tuple[Tensor, Tensor]:
    """Images with a bright bar, and its position as class."""
    x = torch.randint(0, 120, (count, 1, side, side), generator=seeded(seed))
    y = torch.arange(count) % kinds
    for k in range(kinds):
        x[y == k, :, 4 * k : 4 * k + 3, :] += 100
    return x.to(torch.uint8), y


def notes(run: TrainedRun) -> Any:
    return json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["notes"]


@pytest.fixture
def first(tmp_path: Path) -> TrainedRun:
    """A run with three classes, used as pretrained weights."""
    return train(classes(*bars(), 3), "lenet", out=tmp_path / "first", options=QUIET, epochs=3, batch_size=16)


# -- published -------------------------------------------------------------------------------------------------------


def test_published_weights_are_loaded_with_their_preprocessing_and_a_new_head(published: Path, tmp_path: Path) -> None:
    network, before = make_network(), make_network().body.state_dict()
    theirs = torch.load(published, weights_only=True)
    run = Run(tmp_path / "run")
    check_weights(MOBILENET, InitSettings(pretrained="published"))
    load_pretrained(MOBILENET, InitSettings(pretrained="published"), network, run)
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(tensor, before[name] if name.startswith("classifier.1") else theirs[name]), name
    assert run.notes["pretrained"]["new"] == ["classifier.1.weight", "classifier.1.bias"]
    assert published.name in run.notes["pretrained"]["from"]
    assert network.standardize.is_fixed
    red = torch.tensor([255, 128, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # of ImageNet
    expected = (torch.tensor([1, 128 / 255, 0]) - mean) / deviation
    assert torch.allclose(network.standardize(red).flatten(), expected, atol=1e-6)


def test_published_weights_are_the_default_for_few_large_images(published: Path, tmp_path: Path) -> None:
    run = train(photos(), "mobilenetv2", out=tmp_path / "run", options=QUIET, epochs=1, image_size=72)
    assert notes(run)["pretrained"]["from"] == f"the published weights {published.name}"
    stored, _ = read_tensors(run.folder / "model.safetensors")
    mean = next(tensor for name, tensor in stored.items() if name.endswith("standardize.mean"))
    assert torch.allclose(mean, 255 * torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64))
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["pretrained"] == "published"


@pytest.mark.parametrize("problem", ["missing", "cut short", "wrong hash"])
def test_missing_or_corrupted_weights_are_an_error_before_anything_is_written(
    problem: str, published: Path, tmp_path: Path
) -> None:
    content = published.read_bytes()
    if problem == "missing":
        published.unlink()
    else:
        changed = content[:-100] if problem == "cut short" else content[:-1] + bytes([content[-1] ^ 1])
        published.write_bytes(changed)
    with pytest.raises(MissingWeights) as caught:
        train(photos(), "mobilenetv2", out=tmp_path / "run", options=QUIET, epochs=1, pretrained="published")
    assert caught.value.exit_code == 4
    assert str(published) in caught.value.cause
    assert ("are not downloaded" if problem == "missing" else "is corrupted") in caught.value.cause
    assert "snellen get mobilenet_v2" in caught.value.remedy
    assert "--from-scratch" in caught.value.remedy
    assert ("Remove it" in caught.value.remedy) == (problem != "missing")
    assert not (tmp_path / "run").exists()
    run = train(
        photos(), "mobilenetv2", out=tmp_path / "run", options=QUIET, epochs=1, image_size=32, from_scratch=True
    )
    assert "pretrained" not in notes(run)


def test_the_missing_file_is_the_one_that_get_downloads(cache: Path) -> None:
    """The file named in the error is the one that `snellen get` downloads."""
    from torchvision.models import get_model_weights

    for architecture in ARCHITECTURES.values():
        if architecture.weights is None:
            with pytest.raises(UsageError, match="no published weights"):
                check_weights(architecture, InitSettings(pretrained="published"))
            continue
        if isinstance(architecture.weights, PackagedWeights):
            continue
        file = str(get_model_weights(architecture.weights).DEFAULT.url).rpartition("/")[2]
        with pytest.raises(MissingWeights, match=re.escape(file)) as caught:
            check_weights(architecture, InitSettings(pretrained="published"))
        assert f"snellen get {architecture.weights};" in caught.value.remedy


def test_without_its_default_weights_a_network_is_trained_from_scratch_and_says_so(
    published: Path, tmp_path: Path
) -> None:
    published.unlink()
    messages: list[str] = []
    progress = SimpleNamespace(message=messages.append, update=lambda *values: None)
    options = RunOptions(threads=1, report=False, progress=cast(Any, progress))
    run = train(photos(), "mobilenetv2", out=tmp_path / "run", options=options, epochs=1, image_size=32)
    (message,) = [message for message in messages if "from scratch" in message]
    assert str(published) in message
    assert 'pip install "snellen[pretrained]"' in message
    assert "pretrained" not in notes(run)
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["from_scratch"] is True
    assert str(published) in record["sources"]["from_scratch"]


def test_tensor_names_of_the_densenet_file_are_translated() -> None:
    densenet = ARCHITECTURES["densenet121"]
    with torch.device("meta"):
        own = densenet.body(make(densenet.settings, {}), (3, 224, 224), 1000).state_dict()
    theirs = [re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", name) for name in own]  # norm.1, as in the file
    assert set(theirs) != set(own)
    assert [densenet.rename_tensor(name) for name in theirs] == list(own)


def test_auxiliary_classifiers_of_the_googlenet_file_are_left_out() -> None:
    from torchvision.models import GoogLeNet

    googlenet = ARCHITECTURES["googlenet"]
    with torch.device("meta"):
        own = googlenet.body(make(googlenet.settings, {}), (3, 224, 224), 1000).state_dict()
        theirs = GoogLeNet(aux_logits=True, init_weights=False).state_dict()  # what its file holds
    assert len(theirs) > len(own)
    assert [name for name in map(googlenet.rename_tensor, theirs) if name is not None] == list(own)


def test_googlenet_weights_expect_values_from_minus_one_to_one() -> None:
    """torchvision converts ImageNet statistics to those of the weights inside its network."""
    from torchvision.models import GoogLeNet

    x = torch.rand(2, 3, 4, 4, generator=seeded())
    with torch.device("meta"):
        theirs = GoogLeNet(transform_input=True, init_weights=False)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in MOBILENET.mean_std)
    expected = theirs._transform_input((x - mean) / std)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in ARCHITECTURES["googlenet"].mean_std)
    assert torch.allclose((x - mean) / std, expected, atol=1e-6)


# -- runs and files --------------------------------------------------------------------------------------------------


def test_a_run_as_pretrained_weights_with_a_new_head(first: TrainedRun, tmp_path: Path) -> None:
    x, y = bars(40, 2, seed=8)
    x = (x / 2).to(torch.uint8)  # darker: its own statistics would differ
    run = train(
        classes(x, y, 2),
        "lenet",
        out=tmp_path / "second",
        options=QUIET,
        epochs=1,
        lr=1e-6,
        pretrained=str(first.folder),
    )
    note = notes(run)["pretrained"]
    assert note["from"] == str(first.folder)
    before, _ = read_tensors(first.folder / "model.safetensors")
    after, _ = read_tensors(run.folder / "model.safetensors")
    new = [name for name in before if before[name].shape != after[name].shape]
    assert sorted(f"network.body.{name}" for name in note["new"]) == sorted(new)
    assert len(new) == 2
    for name in before.keys() - set(new):
        assert torch.allclose(before[name], after[name], atol=1e-3), name
    assert torch.equal(before["network.standardize.mean"], after["network.standardize.mean"])


def test_a_classifier_as_pretrained_weights_of_a_regressor(first: TrainedRun, tmp_path: Path) -> None:
    x, y = bars()
    run = train(
        numbers(x, y.double()), "lenet", out=tmp_path / "numbers", options=QUIET, epochs=1, pretrained=str(first.folder)
    )
    assert len(notes(run)["pretrained"]["new"]) == 2


@pytest.mark.parametrize("form", ["run", "model.safetensors", "body.safetensors", "body.pth", "state_dict.pth"])
def test_with_the_same_number_of_classes_the_head_is_loaded_too(form: str, first: TrainedRun, tmp_path: Path) -> None:
    tensors, _ = read_tensors(first.folder / "model.safetensors")
    prefix = "network.body."
    body = {n.removeprefix(prefix): t.contiguous() for n, t in tensors.items() if n.startswith(prefix)}
    path = {"run": first.folder, "model.safetensors": first.folder / form}.get(form, tmp_path / form)
    if form == "body.safetensors":
        save_file(body, path)
    elif form == "body.pth":
        torch.save(body, path)
    elif form == "state_dict.pth":  # as saved under DataParallel
        torch.save({"state_dict": {f"module.{n}": t for n, t in body.items()}, "epoch": 3}, path)
    network = lenet()
    run = Run(tmp_path / "run")
    load_pretrained(ARCHITECTURES["lenet"], InitSettings(pretrained=str(path)), network, run)
    assert run.notes["pretrained"] == {"from": str(path), "new": []}
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(tensor, body[name])
    assert network.standardize.is_fixed == (form in ("run", "model.safetensors"))


def lenet(channels: int = 1, side: int = 14, outputs: int = 3) -> Network:
    architecture = ARCHITECTURES["lenet"]
    shape = (channels, side, side)
    body: nn.Module = architecture.body(make(architecture.settings, {}), shape, outputs)
    return Network(Standardize(Input(modality="image", shape=shape, dtype="uint8")), body)


def test_weights_that_do_not_fit_are_an_error_with_the_tensor_name(first: TrainedRun, tmp_path: Path) -> None:
    for network, name in ((lenet(channels=3), "features.0.weight"), (lenet(side=28), "weight has shape ")):
        with pytest.raises(UsageError, match=f"does not fit lenet: .*{re.escape(name)}"):
            load_pretrained(
                ARCHITECTURES["lenet"], InitSettings(pretrained=str(first.folder)), network, Run(tmp_path / "run")
            )


def test_weights_with_additional_tensors_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "deeper.pth"
    torch.save({**lenet().body.state_dict(), "features.9.weight": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match=r"deeper\.pth does not fit lenet, which has no .*features\.9\.weight"):
        load_pretrained(ARCHITECTURES["lenet"], InitSettings(pretrained=str(path)), lenet(), Run(tmp_path / "run"))


def test_a_run_of_another_architecture_is_an_error_before_anything_is_written(
    first: TrainedRun, tmp_path: Path
) -> None:
    data = classes(*bars(), 3)
    with pytest.raises(UsageError, match="is a run of lenet, not of resnet20") as caught:
        train(data, "resnet20", out=tmp_path / "run", options=QUIET, pretrained=str(first.folder))
    assert "--model lenet" in caught.value.remedy
    with pytest.raises(UsageError, match="does not exist"):
        train(data, "resnet20", out=tmp_path / "run", options=QUIET, pretrained=str(tmp_path / "nothing.pth"))
    assert not (tmp_path / "run").exists()


class Trap:
    """Object whose unpickling calls a function."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_file_with_other_objects_than_tensors_is_an_error_and_runs_no_code(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    torch.save({"features.0.weight": Trap(trap)}, tmp_path / "trap.pth")
    torch.save({"epoch": 3}, tmp_path / "more.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights at all")
    (tmp_path / "noise.safetensors").write_bytes(b"no weights at all")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("trap.pth", "more.pth", "list.pth", "noise.pth", "noise.safetensors", "empty.pth"):
        with pytest.raises(DataError, match=re.escape(name)) as caught:
            load_pretrained(
                ARCHITECTURES["lenet"], InitSettings(pretrained=str(tmp_path / name)), lenet(), Run(tmp_path / "run")
            )
        assert caught.value.remedy
    assert not trap.exists()
    with pytest.raises(SnellenError):
        train(classes(*bars(), 3), "lenet", out=tmp_path / "r", options=QUIET, pretrained=str(tmp_path / "trap.pth"))
    assert not trap.exists()


class Crashing:
    """Cross-entropy that raises an error at one of its calls."""

    def __init__(self, at: int | None) -> None:
        self.remaining = at

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        if self.remaining is not None:
            self.remaining -= 1
            if self.remaining == 0:
                raise RuntimeError("simulated crash")
        return nn.functional.cross_entropy(scores, y)


def test_resuming_a_pretrained_run_is_bit_identical_without_the_weights(first: TrainedRun, tmp_path: Path) -> None:
    data = classes(*bars(48, 2, seed=5), 2)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((first.folder / "model.safetensors").read_bytes())
    options = RunOptions(threads=1, report=False, save_every=0)
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 8, "pretrained": str(weights), "noise_std": 0.02}
    uninterrupted = train(
        data, "lenet", out=tmp_path / "uninterrupted", loss=Crashing(None), options=options, **settings
    )
    with pytest.raises(RuntimeError, match="simulated crash"):
        train(data, "lenet", out=tmp_path / "cut", loss=Crashing(9), options=options, **settings)
    weights.unlink()
    resumed = resume(tmp_path / "cut", data=data, loss=Crashing(None), options=options)
    for name in ("model.safetensors", "history.jsonl", "predictions/test.safetensors"):
        assert (resumed.folder / name).read_bytes() == (uninterrupted.folder / name).read_bytes(), name
    assert notes(resumed)["pretrained"] == notes(uninterrupted)["pretrained"]
