"""The order of the data as a function: `batches.at(step)` needs no state, so a run resumes at any step."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.random import generator, key, permutation
from snellen.data.augment import Augment, augment
from snellen.data.dataset import Labelled, Samples


class Batches:
    """Shuffled batches of a split, epoch after epoch.

    Args:
        samples: what is drawn from.
        size: samples a batch; the last of an epoch may be smaller, but a lone last sample, of which no variance can
            be taken, joins the batch before it.
        seed: decides order and augmentation.
        augment: how pictures are varied; `span` is their range of values.
        weights: (N,) how often each sample is drawn, relative to others; None: each once an epoch.
    """

    def __init__(self, samples: Samples, size: int, seed: int, augment: Augment | None = None,
                 span: tuple[float, float] = (0.0, 255.0), weights: Tensor | None = None) -> None:  # fmt: skip
        self.samples = samples
        self.size = min(size, len(samples))
        self.seed = seed
        self.augment = augment if augment else None
        self.span = span
        self.weights = weights
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Steps an epoch."""
        full, left = divmod(len(self.samples), self.size)
        return full + (left > 1)

    def positions(self, step: int) -> Tensor:
        """(B,) the positions in `samples` of a step's batch."""
        epoch, place = divmod(step, len(self))
        if epoch != self._epoch:
            count = len(self.samples)
            if self.weights is None:
                order = permutation(count, self.seed, "order", epoch)
            else:
                drawn = generator(self.seed, "order", epoch)
                order = torch.multinomial(self.weights.double(), count, replacement=True, generator=drawn)
            self._epoch, self._order = epoch, order.to(self.samples.device)
        return self._order[place * self.size : (place + 1) * self.size if place + 1 < len(self) else None]

    def at(self, step: int) -> Labelled:
        """The batch of a step: the same whenever and however often it is asked for."""
        batch = self.samples.take(self.positions(step))
        if self.augment is None:
            return batch
        epoch = step // len(self)
        x = augment(batch.x, batch.ids, self.augment, self.span, key(self.seed), epoch)
        return Labelled(x, batch.y, batch.ids)

    def names(self, step: int) -> str:
        """The first samples of a step's batch, by the names the user knows."""
        ids = self.samples.ids[self.positions(step)].tolist()
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return ", ".join(self.samples.source.name(i) for i in ids[:5]) + more
