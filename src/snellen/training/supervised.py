"""Supervised training by gradient descent, shared by classification and regression."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.core.run import Run
from snellen.data.augment.images import Augment
from snellen.data.batches import Batches
from snellen.data.cache import available_memory
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.layers import Standardize
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)

MAX_STATISTICS_SAMPLES = 5000  # samples that mean, standard deviation and range are computed from


class Objective(Protocol[M_contra]):
    """Objective of a task: the loss of a batch, the validation score, the sampling weights."""

    def loss(self, model: M_contra, batch: Labelled) -> Tensor: ...
    def score(self, model: M_contra, samples: Samples) -> float: ...
    def weights(self, samples: Samples) -> Tensor | None: ...


def batch_size(settings: TrainingSettings, count: int) -> int:
    """The requested batch size, or one that depends on the number of training samples."""
    if settings.batch_size is not None:
        return settings.batch_size
    return 32 if count < 2_000 else 64 if count < 100_000 else 128


def subset(samples: Samples, max_samples: int = MAX_STATISTICS_SAMPLES) -> Labelled:
    """At most `max_samples` samples, spread evenly over the split."""
    count = len(samples)
    return samples.take(torch.linspace(0, count - 1, min(count, max_samples)).round().long())


def all_samples(samples: Samples) -> Labelled:
    """All samples of a split as one batch, for methods that need the whole training set in memory.

    Raises:
        EnvironmentProblem: where they need more than half of the free memory.
    """
    count, free = len(samples), available_memory()
    sample = samples.take(torch.arange(min(1, count))).x
    needed = count * sample.numel() * sample.element_size()
    if needed > free // 2:
        raise EnvironmentProblem(
            f"All {count:,} samples at once need {needed:,} bytes of memory, of which {free:,} are free",
            "Use a model that trains in batches, or fewer samples.",
        )
    return samples.take(torch.arange(count))


def ohem_loss(losses: Tensor, fraction: float) -> Tensor:
    """Online hard example mining (OHEM): the mean of the largest losses of a batch.

    Args:
        losses: (B,) one per sample.
        fraction: of the samples that count, in (0, 1]; at least one does.
    Returns:
        A scalar; the other samples have no gradient.
    Source: Shrivastava, Gupta and Girshick 2016; lecture 004.
    """
    return losses.topk(max(1, round(fraction * len(losses)))).values.mean()


def check_outputs(network: nn.Module, outputs: int, data: Dataset[Labelled], run: Run) -> None:
    """Check that a user's network returns `outputs` values per sample. Raises UsageError."""
    network.to(run.device).eval()
    train = data.samples("train", run.device)
    x = train.take(torch.arange(min(2, len(train)))).x
    with torch.no_grad():
        shape = tuple(network(x).shape)
    if shape != (len(x), outputs):
        raise UsageError(
            f"The module returns shape {shape} for {len(x)} samples, not ({len(x)}, {outputs})",
            f"Give its last layer {outputs} outputs.",
        )


def fit_supervised(
    model: M,
    objective: Objective[M],
    data: Dataset[Labelled],
    run: Run,
    settings: TrainingSettings,
    augmentation: Augment,
    compute_gradients: Callable[[M, Labelled], Tensor] | None = None,
) -> None:
    """Standardise the inputs by the training split, then train on the objective's loss.

    Args:
        model: its first `Standardize` stores the statistics; on `run.device` afterwards.
        augmentation: of images.
        compute_gradients: for a learner with a hand-written backward pass: writes the gradients of a batch to `.grad`
            and returns its loss, which must be that of `objective`.
    """
    train = data.samples("train", run.device, run.message)
    model.to(run.device)
    standardize = next((m for m in model.modules() if isinstance(m, Standardize)), None)
    value_range = (0.0, 255.0)
    if standardize is not None:
        if not standardize.is_fixed:
            standardize.fit(subset(train).x, data.value_range)
        value_range = (float(standardize.low), float(standardize.high))
        if standardize.deep:
            run.message(
                f"Values from {value_range[0]:g} to {value_range[1]:g} are used (0.1 % to 99.9 % of the training set)."
            )
    if settings.overfit:
        settings, train = _overfit_batch(settings, train)
        augmentation = Augment()
        run.notes["by heart"] = len(train)
    batches = Batches(
        train, batch_size(settings, len(train)), run.seed, augmentation, value_range, objective.weights(train)
    )
    if batches.size == 1 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        raise UsageError("Batch normalisation needs more than one sample per batch", "Use a larger --batch-size.")
    validation = None if settings.overfit else data.samples("val", run.device)
    if any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model.to(memory_format=torch.channels_last)

    def compute_losses(batch: Labelled) -> dict[str, Tensor]:
        return {"loss": objective.loss(model, batch)}

    def validate(network: nn.Module) -> float:
        return objective.score(network, validation)  # type: ignore[arg-type]

    fit_by_gradient(
        model,
        compute_losses,
        batches,
        run,
        settings,
        validate=validate if validation is not None and len(validation) else None,
        compute_gradients=None if compute_gradients is None else partial(compute_gradients, model),
    )


def _overfit_batch(settings: TrainingSettings, train: Samples) -> tuple[TrainingSettings, Samples]:
    """Settings and data for overfitting one batch, without anything that keeps the loss from zero."""
    size = min(batch_size(settings, len(train)), 32, len(train))
    fixed = copy.copy(train)
    rows = torch.linspace(0, len(train) - 1, size).round().long()
    batch = train.take(rows)
    fixed.values, fixed.y, fixed.ids = batch.x, batch.y, batch.ids
    return dataclasses.replace(
        settings, batch_size=size, epochs=400, weight_decay=0.0, schedule="constant", patience=None, ema_decay=None
    ), fixed
