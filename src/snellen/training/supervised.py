"""Supervised training by gradient descent, shared by classification and regression."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.core.run import Run
from snellen.data.augment.images import Augment
from snellen.data.batches import Batches
from snellen.data.cache import available_memory
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.data.flat_sequences import FlatSequences
from snellen.training.loop import Objective
from snellen.training.network_training import evenly_spaced, fit_network
from snellen.training.settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)

MAX_STATISTICS_SAMPLES = 5000  # samples that mean, standard deviation and range are computed from
MAX_STATISTICS_VALUES = 1 << 27  # and values of them, of samples that are not resized: 1 GiB as float64


class SupervisedObjective(Objective[M_contra, Labelled, Samples], Protocol[M_contra]):
    """Objective of samples with one target each; `weights` are the relative sampling frequencies, (N,)."""

    def weights(self, samples: Samples) -> Tensor | None: ...


def default_batch_size(count: int) -> int:
    """The batch size for a number of training samples."""
    return 32 if count < 2_000 else 64 if count < 100_000 else 128


def subset(samples: Samples, max_samples: int = MAX_STATISTICS_SAMPLES) -> Labelled:
    """At most `max_samples` samples, spread evenly over the split."""
    return samples.take(evenly_spaced(len(samples), max_samples))


def _rows(sequences: FlatSequences) -> Tensor:
    """(1, S, D) the rows of at most MAX_STATISTICS_SAMPLES sequences, without padding."""
    of_mean_length = max(1, int(sequences.lengths.double().mean()) * sequences.shape[2:].numel())
    count = min(MAX_STATISTICS_SAMPLES, max(1, MAX_STATISTICS_VALUES // of_mean_length))
    return sequences.rows_of(evenly_spaced(len(sequences), count))[None]


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


@dataclasses.dataclass(frozen=True)
class SampleSplit:
    """Training samples with one target each.

    Args:
        augmentation: of images; None: there is none.
        weights: the samples to their (N,) relative sampling frequencies; None: each once per epoch.
        group_by_length: see `Batches`.
    """

    samples: Samples
    augmentation: Augment | None
    weights: Callable[[Samples], Tensor | None]
    group_by_length: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    def default_batch_size(self) -> int:
        return default_batch_size(len(self))

    def statistics(self) -> Tensor:
        if self.samples.preprocessing.size is not None:
            return subset(self.samples).x
        if isinstance(self.samples.values, FlatSequences):
            return _rows(self.samples.values)
        values = max(1, self.samples.values_per_sample())
        return subset(self.samples, min(MAX_STATISTICS_SAMPLES, max(1, MAX_STATISTICS_VALUES // values))).x

    def fixed(self, size: int) -> SampleSplit:
        fixed = copy.copy(self.samples)
        fixed.values, fixed.y, fixed.ids = subset(self.samples, size)
        return SampleSplit(fixed, Augment(), self.weights)

    def batches(self, size: int, seed: int, value_range: tuple[float, float]) -> Batches:
        weights = self.weights(self.samples)
        return Batches(self.samples, size, seed, self.augmentation, value_range, weights, self.group_by_length)


def fit_supervised(
    model: M,
    objective: SupervisedObjective[M],
    data: Dataset[Labelled],
    run: Run,
    settings: TrainingSettings,
    augmentation: Augment | None,
    compute_gradients: Callable[[M, Labelled], Tensor] | None = None,
    group_by_length: bool = False,
) -> None:
    """Train on samples with one target each, see `fit_network`."""
    train = data.samples("train", run.device, run.message)
    split = SampleSplit(train, augmentation, objective.weights, group_by_length)
    validation = data.samples("val", run.device) if len(data.splits["val"]) and not settings.overfit else None
    fit_network(model, objective, split, validation, run, settings, data.value_range, compute_gradients)
