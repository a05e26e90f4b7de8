"""What every registered learner must do, on a small set of its task: tested by being registered."""

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
from snellen.api import RunOptions, refusal
from snellen.core import files
from snellen.core.learner import Learner
from snellen.core.settings import flat
from snellen.core.spec import Classes, Input, Numbers
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import Array
from snellen.tasks import LEARNERS

ALL = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, known in LEARNERS.items()
    for name, learner in known.items()
    if learner.in_default_ladder
]
# The networks that do not climb learn in the same way as those that do: a step is enough to see them whole.
FAMILY = [
    pytest.param(learner, id=f"{task}-{name}")
    for task, known in LEARNERS.items()
    for name, learner in known.items()
    if not learner.in_default_ladder
]

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 32, "threads": 1}

# Tasks whose truth is told of places in a picture: the scenes that their learners learn from, and how.
SCENES: dict[str, Callable[[], Dataset[Labelled]]] = {
    "segment": scenes.segmented,
    "dense-regress": scenes.measured,
    "detect": blocks.boxes,
    "instances": blocks.masked,
    "keypoints": blocks.posed,
}
QUICK_SCENES: dict[str, dict[str, Any]] = {
    **{task: {"epochs": 1, "batch_size": 8, "width": 8, "depth": 2} for task in ("segment", "dense-regress")},
    **{
        task: {"epochs": 8, "batch_size": 4, "max_proposals": 50, "rois_per_image": 32}
        for task in ("detect", "instances", "keypoints")
    },
}
# Which end of a block is the near one would be the other in a mirror, and the data does not say so: unmirrored.
QUICK_SCENES["keypoints"] |= {"epochs": 16, "hflip": False}


@functools.cache
def pictures(regress: bool, side: int) -> Dataset[Labelled]:
    """A bright bar somewhere in noise: is it wide or tall, and how long is it? The same in a mirror."""
    drawn = torch.Generator().manual_seed(0)
    count = 240
    x = torch.randint(0, 80, (count, 1, side, side), generator=drawn, dtype=torch.uint8)
    tall = torch.randint(0, 2, (count,), generator=drawn)
    length = torch.randint(6, 13, (count,), generator=drawn)
    place = torch.randint(0, 3, (count, 2), generator=drawn)
    for k, (down, right) in enumerate(place.tolist()):
        height, width = (int(length[k]), 3) if tall[k] else (3, int(length[k]))
        x[k, :, down + 1 : down + 1 + height, right + 1 : right + 1 + width] = 255
    target = Numbers(names=("length",), units=("px",)) if regress else Classes(names=("wide", "tall"))
    truth = length[:, None].double() if regress else tall
    image = Input(modality="image", shape=(1, side, side), dtype="uint8")
    draft = RawDataset(
        source=Array(x, "picture"), inputs={"image": image}, target=target, truth=truth, recognised_as="bars"
    )
    return assemble(draft, "bars", 0, None)


@functools.cache
def vectors(regress: bool) -> Dataset[Labelled]:
    """Two columns; the class is the side of a line, the number a plane, both with a little noise."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=drawn)
    height = 3 * x[:, 0] - 2 * x[:, 1] + 0.1 * torch.randn(300, generator=drawn)
    target = Numbers(names=("height",), units=("m",)) if regress else Classes(names=("below", "above"))
    truth = height[:, None].double() if regress else (height > 0).long()
    plane = Input(modality="vector", shape=(2,))
    draft = RawDataset(source=Array(x, "row"), inputs={"x": plane}, target=target, truth=truth, recognised_as="a line")
    return assemble(draft, "line", 0, None)


def data_for(learner: Learner[Any, Any, Any]) -> Dataset[Labelled]:
    if learner.task.name in SCENES:
        return SCENES[learner.task.name]()
    regress = learner.task.name == "regress"
    if "vector" in learner.accepts:
        return vectors(regress)
    return pictures(regress, 16 if learner.unsupported_reason(pictures(regress, 16).spec) is None else 32)


def settings_for(learner: Learner[Any, Any, Any]) -> dict[str, Any]:
    if learner.name == "probe":
        return {"encoder": "resnet20", "pretrained": str(encoder())}
    quick = QUICK_SCENES.get(learner.task.name, QUICK)
    return {s.name: quick[s.name] for s in flat(learner.settings) if s.name in quick}


def asked_of(learner: Learner[Any, Any, Any], count: int) -> Tensor:
    """(B, ...) the first inputs of the test split, as the learner reads them."""
    data = data_for(learner)
    if data.annotations is None:
        return data.samples("test").take(torch.arange(count)).x
    return torch.stack([scene.image for scene in data.scenes("test").take(range(min(count, 8)))])


@functools.cache
def encoder() -> Path:
    """A run that the probe can look through."""
    folder = Path(tempfile.mkdtemp(), "encoder")
    return trained(LEARNERS["classify"]["resnet20"], folder, report=False).folder


def trained(learner: Learner[Any, Any, Any], out: Path, brief: bool = False, **more: Any) -> snellen.TrainedRun:
    """A training; a brief one where only its bits matter."""
    options, settings = RunOptions(threads=1, **more), settings_for(learner)
    if brief and learner.task.name in SCENES and "epochs" in settings:
        settings["epochs"] = min(settings["epochs"], 2)
    return snellen.train(data_for(learner), learner, out=out, options=options, **settings)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]:
    """The first training of each learner, which several tests look at and none changes."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        return trained(LEARNERS[task][name], tmp_path_factory.mktemp("contract") / f"{task}-{name}")

    return lambda learner: once(learner.task.name, learner.name)


First = Callable[[Learner[Any, Any, Any]], snellen.TrainedRun]


@pytest.fixture(scope="module")
def brief(first: First, tmp_path_factory: pytest.TempPathFactory) -> First:
    """A brief training of each learner, whose bits another is to have: the first one, where that was brief."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        learner = LEARNERS[task][name]
        if learner.task.name not in SCENES or settings_for(learner).get("epochs", 0) <= 2:
            return first(learner)
        return trained(learner, tmp_path_factory.mktemp("brief") / f"{task}-{name}", brief=True, report=False)

    return lambda learner: once(learner.task.name, learner.name)


@pytest.mark.parametrize("learner", ALL)
def test_it_learns_and_beats_the_baseline(learner: Learner[Any, Any, Any], first: First, tmp_path: Path) -> None:
    run = first(learner)
    headline = run.metrics[run.headline]
    assert headline.value is not None
    simplest = snellen.train(
        data_for(learner),
        LEARNERS[learner.task.name]["baseline"],
        out=tmp_path / "same",
        options=RunOptions(threads=1, report=False),
    ).metrics[run.headline]
    assert simplest.value is not None
    gain = headline.value - simplest.value if headline.higher_is_better else simplest.value - headline.value
    assert gain == 0 if learner.name == "baseline" else gain > 0


@pytest.mark.parametrize("learner", ALL)
def test_the_same_seed_gives_the_same_bits(learner: Learner[Any, Any, Any], brief: First, tmp_path: Path) -> None:
    before = brief(learner).folder
    trained(learner, tmp_path / "again", brief=True, report=False)
    assert weights(before) == weights(tmp_path / "again")
    one, other = (folder / "history.jsonl" for folder in (before, tmp_path / "again"))
    assert one.exists() == other.exists()
    assert not one.exists() or one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("learner", ALL)
def test_it_reloads_to_the_same_answers(learner: Learner[Any, Any, Any], first: First) -> None:
    run = first(learner)
    again = snellen.load(run.folder)
    x = asked_of(learner, 20)
    assert run.ask(x) == again.ask(x)
    assert again.metrics == run.metrics


@pytest.mark.parametrize("learner", ALL)
def test_one_by_one_it_says_what_it_says_of_a_batch(learner: Learner[Any, Any, Any], first: First) -> None:
    run = first(learner)
    x = asked_of(learner, 20)
    together = run.ask(x)
    alone = [run.ask(x[k : k + 1])[0] for k in range(len(x))]
    for one, other in zip(together, alone, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-4, abs=1e-5)


def numbers(answer: Any) -> list[float]:
    if isinstance(answer, dict):
        return [n for value in answer.values() for n in numbers(value)]
    if isinstance(answer, list):
        return [n for value in answer for n in numbers(value)]
    return [float(answer)] if isinstance(answer, int | float) else []


@pytest.mark.parametrize("learner", ALL)
def test_it_resumes_to_the_same_bits(
    learner: Learner[Any, Any, Any], brief: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = brief(learner).folder
    if not (whole / "state").exists():
        assert not any(whole.glob("history.jsonl"))  # a closed form has no steps to resume
        return
    saves = 0
    original: Callable[..., str] = files.write_tensors

    def stop_at_the_third(path: Path, *arguments: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 4:
            raise KeyboardInterrupt
        return original(path, *arguments)

    monkeypatch.setattr(files, "write_tensors", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        trained(learner, tmp_path / "cut", brief=True, save_every=0.0)
    monkeypatch.undo()
    torch.set_num_threads(1)
    snellen.resume(tmp_path / "cut", data=data_for(learner), options=RunOptions(threads=1, report=False))
    assert weights(whole) == weights(tmp_path / "cut")
    assert (whole / "history.jsonl").read_bytes() == (tmp_path / "cut" / "history.jsonl").read_bytes()


@pytest.mark.parametrize("learner", ALL)
def test_its_metrics_are_strict_json_with_intervals(learner: Learner[Any, Any, Any], first: First) -> None:
    run = first(learner)
    plain = json.loads((run.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    headline = plain["splits"]["test"][run.headline]
    assert headline["low"] <= headline["value"] <= headline["high"]
    for name, metric in plain["splits"]["test"].items():
        assert (metric["value"] is None) == bool(metric["reason"]), name


@pytest.mark.parametrize("learner", FAMILY)
def test_another_of_a_family_learns_a_step_and_reloads(learner: Learner[Any, Any, Any], tmp_path: Path) -> None:
    data = data_for(learner)
    few = dataclasses.replace(data, splits={name: ids[:8] for name, ids in data.splits.items()})
    run = snellen.train(
        few, learner, out=tmp_path, options=RunOptions(threads=1, report=False), epochs=1, batch_size=8, lr=1e-3
    )
    x = asked_of(learner, 4)
    assert snellen.load(tmp_path).ask(x) == run.ask(x)


@pytest.mark.parametrize("learner", ALL + FAMILY)
def test_it_says_what_it_is(learner: Learner[Any, Any, Any]) -> None:
    assert learner.summary.endswith(".")
    assert learner.source
    assert LEARNERS[learner.task.name][learner.name] is learner
    assert all(because.why for because in learner.suggest(data_for(learner).spec).values())
    assert refusal(learner, data_for(learner).spec) is None
