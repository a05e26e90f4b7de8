"""Registered learners, a small dataset of each task, and quick settings, for the contract tests."""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import numpy as np
import pytest
import scenes
import torch
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.experience import Experience
from snellen.core.learner import Learner
from snellen.core.settings import flatten
from snellen.core.spec import Classes, Future, Input, Numbers, Preprocessing, Several
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.experience import read_inputs, samples_of
from snellen.data.open_dataset import assemble
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource
from snellen.data.synthetic.gridworld import gridworld
from snellen.tasks import LEARNERS

ALL = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, learners in LEARNERS.items()
    for name, learner in learners.items()
    if learner.in_default_ladder and (task != "joint" or name in ("baseline", "residual-mlp", "lenet"))
]  # the other networks of joint are those of classify, made by the same factory
# Networks outside the default ladder train like those in it: one step is enough to test them.
FAMILY = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, learners in LEARNERS.items()
    for name, learner in learners.items()
    if not learner.in_default_ladder
]

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "threads": 1, "episodes": 1000}

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
def grouped_dataset() -> Dataset[Labelled]:
    """Table of four columns with three groups that overlap a little; the class is the group."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(300) % 3
    x = 2 * torch.eye(4)[group] + 0.5 * torch.randn(300, 4, generator=generator)
    raw = RawDataset(
        source=ArraySource(x, "row"),
        inputs={"x": Input(modality="vector", shape=(4,))},
        target=Classes(names=("a", "b", "c")),
        truth=group,
        recognised_as="three groups",
    )
    return assemble(raw, "groups", 0, None)


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


@functools.cache
def forecast_dataset(season: int | None = None) -> Dataset[Labelled]:
    """Two sinusoids with noise, of a season if there is one, one recording of 600 steps, split in time."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(600, dtype=torch.float64)
    rates = (1 / 5, 1 / 8) if season is None else (2 * math.pi / season, 4 * math.pi / season)
    values = torch.stack([torch.sin(rates[0] * t), torch.cos(rates[1] * t)], 1)
    values = values + 0.02 * torch.randn(600, 2, generator=generator, dtype=torch.float64)
    source = RecordingWindows(values, [600], ["wave"], 10, 4)
    raw = RawDataset(
        source=source,
        inputs={"sequence": Input(modality="sequence", shape=(10, 2), dtype="float64")},
        target=Future(names=("sine", "cosine"), steps=4, season=season),
        truth=source.future(np.arange(len(source))),
        given_splits=split_in_time(source, (0.6, 0.2, 0.2)),
        recognised_as="waves",
    )
    return assemble(raw, "waves", 0, None)


@functools.cache
def clip_dataset(regress: bool) -> Dataset[Labelled]:
    """Clips of a bar in noise that moves to the left or the right on a ring; the number is its speed."""
    generator = torch.Generator().manual_seed(0)
    count, steps, side = 240, 5, 6
    x = torch.randint(0, 80, (count, steps, 1, side, side), generator=generator, dtype=torch.uint8)
    start = torch.randint(0, side, (count,), generator=generator)
    speed = 1 - 2 * (torch.arange(count) % 2)
    for step in range(steps):
        x[torch.arange(count), step, 0, :, (start + speed * step) % side] = 255
    target = Numbers(names=("speed",), units=("px",)) if regress else Classes(names=("left", "right"))
    truth = speed[:, None].double() if regress else (speed > 0).long()
    clip = Input(modality="clip", shape=(steps, 1, side, side), dtype="uint8")
    raw = RawDataset(
        source=ArraySource(x, "clip"), inputs={"clip": clip}, target=target, truth=truth, recognised_as="moving bars"
    )
    return assemble(raw, "moving-bars", 0, None)


@functools.cache
def points_dataset(regress: bool) -> Dataset[Labelled]:
    """Clouds of 24 points of ellipsoids in any position; the class is flat or round, the number the height."""
    generator = torch.Generator().manual_seed(0)
    height = torch.rand(300, generator=generator) * 0.8 + 0.2
    x = torch.nn.functional.normalize(torch.randn(300, 24, 3, generator=generator), dim=2)
    x = x * torch.stack([torch.ones(300), torch.ones(300), height], 1)[:, None]
    x = x + torch.randn(300, 1, 3, generator=generator)
    target = Numbers(names=("height",)) if regress else Classes(names=("flat", "round"))
    truth = height[:, None].double() if regress else (height > 0.6).long()
    cloud = Input(modality="points", shape=(24, 3))
    raw = RawDataset(
        source=ArraySource(x, "cloud"), inputs={"x": cloud}, target=target, truth=truth, recognised_as="ellipsoids"
    )
    return assemble(raw, "ellipsoids", 0, None)


@functools.cache
def small_world() -> Experience:
    """The deterministic gridworld, with few episodes."""
    return gridworld(sizes={"train": 500, "val": 60, "test": 100})


def with_both_targets(classes: Dataset[Labelled], numbers: Dataset[Labelled]) -> Dataset[Labelled]:
    """The same samples with a class and a number each."""
    assert isinstance(classes.spec.target, Classes)
    parts = {"kind": Classes(names=classes.spec.target.names), "size": Numbers(names=("size",))}
    raw = RawDataset(
        source=classes.source,
        inputs=classes.spec.inputs,
        target=Several(parts=parts),
        truth=torch.cat([classes.truth[:, None].double(), numbers.truth], 1),
        recognised_as="both",
    )
    return assemble(raw, "both", 0, None)


@functools.cache
def two_input_dataset(regress: bool) -> Dataset[Labelled]:
    """An image and a row, both of the same class or number; one of them is missing in a tenth of the samples."""
    images, rows = image_dataset(regress, 16), sequence_dataset(regress)
    count = len(images)
    order = torch.argsort(images.truth.flatten()), torch.argsort(rows.truth[:count].flatten())
    paired = torch.empty(count, dtype=torch.int64)
    paired[order[0]] = order[1]  # samples of one rank: a long bar and a steep line
    row = ArraySource(rows.source.read(paired.numpy(), Preprocessing())[:, -1], "row")
    positions = {"picture": np.arange(count), "row": np.arange(count)}
    positions["picture"][::20] = -1
    positions["row"][10::20] = -1
    image, line = images.spec.inputs["image"], Input(modality="vector", shape=(2,), optional=True)
    raw = RawDataset(
        source=SeveralInputs({"picture": images.source, "row": row}, positions, [f"sample {k}" for k in range(count)]),
        inputs={"picture": dataclasses.replace(image, optional=True), "row": line},
        target=Numbers(names=("length",)) if regress else Classes(names=("wide", "tall")),
        truth=images.truth,
        recognised_as="two inputs",
    )
    return assemble(raw, "two", 0, None)


def audio_dataset(regress: bool) -> Dataset[Labelled]:
    """Tones of several lengths in noise; the class is low or high, the number the frequency."""
    generator = torch.Generator().manual_seed(0)
    count, rate, longest = 240, 2000, 400
    frequency = 100 + 600 * torch.rand(count, generator=generator)
    phase = 2 * torch.pi * torch.rand(count, 1, generator=generator)
    x = torch.sin(2 * torch.pi * frequency[:, None] * torch.arange(longest) / rate + phase)
    x = x + 0.1 * torch.randn(x.shape, generator=generator)
    lengths = torch.randint(longest // 2, longest + 1, (count, 1), generator=generator)
    x = torch.where(torch.arange(longest) < lengths, x, torch.nan)[:, None]
    target = Numbers(names=("frequency",), units=("Hz",)) if regress else Classes(names=("low", "high"))
    truth = frequency[:, None].double() if regress else (frequency > 400).long()
    tone = Input(modality="audio", shape=(1, None), rate=rate)
    raw = RawDataset(
        source=ArraySource(x, "tone"), inputs={"audio": tone}, target=target, truth=truth, recognised_as="tones"
    )
    return assemble(raw, "tones", 0, None)


RunOf = Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]


def data_for(learner: Learner[Any, Any, Any]) -> Experience:
    if "world" in learner.accepts:
        return small_world()
    if learner.task.name in SCENES:
        if "image" in learner.accepts:
            return SCENES[learner.task.name]()
        (modality,) = learner.accepts
        return PLACED_DATA[modality](learner.task.name == "dense-regress")
    if learner.task.name == "forecast":
        return forecast_dataset(8 if learner.name == "seasonal-naive" else None)
    if learner.task.name == "joint":
        return with_both_targets(*(_data_for(learner, regress) for regress in (False, True)))
    if learner.task.name == "generate":  # the columns of the table are independent, as the baseline says
        return image_dataset(False, 16)
    if learner.task.name == "cluster":
        return grouped_dataset()
    return _data_for(learner, learner.task.name == "regress")


def _data_for(learner: Learner[Any, Any, Any], regress: bool) -> Dataset[Labelled]:
    if learner.several_inputs:
        return two_input_dataset(regress)
    if "vector" in learner.accepts:
        return table_dataset(regress)
    kinds = {"clip": clip_dataset, "sequence": sequence_dataset, "points": points_dataset}
    for modality, data in kinds.items():
        if modality in learner.accepts:
            return data(regress)
    if "image" not in learner.accepts:
        return audio_dataset(regress)
    return image_dataset(regress, 16 if learner.unsupported_reason(image_dataset(regress, 16).spec) is None else 32)


def settings_for(learner: Learner[Any, Any, Any]) -> dict[str, Any]:
    if learner.name == "probe":
        return {"encoder": "resnet20", "pretrained": str(encoder_run())}
    quick = QUICK_SCENES.get(learner.task.name, QUICK)
    if learner.name in ("resnet20", "convnet", "pointnet"):  # running statistics lag behind the weights at first
        quick = {**quick, "epochs": 12}
    if learner.task.name == "regress" and learner.name in ("resnet18", "lenet"):
        quick = {**quick, "epochs": 8}
    return {s.name: quick[s.name] for s in flatten(learner.settings) if s.name in quick}


def first_inputs(learner: Learner[Any, Any, Any], count: int) -> Tensor:
    """First inputs of the test split, (B, ...), after preprocessing."""
    data = data_for(learner)
    samples = samples_of(data)
    if samples is None:
        return read_inputs(data, data.splits["test"][:count], data.preprocessing)
    if samples.annotations is None:
        return samples.samples("test").take(torch.arange(count)).x
    return torch.stack([scene.image for scene in samples.scenes("test").take(range(min(count, 8)))])


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
