"""Small trainings of each family of learners, for tests of kills, faults and signals with bit-identical results."""

from __future__ import annotations

import dataclasses
import math
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snellen import api
from snellen.api import RunOptions, TrainedRun
from snellen.core import file_io
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Input, Spec
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.flat_sequences import sequence_source
from snellen.data.formats import OpenOptions
from snellen.data.formats.recording_splits import Recording
from snellen.data.formats.recordings import windows_of
from snellen.data.formats.recordings_read import RecordingsRead
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ClassificationNetwork
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import subset

sys.path.append(str(Path(__file__).parents[1]))  # for scenes and blocks, also in a script


def pictures(count: int = 150, side: int = 12, seed: int = 3) -> Dataset[Labelled]:
    """Images with a vertical, a horizontal or no bright bar; in memory, so that they cannot be reopened."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 160, (count, 1, side, side), generator=generator)
    y = torch.arange(count) % 3
    x[y == 0, :, :, 4:7] += 90
    x[y == 1, :, 4:7, :] += 90
    raw = RawDataset(
        source=ArraySource(x.to(torch.uint8), "bar"),
        truth=y,
        recognised_as="bars",
        inputs={"image": Input(modality="image", shape=(1, side, side), dtype="uint8")},
        target=Classes(names=("upright", "lying", "none")),
    )
    return assemble(raw, "bars", seed, None)


def ragged_sequences(count: int = 96, seed: int = 4) -> Dataset[Labelled]:
    """Random walks of 3 to 30 steps, drifting up or down; batches are made of similar lengths."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    parts = [
        torch.from_numpy((rng.normal(size=(n, 2)) + k - 0.5).cumsum(0))
        for n, k in zip(rng.integers(3, 31, count), y, strict=True)
    ]
    raw = RawDataset(
        source=sequence_source([part.float() for part in parts], "walk"),
        truth=torch.from_numpy(y),
        recognised_as="walks",
        inputs={"sequence": Input(modality="sequence", shape=(None, 2))},
        target=Classes(names=("down", "up")),
    )
    return assemble(raw, "walks", seed, None)


def recorded_waves(seed: int = 5) -> Dataset[Labelled]:
    """Windows of eight recordings of two waves in noise, to forecast."""
    rng = np.random.default_rng(seed)
    t = np.arange(60)[:, None]
    recordings = [
        Recording(
            name=f"wave {k}", split=None, values=np.sin(t / (3 + k) + [0.0, 1.0]) + 0.1 * rng.normal(size=(60, 2))
        )
        for k in range(8)
    ]
    read = RecordingsRead(recordings=recordings, names=("a", "b"), description="waves", files=8)
    return assemble(windows_of("waves", read, OpenOptions(window=6, horizon=3, stride=4)), "waves", seed, None)


def tones(count: int = 36, seed: int = 6) -> Dataset[Labelled]:
    """Sounds of 400 to 800 samples of two pitches, in memory, NaN after their ends."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = np.sin(np.arange(800) * (0.2 + 0.3 * y[:, None])) + 0.3 * rng.normal(size=(count, 800))
    x[np.arange(800) >= rng.integers(400, 801, (count, 1))] = np.nan
    raw = RawDataset(
        source=ArraySource(torch.from_numpy(x[:, None]).float(), "tone"),
        truth=torch.from_numpy(y),
        recognised_as="tones",
        inputs={"audio": Input(modality="audio", shape=(1, None), rate=2000)},
        target=Classes(names=("low", "high")),
    )
    return assemble(raw, "tones", seed, None)


class SmallConvNet(nn.Module):
    """Convolutional network with batch normalisation (state) and dropout (random numbers)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(200, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def smoothed_cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Custom loss: cross-entropy with label smoothing."""
    return nn.functional.cross_entropy(scores, y, label_smoothing=0.1)


@settings
class LoopSettings:
    """Settings of the custom learner."""

    rounds: int = 14
    """Steps of each loop."""


class ClassTally:
    """Custom state with values that JSON lacks: integer keys, tuples and infinities."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.lowest = (math.inf, -1)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "lowest": self.lowest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.lowest = state["seen"], state["lowest"]


def build(c: LoopSettings, spec: Spec) -> ClassificationNetwork:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 3))
    return ClassificationNetwork(Network(Standardize(spec.input), layers))


def fit(c: LoopSettings, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
    """Two loops with random numbers of every generator and rows in and between them; values computed once."""
    train = data.samples("train", run.device)
    model.to(run.device)
    model.network.standardize.fit(subset(train).x)
    nn.init.normal_(model.network.body[1].weight, std=0.05 + 0.05 * float(torch.rand(())))
    scale = run.once("scale", lambda: torch.rand(3) + np.random.rand() + random.random())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    tally = ClassTally()
    run.keep(model=model, optimizer=optimizer, tally=tally)
    run.log(before=torch.rand(()))

    def step_on(step: int, noise: float) -> Tensor:
        batch = train.take(torch.randint(len(train), (16,)))
        for y in batch.y.tolist():
            tally.seen[y] = tally.seen.get(y, 0) + 1
        x = batch.x.float() + noise * torch.from_numpy(np.random.normal(size=batch.x.shape)).float()
        loss = nn.functional.cross_entropy(model(x) * scale, batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tally.lowest = min(tally.lowest, (float(loss.detach()), step))
        return loss

    for step in run.steps(c.rounds, "loud"):
        run.log(loss=step_on(step, 40 * random.random()), lowest=tally.lowest[0])
    run.log(drawn=torch.rand(()), numpy=np.random.rand(), python=random.random())
    pause = run.once("pause", lambda: {"length": random.randint(2, 5), "at": (np.random.rand(), math.inf)})
    for step in run.steps(c.rounds, "quiet"):
        run.log(loss=step_on(step, pause["at"][0]))
        if step == c.rounds - pause["length"]:
            run.end_loop()
    run.log(seen=tally.seen.get(0, 0), after=torch.rand(()))


OWN = Learner[LoopSettings, Dataset[Labelled], ClassificationNetwork](
    name="own-loop",
    summary="A custom training loop.",
    source="the user",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=LoopSettings,
    build=build,
    fit=fit,
)


def run_options(overrides: Mapping[str, Any]) -> RunOptions:
    """Options with one thread, a checkpoint after every step and no report."""
    return RunOptions(**{"threads": 1, "save_every": 0, "report": False, **overrides})


class Family(NamedTuple):
    """Model, data and settings of a training. `data`: a name, or a function that makes it in memory."""

    data: str | Callable[[], Dataset[Labelled]]
    model: Any
    settings: Mapping[str, Any]
    loss: Any = None

    def train(self, folder: Path, seed: int = 0, **options: Any) -> TrainedRun:
        data = self.data if isinstance(self.data, str) else self.data()
        return api.train(
            data, self.model, out=folder, seed=seed, loss=self.loss, options=run_options(options), **self.settings
        )

    def resume(self, folder: Path, **options: Any) -> TrainedRun:
        learner = None if isinstance(self.model, str) else self.model
        data = None if isinstance(self.data, str) else self.data()
        return api.resume(folder, learner=learner, data=data, loss=self.loss, options=run_options(options))

    def load(self, folder: Path) -> TrainedRun:
        return api.load(folder, learner=None if isinstance(self.model, str) else self.model)


def limit_samples(data: Dataset[Labelled], train: int, others: int) -> Dataset[Labelled]:
    """Dataset with the first `train` training samples and the first `others` of each other split."""
    sizes = {"train": train, "val": others, "test": others}
    return dataclasses.replace(data, splits={name: ids[: sizes[name]] for name, ids in data.splits.items()})


def segmentation_images() -> Dataset[Labelled]:
    import scenes

    return limit_samples(scenes.segmentation_dataset(), 12, 3)


def box_images() -> Dataset[Labelled]:
    import blocks

    return limit_samples(blocks.box_dataset(), 8, 2)


def own_module() -> nn.Module:
    """Custom module with fixed initial weights, built again in each process."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return SmallConvNet()


FAMILIES: dict[str, Family] = {
    "baseline": Family("digits", "baseline", {}),
    "perceptron": Family("digits", "perceptron", {"epochs": 8}),
    "softmax": Family("digits", "softmax", {"epochs": 2, "batch_size": 64, "optimizer": "adagrad", "lr": None}),
    "mlp": Family(
        "digits",
        "mlp",
        {
            "epochs": 4,
            "hidden": (24, 12),
            "dropout": 0.2,
            "optimizer": "nesterov",
            "lr": 0.05,
            "batch_size": 64,
            "ema_decay": 0.8,
            "patience": 3,
            "grad_accum_steps": 2,
            "clip_grad": 1.0,
            "weight_decay": 1e-3,
        },
    ),
    "lenet": Family(
        pictures, "lenet", {"epochs": 4, "batch_size": 16, "optimizer": "adam", "hflip": True, "noise_std": 0.02}
    ),
    "own module": Family(
        pictures,
        own_module(),
        {
            "epochs": 4,
            "batch_size": 16,
            "optimizer": "adamw",
            "ema_decay": 0.7,
            "sampling": "balanced",
            "schedule": "cosine",
            "lr": 0.01,
        },
        smoothed_cross_entropy,
    ),
    "own loop": Family(pictures, OWN, {}),
    "unet": Family(segmentation_images, "unet", {"epochs": 1, "batch_size": 4, "width": 4, "depth": 1}),
    "faster-rcnn": Family(
        box_images,
        "faster-rcnn",
        {"epochs": 3, "batch_size": 2, "max_proposals": 10, "rois_per_image": 8, "min_size": 32},
    ),
    "length buckets": Family(ragged_sequences, "gru", {"epochs": 4, "batch_size": 8, "hidden_size": 8}),
    "log-mel": Family(tones, "log-mel-convnet", {"epochs": 2, "batch_size": 12}),
    "seq2seq": Family(recorded_waves, "seq2seq", {"epochs": 2, "batch_size": 16, "hidden_size": 8}),
}


def result(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that must be bit-identical after any interruption."""
    names = ("model.safetensors", "history.jsonl", "predictions/val.safetensors", "predictions/test.safetensors")
    return {name: file_io.sha256(folder / name) for name in names if (folder / name).exists()}
