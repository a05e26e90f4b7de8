"""Contract of all registered learners, on a small dataset of each task."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import pytest
import scenes
import torch
from torch import Tensor

import snellen
from snellen.api import RunOptions, unsupported_reason
from snellen.core import file_io
from snellen.core.learner import Learner
from snellen.core.settings import flatten
from snellen.core.spec import Classes, Input, Numbers
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.tasks import LEARNERS

ALL = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, learners in LEARNERS.items()
    for name, learner in learners.items()
    if learner.in_default_ladder
]
# Networks outside the default ladder train like those in it: one step is enough to test them.
FAMILY = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, learners in LEARNERS.items()
    for name, learner in learners.items()
    if not learner.in_default_ladder
]

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "threads": 1}

# Datasets of the tasks whose ground truth is located in the image.
SCENES: dict[str, Callable[[], Dataset[Labelled]]] = {
    "segment": scenes.segmentation_dataset,
    "dense-regress": scenes.depth_dataset,
    "detect": blocks.box_dataset,
    "instances": blocks.mask_dataset,
    "keypoints": blocks.keypoint_dataset,
}
QUICK_SCENES: dict[str, dict[str, Any]] = {
    **{task: {"epochs": 1, "batch_size": 8, "width": 8, "depth": 2} for task in ("segment", "dense-regress")},
    **{
        task: {"epochs": 8, "batch_size": 4, "max_proposals": 50, "rois_per_image": 32}
        for task in ("detect", "instances", "keypoints")
    },
}
# A mirror would swap the keypoints of a block, and the data does not declare this: no horizontal flip.
QUICK_SCENES["keypoints"] |= {"epochs": 16, "hflip": False}


@functools.cache
def image_dataset(regress: bool, side: int) -> Dataset[Labelled]:
    """Images of a bright bar in noise; the class is wide or tall, the number its length. Invariant to a mirror."""
    generator = torch.Generator().manual_seed(0)
    count = 240
    x = torch.randint(0, 80, (count, 1, side, side), generator=generator, dtype=torch.uint8)
    tall = torch.randint(0, 2, (count,), generator=generator)
    length = torch.randint(6, 13, (count,), generator=generator)
    position = torch.randint(0, 3, (count, 2), generator=generator)
    for k, (down, right) in enumerate(position.tolist()):
        height, width = (int(length[k]), 3) if tall[k] else (3, int(length[k]))
        x[k, :, down + 1 : down + 1 + height, right + 1 : right + 1 + width] = 255
    target = Numbers(names=("length",), units=("px",)) if regress else Classes(names=("wide", "tall"))
    truth = length[:, None].double() if regress else tall
    image = Input(modality="image", shape=(1, side, side), dtype="uint8")
    raw = RawDataset(
        source=ArraySource(x, "picture"), inputs={"image": image}, target=target, truth=truth, recognised_as="bars"
    )
    return assemble(raw, "bars", 0, None)


@functools.cache
def table_dataset(regress: bool) -> Dataset[Labelled]:
    """Table of two columns; the class is the side of a line, the number a plane, both with noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=generator)
    height = 3 * x[:, 0] - 2 * x[:, 1] + 0.1 * torch.randn(300, generator=generator)
    target = Numbers(names=("height",), units=("m",)) if regress else Classes(names=("below", "above"))
    truth = height[:, None].double() if regress else (height > 0).long()
    plane = Input(modality="vector", shape=(2,))
    raw = RawDataset(
        source=ArraySource(x, "row"), inputs={"x": plane}, target=target, truth=truth, recognised_as="a line"
    )
    return assemble(raw, "line", 0, None)


def data_for(learner: Learner[Any, Any, Any]) -> Dataset[Labelled]:
    if learner.task.name in SCENES:
        return SCENES[learner.task.name]()
    regress = learner.task.name == "regress"
    if "vector" in learner.accepts:
        return table_dataset(regress)
    return image_dataset(regress, 16 if learner.unsupported_reason(image_dataset(regress, 16).spec) is None else 32)


def settings_for(learner: Learner[Any, Any, Any]) -> dict[str, Any]:
    if learner.name == "probe":
        return {"encoder": "resnet20", "pretrained": str(encoder_run())}
    quick = QUICK_SCENES.get(learner.task.name, QUICK)
    return {s.name: quick[s.name] for s in flatten(learner.settings) if s.name in quick}


def first_inputs(learner: Learner[Any, Any, Any], count: int) -> Tensor:
    """First inputs of the test split, (B, ...), after preprocessing."""
    data = data_for(learner)
    if data.annotations is None:
        return data.samples("test").take(torch.arange(count)).x
    return torch.stack([scene.image for scene in data.scenes("test").take(range(min(count, 8)))])


@functools.cache
def encoder_run() -> Path:
    """Folder of a run whose network is the encoder of the probe."""
    folder = Path(tempfile.mkdtemp(), "encoder")
    return trained(LEARNERS["classify"]["resnet20"], folder, report=False).folder


def trained(learner: Learner[Any, Any, Any], out: Path, short: bool = False, **run_options: Any) -> snellen.TrainedRun:
    """Train a learner; `short` where only bit-identity is tested."""
    options, settings = RunOptions(threads=1, **run_options), settings_for(learner)
    if short and learner.task.name in SCENES and "epochs" in settings:
        settings["epochs"] = min(settings["epochs"], 2)
    return snellen.train(data_for(learner), learner, out=out, options=options, **settings)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def first_run(
    tmp_path_factory: pytest.TempPathFactory, training_seed: int
) -> Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]:
    """First run of each learner, shared by several tests."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        return trained(LEARNERS[task][name], tmp_path_factory.mktemp("contract") / f"{task}-{name}")

    return lambda learner: once(learner.task.name, learner.name)


RunOf = Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]


@pytest.fixture(scope="module")
def brief_run(first_run: RunOf, tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """Short run of each learner, for comparison of bits; the first run where that is short."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        learner = LEARNERS[task][name]
        if learner.task.name not in SCENES or settings_for(learner).get("epochs", 0) <= 2:
            return first_run(learner)
        return trained(learner, tmp_path_factory.mktemp("brief") / f"{task}-{name}", short=True, report=False)

    return lambda learner: once(learner.task.name, learner.name)


@pytest.mark.learning
@pytest.mark.parametrize("learner", ALL)
def test_a_learner_beats_the_baseline(
    learner: Learner[Any, Any, Any], first_run: RunOf, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    run = first_run(learner)
    headline = run.metrics[run.headline]
    assert headline.value is not None
    baseline = snellen.train(
        data_for(learner),
        LEARNERS[learner.task.name]["baseline"],
        out=tmp_path / "same",
        options=RunOptions(threads=1, report=False),
    ).metrics[run.headline]
    assert baseline.value is not None
    gain = headline.value - baseline.value if headline.higher_is_better else baseline.value - headline.value
    if learner.name == "baseline":
        assert gain == 0
    else:
        assert_score(gain, above=0)


@pytest.mark.parametrize("learner", ALL)
def test_the_same_seed_is_bit_identical(learner: Learner[Any, Any, Any], brief_run: RunOf, tmp_path: Path) -> None:
    before = brief_run(learner).folder
    trained(learner, tmp_path / "again", short=True, report=False)
    assert weights(before) == weights(tmp_path / "again")
    left, right = (folder / "history.jsonl" for folder in (before, tmp_path / "again"))
    assert left.exists() == right.exists()
    assert not left.exists() or left.read_bytes() == right.read_bytes()


@pytest.mark.parametrize("learner", ALL)
def test_a_loaded_run_gives_the_same_predictions(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    again = snellen.load(run.folder)
    x = first_inputs(learner, 20)
    assert run.predict_batch(x) == again.predict_batch(x)
    assert again.metrics == run.metrics


@pytest.mark.parametrize("learner", ALL)
def test_predictions_do_not_depend_on_the_batch(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    x = first_inputs(learner, 20)
    batched = run.predict_batch(x)
    single = [run.predict_batch(x[k : k + 1])[0] for k in range(len(x))]
    for left, right in zip(batched, single, strict=True):
        assert flatten_numbers(left) == pytest.approx(flatten_numbers(right), rel=1e-4, abs=1e-5)


def flatten_numbers(prediction: Any) -> list[float]:
    if isinstance(prediction, dict):
        return [n for value in prediction.values() for n in flatten_numbers(value)]
    if isinstance(prediction, list):
        return [n for value in prediction for n in flatten_numbers(value)]
    return [float(prediction)] if isinstance(prediction, int | float) else []


@pytest.mark.parametrize("learner", ALL)
def test_resuming_is_bit_identical(
    learner: Learner[Any, Any, Any], brief_run: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = brief_run(learner).folder
    if not (uninterrupted / "state").exists():
        assert not any(uninterrupted.glob("history.jsonl"))  # a closed form has no steps to resume
        return
    saves = 0
    write_tensors: Callable[..., str] = file_io.write_tensors

    def stop_at_the_fourth(path: Path, *arguments: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 4:
            raise KeyboardInterrupt
        return write_tensors(path, *arguments)

    monkeypatch.setattr(file_io, "write_tensors", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        trained(learner, tmp_path / "cut", short=True, save_every=0.0)
    monkeypatch.undo()
    torch.set_num_threads(1)
    snellen.resume(tmp_path / "cut", data=data_for(learner), options=RunOptions(threads=1, report=False))
    assert weights(uninterrupted) == weights(tmp_path / "cut")
    assert (uninterrupted / "history.jsonl").read_bytes() == (tmp_path / "cut" / "history.jsonl").read_bytes()


@pytest.mark.parametrize("learner", ALL)
def test_metrics_are_strict_json_with_intervals(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    plain = json.loads((run.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    headline = plain["splits"]["test"][run.headline]
    assert headline["low"] <= headline["value"] <= headline["high"]
    for name, metric in plain["splits"]["test"].items():
        if metric["value"] is None:
            assert metric["reason"], name
        elif metric["reason"]:  # of a value: why it has no interval
            assert metric["low"] == metric["high"], name


@pytest.mark.parametrize("learner", FAMILY)
def test_a_network_outside_the_ladder_trains_one_step_and_loads(
    learner: Learner[Any, Any, Any], tmp_path: Path
) -> None:
    data = data_for(learner)
    small = dataclasses.replace(data, splits={name: ids[:8] for name, ids in data.splits.items()})
    run = snellen.train(
        small, learner, out=tmp_path, options=RunOptions(threads=1, report=False), epochs=1, batch_size=8, lr=1e-3
    )
    x = first_inputs(learner, 4)
    assert snellen.load(tmp_path).predict_batch(x) == run.predict_batch(x)


@pytest.mark.parametrize("learner", ALL + FAMILY)
def test_a_learner_has_a_summary_and_a_source(learner: Learner[Any, Any, Any]) -> None:
    assert learner.summary.endswith(".")
    assert learner.source
    assert LEARNERS[learner.task.name][learner.name] is learner
    assert all(suggestion.reason for suggestion in learner.suggest(data_for(learner).spec).values())
    assert unsupported_reason(learner, data_for(learner).spec) is None
