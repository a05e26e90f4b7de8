"""Registered learners, a small dataset of each task, and quick settings, for the contract tests."""

from __future__ import annotations

import functools
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
from snellen.api import RunOptions
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
PLACED_DATA: dict[str, Callable[[bool], Dataset[Labelled]]] = {  # of learners that read no images; whether to regress
    "sequence": scenes.sequence_dataset,
    "volume": scenes.volume_dataset,
}
QUICK_SCENES: dict[str, dict[str, Any]] = {
    **{task: {"epochs": 3, "batch_size": 8, "width": 8, "depth": 2} for task in ("segment", "dense-regress")},
    **{
        task: {"epochs": 8, "batch_size": 4, "max_proposals": 50, "rois_per_image": 32}
        for task in ("detect", "instances", "keypoints")
    },
}
# A mirror would swap the keypoints of a block, and the data does not declare this: no horizontal flip.
QUICK_SCENES["keypoints"] |= {"epochs": 24, "hflip": False}


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


@functools.cache
def sequence_dataset(regress: bool) -> Dataset[Labelled]:
    """Straight lines of 12 steps in noise; the class is rising or falling, the number the slope."""
    generator = torch.Generator().manual_seed(0)
    slope = torch.rand(300, generator=generator) * 2 - 1
    steps = torch.arange(12) / 11
    x = torch.stack([slope[:, None] * steps, (1 - slope[:, None]) * steps], dim=2)
    x = x + 0.1 * torch.randn(x.shape, generator=generator)
    target = Numbers(names=("slope",)) if regress else Classes(names=("falling", "rising"))
    truth = slope[:, None].double() if regress else (slope > 0).long()
    line = Input(modality="sequence", shape=(12, 2))
    raw = RawDataset(
        source=ArraySource(x, "line"), inputs={"x": line}, target=target, truth=truth, recognised_as="lines"
    )
    return assemble(raw, "lines", 0, None)


RunOf = Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]


def data_for(learner: Learner[Any, Any, Any]) -> Dataset[Labelled]:
    if learner.task.name in SCENES:
        if "image" in learner.accepts:
            return SCENES[learner.task.name]()
        (modality,) = learner.accepts
        return PLACED_DATA[modality](learner.task.name == "dense-regress")
    regress = learner.task.name == "regress"
    if "vector" in learner.accepts:
        return table_dataset(regress)
    if "image" not in learner.accepts:
        return sequence_dataset(regress)
    return image_dataset(regress, 16 if learner.unsupported_reason(image_dataset(regress, 16).spec) is None else 32)


def settings_for(learner: Learner[Any, Any, Any]) -> dict[str, Any]:
    if learner.name == "probe":
        return {"encoder": "resnet20", "pretrained": str(encoder_run())}
    quick = QUICK_SCENES.get(learner.task.name, QUICK)
    if learner.name in ("resnet20", "convnet"):  # after 20 steps their running statistics lag behind the weights
        quick = {**quick, "epochs": 12}
    if learner.task.name == "regress" and learner.name in ("resnet18", "lenet"):
        quick = {**quick, "epochs": 8}
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


def flatten_numbers(prediction: Any) -> list[float]:
    if isinstance(prediction, dict):
        return [n for value in prediction.values() for n in flatten_numbers(value)]
    if isinstance(prediction, list):
        return [n for value in prediction for n in flatten_numbers(value)]
    return [float(prediction)] if isinstance(prediction, int | float) else []
