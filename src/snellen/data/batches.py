"""The order of the data as a function: `batches.at(step)` needs no state, so a run resumes at any step."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.random import generator, key, permutation
from snellen.data.augment.images import Augment, augment
from snellen.data.dataset import Labelled, Samples

BLOCK = 4 << 20  # bytes gathered at once, so that they are still in the cache when their turn comes


class Batches:
    """Shuffled batches of a split, epoch after epoch. A batch is to be read, not written to.

    Args:
        samples: what is drawn from.
        size: samples a batch; the last of an epoch may be smaller, but a lone last sample, of which no variance can
            be taken, joins the batch before it.
        seed: decides order and augmentation.
        augment: how pictures are varied; `value_range` is their range of values.
        weights: (N,) how often each sample is drawn, relative to others; None: each once an epoch.
    """

    def __init__(
        self,
        samples: Samples,
        size: int,
        seed: int,
        augment: Augment | None = None,
        value_range: tuple[float, float] = (0.0, 255.0),
        weights: Tensor | None = None,
    ) -> None:
        self.samples = samples
        self.size = min(size, len(samples))
        self.seed = seed
        self.augment = augment if augment else None
        self.value_range = value_range
        self.weights = weights
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        full, left = divmod(len(samples), self.size)
        self._steps = full + (left > 1)
        values = samples.values
        if values is None or not len(values):  # read from the source, a batch at a time
            self._many = 1
        else:
            self._many = max(1, BLOCK // (self.size * values[0].numel() * values.element_size()))
        self._at = (-1, -1)
        self._block: list[Labelled] = []

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._steps

    def positions(self, step: int) -> Tensor:
        """(B,) the positions in `samples` of a step's batch."""
        epoch, place = divmod(step, self._steps)
        return self._ordered(epoch)[place * self.size : self._end(place)]

    def _end(self, place: int) -> int:
        """Where the batch at a place of the epoch ends; the last one ends with the epoch."""
        return (place + 1) * self.size if place + 1 < self._steps else len(self.samples)

    def _ordered(self, epoch: int) -> Tensor:
        """(N,) the order of an epoch."""
        if epoch != self._epoch:
            count = len(self.samples)
            if self.weights is None:
                order = permutation(count, self.seed, "order", epoch)
            else:
                drawn = generator(self.seed, "order", epoch)
                order = torch.multinomial(self.weights.double(), count, replacement=True, generator=drawn)
            self._epoch, self._order = epoch, order.to(self.samples.device)
        return self._order

    def _drawn(self, step: int) -> Labelled:
        """The batch of a step, cut from a block of batches that are gathered together: one call in place of many."""
        epoch, place = divmod(step, self._steps)
        block, place = divmod(place, self._many)
        if self._at != (epoch, block):
            first = block * self._many
            last = min(first + self._many, self._steps) - 1
            drawn = self.samples.take(self._ordered(epoch)[first * self.size : self._end(last)])
            sizes = [self.size] * (last - first) + [self._end(last) - last * self.size]
            self._block = [Labelled(*parts) for parts in zip(*(torch.split(t, sizes) for t in drawn), strict=True)]
            self._at = (epoch, block)
        return self._block[place]

    def at(self, step: int) -> Labelled:
        """The batch of a step: the same whenever and however often it is asked for."""
        batch = self._drawn(step)
        if self.augment is None:
            return batch
        epoch = step // self._steps
        x = augment(batch.x, batch.ids, self.augment, self.value_range, key(self.seed), epoch)
        return Labelled(x, batch.y, batch.ids)

    def names(self, step: int) -> str:
        """The first samples of a step's batch, by the names the user knows."""
        ids = self.samples.ids[self.positions(step)].tolist()
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return ", ".join(self.samples.source.name(i) for i in ids[:5]) + more
