"""One small training of each kind that a run must carry through kills, faults and signals to the same bits."""

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
from snellen.core import files
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Input, Spec
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import Array
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import Logits
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import some

sys.path.append(str(Path(__file__).parents[1]))  # scenes and blocks lie there, also for a script


def pictures(count: int = 150, side: int = 12, seed: int = 3) -> Dataset[Labelled]:
    """Pictures with a bright bar: upright, lying, or none. In memory, so there is no place to open them from."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 160, (count, 1, side, side), generator=draw)
    y = torch.arange(count) % 3
    x[y == 0, :, :, 4:7] += 90
    x[y == 1, :, 4:7, :] += 90
    draft = RawDataset(
        source=Array(x.to(torch.uint8), "bar"),
        truth=y,
        recognised_as="bars",
        inputs={"image": Input(modality="image", shape=(1, side, side), dtype="uint8")},
        target=Classes(names=("upright", "lying", "none")),
    )
    return assemble(draft, "bars", seed, None)


class Small(nn.Module):
    """A convnet with all that has state or draws: batch normalisation and dropout."""

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


def smooth(scores: Tensor, y: Tensor) -> Tensor:
    """A loss of the user's own."""
    return nn.functional.cross_entropy(scores, y, label_smoothing=0.1)


@settings
class OwnSettings:
    """How long it learns."""

    rounds: int = 14
    """Steps of each loop."""


class Tally:
    """State of the user's own, with what JSON has not: integer keys, tuples and infinities."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.lowest = (math.inf, -1)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "lowest": self.lowest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.lowest = state["seen"], state["lowest"]


def build(c: OwnSettings, spec: Spec) -> Logits:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 3))
    return Logits(Network(Standardize(spec.input), layers))


def fit(c: OwnSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    """Two loops; draws from every generator in them and between them; rows between them; values made once."""
    train = data.samples("train", run.device)
    model.to(run.device)
    model.network.standardize.learn(some(train).x)
    nn.init.normal_(model.network.body[1].weight, std=0.05 + 0.05 * float(torch.rand(())))
    scale = run.once("scale", lambda: torch.rand(3) + np.random.rand() + random.random())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    tally = Tally()
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
            run.enough()
    run.log(seen=tally.seen.get(0, 0), after=torch.rand(()))


OWN = Learner[OwnSettings, Dataset[Labelled], Logits](
    name="own-loop",
    summary="Learns in its own way.",
    source="the user",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=OwnSettings,
    build=build,
    fit=fit,
)


def machine_of(more: Mapping[str, Any]) -> RunOptions:
    """One thread, a save after every step, and no page, which has tests of its own."""
    return RunOptions(**{"threads": 1, "save_every": 0, "report": False, **more})


class Family(NamedTuple):
    """What is trained, on what, and how. `data`: by its name, or made in memory."""

    data: str | Callable[[], Dataset[Labelled]]
    model: Any
    settings: Mapping[str, Any]
    loss: Any = None

    def train(self, folder: Path, seed: int = 0, **options: Any) -> TrainedRun:
        data = self.data if isinstance(self.data, str) else self.data()
        return api.train(
            data, self.model, out=folder, seed=seed, loss=self.loss, options=machine_of(options), **self.settings
        )

    def resume(self, folder: Path, **options: Any) -> TrainedRun:
        own = None if isinstance(self.model, str) else self.model
        data = None if isinstance(self.data, str) else self.data()
        return api.resume(folder, learner=own, data=data, loss=self.loss, options=machine_of(options))

    def load(self, folder: Path) -> TrainedRun:
        return api.load(folder, learner=None if isinstance(self.model, str) else self.model)


def few(data: Dataset[Labelled], train: int, others: int) -> Dataset[Labelled]:
    """So many samples to learn from, and to judge by."""
    sizes = {"train": train, "val": others, "test": others}
    return dataclasses.replace(data, splits={name: ids[: sizes[name]] for name, ids in data.splits.items()})


def segmented() -> Dataset[Labelled]:
    import scenes

    return few(scenes.segmented(), 12, 3)


def boxes() -> Dataset[Labelled]:
    import blocks

    return few(blocks.boxes(), 8, 2)


def own_module() -> nn.Module:
    """The user builds it anew in each process."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Small()


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
        smooth,
    ),
    "own loop": Family(pictures, OWN, {}),
    "unet": Family(segmented, "unet", {"epochs": 1, "batch_size": 4, "width": 4, "depth": 1}),
    "faster-rcnn": Family(
        boxes, "faster-rcnn", {"epochs": 3, "batch_size": 2, "max_proposals": 10, "rois_per_image": 8, "min_size": 32}
    ),
}


def result(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same whatever happened on the way."""
    names = ("model.safetensors", "history.jsonl", "predictions/val.safetensors", "predictions/test.safetensors")
    return {name: files.sha256(folder / name) for name in names if (folder / name).exists()}
