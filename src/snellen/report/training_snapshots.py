"""Models in training: those of the snapshots of a run, in the order of their epochs, and the selected one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from snellen.core.model_state import load_weights
from snellen.core.snapshots import FILE, read_snapshots
from snellen.core.task import TrainingModel
from snellen.report.learning_curves import HistoryRow, scalar_series


def training_models(folder: Path, model: nn.Module, history: Sequence[HistoryRow]) -> Iterator[TrainingModel]:
    """The models of the snapshots of a run, then the selected model; nothing without snapshots.

    Args:
        model: the selected one. The others are one copy of it, valid until the next is taken.
    Raises:
        DataError: if the snapshots do not fit the model.
    """
    snapshots = read_snapshots(folder)
    if not snapshots:
        return
    shadow = copy.deepcopy(model).eval()
    for epoch, weights in snapshots.items():
        load_weights(shadow, weights, f"The weights of epoch {epoch} in {folder / FILE}")
        yield TrainingModel(f"epoch {epoch:,}", epoch, shadow)
    last = selected_epoch(history)
    yield TrainingModel("selected weights" if last is None else f"selected: epoch {last:,}", last, model)


def selected_epoch(history: Sequence[HistoryRow]) -> int | None:
    """The epoch with the best validation score, counted from 1, of several the last; None without validation."""
    _, scores = scalar_series(history, "score")
    return max(range(len(scores)), key=lambda k: (scores[k], k)) + 1 if scores else None
