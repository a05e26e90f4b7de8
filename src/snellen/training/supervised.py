"""Learning from inputs with targets by descent: what classifying and regressing share."""

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
from snellen.data.cache import memory
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.layers import Standardize
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)

MOST_FOR_STATISTICS = 5000  # samples from which mean, deviation and range are taken


class Objective(Protocol[M_contra]):
    """What differs between tasks: the loss of a batch, the validation score, how often samples are drawn."""

    def loss(self, model: M_contra, batch: Labelled) -> Tensor: ...
    def score(self, model: M_contra, samples: Samples) -> float: ...
    def weights(self, samples: Samples) -> Tensor | None: ...


def batch_size(how: TrainingSettings, count: int) -> int:
    """The batch size asked for, or one that suits the number of training samples."""
    if how.batch_size is not None:
        return how.batch_size
    return 32 if count < 2_000 else 64 if count < 100_000 else 128


def some(samples: Samples, most: int = MOST_FOR_STATISTICS) -> Labelled:
    """At most `most` samples, spread evenly over the split."""
    count = len(samples)
    return samples.take(torch.linspace(0, count - 1, min(count, most)).round().long())


def all_samples(samples: Samples) -> Labelled:
    """All samples of a split as one batch, for methods that want them at once.

    Raises:
        EnvironmentProblem: where they take more than half of the memory that is free.
    """
    count, free = len(samples), memory()
    one = samples.take(torch.arange(min(1, count))).x
    needed = count * one.numel() * one.element_size()
    if needed > free // 2:
        raise EnvironmentProblem(
            f"All {count:,} samples at once are {needed:,} bytes, with {free:,} free",
            "Take a model that learns batch by batch, or fewer samples.",
        )
    return samples.take(torch.arange(count))


def ohem_loss(losses: Tensor, share: float) -> Tensor:
    """The mean of the largest losses of a batch: hard examples, mined as they turn up.

    Args:
        losses: (B,) one a sample.
        share: of the samples that count, in (0, 1]; at least one does.
    Returns:
        A scalar; the other samples have no gradient.
    Source: Shrivastava, Gupta and Girshick 2016; lecture 004.
    """
    return losses.topk(max(1, round(share * len(losses)))).values.mean()


def check_outputs(network: nn.Module, outputs: int, data: Dataset[Labelled], run: Run) -> None:
    """Raises UsageError where a network of the user's own does not give `outputs` numbers a sample."""
    network.to(run.device).eval()
    train = data.samples("train", run.device)
    x = train.take(torch.arange(min(2, len(train)))).x
    with torch.no_grad():
        shape = tuple(network(x).shape)
    if shape != (len(x), outputs):
        raise UsageError(
            f"The module makes {shape} of {len(x)} samples, not ({len(x)}, {outputs})",
            f"Give its last layer {outputs} outputs a sample.",
        )


def learn(
    model: M,
    scheme: Objective[M],
    data: Dataset[Labelled],
    run: Run,
    how: TrainingSettings,
    vary: Augment,
    gradients: Callable[[M, Labelled], Tensor] | None = None,
) -> None:
    """Standardises the inputs by the training split, then descends on `scheme`'s loss.

    Args:
        model: its first `Standardize` takes the statistics; on `run.device` afterwards.
        vary: augmentation, for pictures.
        gradients: the loss of a batch with its gradients put into `.grad`, where the learner has its backward pass
            written out; it must be that of `scheme`.
    """
    train = data.samples("train", run.device, run.say)
    model.to(run.device)
    standardize = next((m for m in model.modules() if isinstance(m, Standardize)), None)
    value_range = (0.0, 255.0)
    if standardize is not None:
        if not standardize.known:
            standardize.learn(some(train).x, data.value_range)
        value_range = (float(standardize.low), float(standardize.high))
        if standardize.deep:
            run.say(
                f"Values from {value_range[0]:g} to {value_range[1]:g} are used (0.1 % to 99.9 % of the training set)."
            )
    if how.overfit:
        how, train = _by_heart(how, train)
        vary = Augment()
        run.notes["by heart"] = len(train)
    batches = Batches(train, batch_size(how, len(train)), run.seed, vary, value_range, scheme.weights(train))
    if batches.size == 1 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        raise UsageError("Batch normalisation needs more than one sample a batch", "Take a larger --batch-size.")
    validation = None if how.overfit else data.samples("val", run.device)
    if any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model.to(memory_format=torch.channels_last)

    def losses(batch: Labelled) -> dict[str, Tensor]:
        return {"loss": scheme.loss(model, batch)}

    def validate(judged: nn.Module) -> float:
        return scheme.score(judged, validation)  # type: ignore[arg-type]

    fit_by_gradient(
        model,
        losses,
        batches,
        run,
        how,
        validate=validate if validation is not None and len(validation) else None,
        gradients=None if gradients is None else partial(gradients, model),
    )


def _by_heart(how: TrainingSettings, train: Samples) -> tuple[TrainingSettings, Samples]:
    """One batch, again and again, with nothing that would keep the loss from reaching zero."""
    size = min(batch_size(how, len(train)), 32, len(train))
    few = copy.copy(train)
    chosen = torch.linspace(0, len(train) - 1, size).round().long()
    batch = train.take(chosen)
    few.values, few.y, few.ids = batch.x, batch.y, batch.ids
    return dataclasses.replace(
        how, batch_size=size, epochs=400, weight_decay=0.0, schedule="constant", patience=None, ema_decay=None
    ), few
