"""What tables of trained models share: data as the publication divides it, and one training by the public word."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from snellen.api import RunOptions, TrainedRun, train
from snellen.core.errors import Stopped
from snellen.core.random import permutation
from snellen.core.spec import Classes
from snellen.data.dataset import Dataset, Labelled, counts
from snellen.reproduce.table import How

Data = Dataset[Labelled]


def whole(data: Data) -> Data:
    """With the validation samples in the training split too, where the publication holds none back: none may be chosen
    by them then."""
    all_samples = torch.cat([data.splits["train"], data.splits["val"]]).sort().values
    return _divided(data, {**data.splits, "train": all_samples})


def part(data: Data, training: int, testing: int) -> Data:
    """At most so many samples of the training and of the test split, drawn."""

    def some(split: str, most: int) -> torch.Tensor:
        ids = data.splits[split]
        return ids[permutation(len(ids), 0, "reproduce", split)[:most].sort().values]

    splits = {"train": some("train", training), "val": some("val", testing), "test": some("test", testing)}
    return _divided(data, splits)


def _divided(data: Data, splits: Mapping[str, torch.Tensor]) -> Data:
    target = data.spec.target
    if isinstance(target, Classes):
        target = dataclasses.replace(target, counts=counts(target, data.truth[splits["train"]]))
    spec = dataclasses.replace(data.spec, target=target, sizes={name: len(ids) for name, ids in splits.items()})
    # Copies within a published set are its own: looking for them would take longer than many a training.
    return dataclasses.replace(data, splits=dict(splits), spec=spec, findings=())


@contextlib.contextmanager
def learned(
    data: Data, model: str, how: How, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[TrainedRun]:
    """A model trained and judged; its run is gone when the block ends.

    Raises:
        UsageError: where no learner has the name, or the setting.
    """
    options = RunOptions(device=how.device, progress=how.progress, report=False)
    with tempfile.TemporaryDirectory(prefix="snellen-") as folder:
        try:
            trained = train(data, model, seed=seed, out=Path(folder) / "run", options=options, **settings)
        except Stopped as stopped:
            raise Stopped(
                f"{model} was stopped",
                "Rows that were done are kept where --out said; run the table again.",
                signal=stopped.exit_code - 128,
            ) from stopped
        yield trained
