"""Shuffled batches as a function of the step: `batches.at(step)` has no state, so a run resumes at any step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor

from snellen.core.random import generator, key, permutation
from snellen.core.several_tensors import SeveralTensors
from snellen.data.augment.images import Augment, augment
from snellen.data.dataset import Labelled, Samples

B_co = TypeVar("B_co", covariant=True)

BLOCK = 4 << 20  # bytes gathered at once: small enough to stay in the processor's cache
POOL = 16  # batches whose samples are sorted by length: the padding is a few per cent


class BatchSource(Protocol[B_co]):
    """Source of batches by step: `Batches`, `SceneBatches`, or any function of the step."""

    def __len__(self) -> int: ...
    def at(self, step: int) -> B_co: ...
    def names(self, step: int) -> str: ...


class Batches:
    """Shuffled batches of a split, epoch after epoch. Batches are read-only.

    Args:
        samples: the split.
        size: samples per batch. The last batch of an epoch may be smaller; a single last sample, which has no
            variance, joins the batch before it.
        seed: seed of order and augmentation.
        augment: augmentation of images; `value_range` is the range of their values.
        weights: (N,) relative sampling frequency of each sample; None: each once per epoch.
        group_by_length: whether samples of several lengths in memory are batched with others of similar length, see
            `length_buckets`. A batch of them is as long as its longest sample in any case.
    """

    def __init__(
        self,
        samples: Samples,
        size: int,
        seed: int,
        augment: Augment | None = None,
        value_range: tuple[float, float] = (0.0, 255.0),
        weights: Tensor | None = None,
        group_by_length: bool = False,
    ) -> None:
        self.samples = samples
        self.size = self.samples_per_batch = min(size, len(samples))
        self.seed = seed
        self.augment = augment if augment else None
        self.value_range = value_range
        self.weights = weights
        self.group_by_length = group_by_length
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        full, left = divmod(len(samples), self.size)
        self._steps = full + (left > 1)
        values = samples.values
        if values is None or not len(values) or samples.lengths is not None:  # batch by batch
            self._block_size = 1
        else:
            self._block_size = max(1, BLOCK // (self.size * values[0].numel() * values.element_size()))
        self._block_at = (-1, -1)  # epoch and block
        self._block: list[Labelled] = []

    def __len__(self) -> int:
        """Steps per epoch."""
        return self._steps

    def positions(self, step: int) -> Tensor:
        """(B,) positions in `samples` of the batch of a step."""
        epoch, index = divmod(step, self._steps)
        return self._epoch_order(epoch)[index * self.size : self._end(index)]

    def _end(self, index: int) -> int:
        """End position of a batch of the epoch; the last batch ends with the epoch."""
        return (index + 1) * self.size if index + 1 < self._steps else len(self.samples)

    def _epoch_order(self, epoch: int) -> Tensor:
        """(N,) order of the samples in an epoch."""
        if epoch != self._epoch:
            count = len(self.samples)
            if self.weights is None:
                order = permutation(count, self.seed, "order", epoch)
            else:
                rng = generator(self.seed, "order", epoch)
                order = torch.multinomial(self.weights.double(), count, replacement=True, generator=rng)
            if self.group_by_length and self.samples.lengths is not None:
                order = length_buckets(order, self.samples.lengths, self.size, self.seed, epoch)
            self._epoch, self._order = epoch, order.to(self.samples.device)
        return self._order

    def _batch(self, step: int) -> Labelled:
        """Batch of a step, from a block of batches that is gathered in one call."""
        epoch, index = divmod(step, self._steps)
        block, index = divmod(index, self._block_size)
        if self._block_at != (epoch, block):
            first = block * self._block_size
            last = min(first + self._block_size, self._steps) - 1
            gathered = self.samples.take(self._epoch_order(epoch)[first * self.size : self._end(last)])
            sizes = [self.size] * (last - first) + [self._end(last) - last * self.size]
            self._block = [Labelled(*parts) for parts in zip(*(_split(part, sizes) for part in gathered), strict=True)]
            self._block_at = (epoch, block)
        return self._block[index]

    def at(self, step: int) -> Labelled:
        """Batch of a step; every call with the same step returns the same batch."""
        batch = self._batch(step)
        if self.augment is None:
            return batch
        epoch = step // self._steps
        x = augment(batch.x, batch.ids, self.augment, self.value_range, key(self.seed), epoch)
        return Labelled(x, batch.y, batch.ids)

    def names(self, step: int) -> str:
        """Names of the first samples in the batch of a step."""
        ids = self.samples.ids[self.positions(step)].tolist()
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return ", ".join(self.samples.source.name(i) for i in ids[:5]) + more


def length_buckets(order: Tensor, lengths: Tensor, size: int, seed: int, epoch: int) -> Tensor:
    """Order of an epoch with samples of similar lengths in each batch: a function of seed, epoch and lengths.

    The samples of POOL consecutive batches, or of half of the epoch, are sorted by length and cut into batches, which
    are shuffled. So the samples that meet in a batch vary from epoch to epoch. What is left after the full batches
    stays at the end, unsorted.

    Args:
        order: (N,) shuffled positions.
        lengths: (M,) by position.
        size: samples per batch.
    Returns:
        (N,) the same positions.
    """
    full = len(order) // size
    if full < 2:
        return order
    batches: list[Tensor] = []
    pool = min(POOL, -(-full // 2)) * size
    for part in torch.split(order[: full * size], pool):
        batches += torch.split(part[lengths[part].argsort(stable=True)], size)
    shuffled = permutation(full, seed, "buckets", epoch).tolist()
    return torch.cat([*(batches[k] for k in shuffled), order[full * size :]])


def _split(values: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Parts of a tensor, or of the tensors of several inputs, along the first axis."""
    return cast(
        Sequence[Tensor], values.split(sizes) if isinstance(values, SeveralTensors) else torch.split(values, sizes)
    )
