"""Training of a network on a split: standardisation, overfitting of one batch, gradient descent. All tasks use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.data.batches import BatchSource
from snellen.nn.fusion import SeveralStandardize
from snellen.nn.layers import Standardize
from snellen.training.loop import Objective, fit_by_gradient
from snellen.training.settings import TrainingSettings

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
M = TypeVar("M", bound=nn.Module)
V = TypeVar("V")

MAX_OVERFIT = 32  # samples of the batch of `overfit`


class TrainingSplit(Protocol[B_co]):
    """The training samples of one kind of data."""

    def __len__(self) -> int: ...
    def default_batch_size(self) -> int: ...

    def statistics(self) -> Tensor:
        """(N, C, ...) sampled values, from which mean, standard deviation and range are computed."""
        ...

    def fixed(self, size: int) -> TrainingSplit[B_co]:
        """`size` samples spread evenly over the split, without augmentation."""
        ...

    def batches(self, size: int, seed: int, value_range: tuple[float, float]) -> BatchSource[B_co]:
        """Shuffled, augmented batches; `value_range` is that of the values of the inputs."""
        ...


def evenly_spaced(count: int, size: int) -> Tensor:
    """(min(count, size),) int64 positions spread evenly over 0 … count - 1."""
    return torch.linspace(0, max(count - 1, 0), min(count, size)).round().long()


def fit_network(
    model: M,
    objective: Objective[M, B, V],
    split: TrainingSplit[B],
    validation: V | None,
    run: Run,
    settings: TrainingSettings,
    value_range: tuple[float, float] | None,
    compute_gradients: Callable[[M, B], Tensor] | None = None,
) -> None:
    """Standardise the inputs by the training split, then train on the objective's loss.

    With `settings.overfit` one batch is trained on again and again, without anything that keeps its loss from zero:
    augmentation, validation, weight decay, a decaying learning rate.

    Args:
        model: its first `Standardize` stores the statistics; on `run.device` afterwards.
        validation: data of the objective's score after each epoch; None: there is none.
        value_range: set by the user; None: the robust range of the training split.
        compute_gradients: for a learner with a hand-written backward pass: writes the gradients of a batch to `.grad`
            and returns its loss, which must be that of `objective`.
    """
    model.to(run.device)
    used_range = standardize_inputs(model, split.statistics, value_range, run)
    size = settings.batch_size or split.default_batch_size()
    if settings.overfit:
        size = min(size, MAX_OVERFIT, len(split))
        split, validation = split.fixed(size), None
        settings = dataclasses.replace(
            settings, epochs=400, weight_decay=0.0, schedule="constant", patience=None, ema_decay=None
        )
        run.notes["by heart"] = size
    if min(size, len(split)) == 1 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        raise UsageError("Batch normalisation needs more than one sample per batch", "Use a larger --batch-size.")
    if any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model.to(memory_format=torch.channels_last)
    fit_by_gradient(
        model,
        objective,
        split.batches(size, run.seed, used_range),
        run,
        settings,
        validation=validation,
        compute_gradients=None if compute_gradients is None else partial(compute_gradients, model),
    )


def standardize_inputs(
    model: nn.Module, statistics: Callable[[], Tensor], value_range: tuple[float, float] | None, run: Run
) -> tuple[float, float]:
    """Fit the first `Standardize` of a model to sampled values, unless it came with pretrained weights.

    Returns:
        The range of the values that the model uses; (0, 255) without a `Standardize`.
    """
    standardize = next((m for m in model.modules() if isinstance(m, Standardize | SeveralStandardize)), None)
    if standardize is None:
        return 0.0, 255.0
    if not standardize.is_fixed:
        standardize.load_state_dict(run.once("standardize", partial(_fitted, standardize, statistics, value_range)))
    low, high = float(standardize.low), float(standardize.high)
    if standardize.deep:
        run.message(f"Values from {low:g} to {high:g} are used (0.1 % to 99.9 % of the training set).")
    return low, high


def _fitted(
    standardize: Standardize | SeveralStandardize,
    statistics: Callable[[], Tensor],
    value_range: tuple[float, float] | None,
) -> dict[str, Any]:
    standardize.fit(statistics(), value_range)
    return dict(standardize.state_dict())
