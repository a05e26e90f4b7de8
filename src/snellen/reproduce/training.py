"""Helpers for tables of trained models: data split as published, and one training through the public API."""

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
from snellen.data.dataset import Dataset, Labelled, class_counts
from snellen.reproduce.table import MeasureOptions

Data = Dataset[Labelled]


def merge_validation(data: Data) -> Data:
    """Add the validation samples to the training split, for publications without a validation split. The validation
    split must not be used for selection then."""
    all_samples = torch.cat([data.splits["train"], data.splits["val"]]).sort().values
    return _divided(data, {**data.splits, "train": all_samples})


def subset(data: Data, train_size: int, test_size: int) -> Data:
    """A random subset with at most `train_size` training and `test_size` validation and test samples."""

    def sample(split: str, size: int) -> torch.Tensor:
        ids = data.splits[split]
        return ids[permutation(len(ids), 0, "reproduce", split)[:size].sort().values]

    splits = {"train": sample("train", train_size), "val": sample("val", test_size), "test": sample("test", test_size)}
    return _divided(data, splits)


def _divided(data: Data, splits: Mapping[str, torch.Tensor]) -> Data:
    target = data.spec.target
    if isinstance(target, Classes):
        target = dataclasses.replace(target, counts=class_counts(target, data.truth[splits["train"]]))
    spec = dataclasses.replace(data.spec, target=target, sizes={name: len(ids) for name, ids in splits.items()})
    # Duplicates within a published dataset are part of it; searching for them is slow.
    return dataclasses.replace(data, splits=dict(splits), spec=spec, findings=())


@contextlib.contextmanager
def trained_run(
    data: Data, model: str, options: MeasureOptions, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[TrainedRun]:
    """A trained and evaluated model; its run folder is deleted when the block ends.

    Raises:
        UsageError: for an unknown learner or setting.
    """
    run_options = RunOptions(device=options.device, progress=options.progress, report=False)
    with tempfile.TemporaryDirectory(prefix="snellen-") as folder:
        try:
            trained = train(data, model, seed=seed, out=Path(folder) / "run", options=run_options, **settings)
        except Stopped as stopped:
            raise Stopped(
                f"{model} was stopped",
                "Finished rows are stored in the folder of --out. Run the table again.",
                signal=stopped.exit_code - 128,
            ) from stopped
        yield trained
