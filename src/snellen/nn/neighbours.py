"""k nearest neighbours among stored samples, by blocked matrix products.

Source: Cover and Hart 1967; lecture 004.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.spec import Input
from snellen.nn.layers import Standardize

QUERY_BLOCK = 256  # queries per matrix product
MAX_ELEMENTS = 1 << 22  # of stored samples compared at once, to bound memory
MEAN_SAMPLES = 1000  # stored samples whose mean approximates that of all
EXTRA_CANDIDATES = 8  # beyond k, so that rounding in the products loses none
FLOAT64_MAX_COLUMNS = 64  # up to which the products are computed in float64
MAX_INDEX_BYTES = 1 << 30  # of standardised samples that stay in memory between calls


class SampleBlock(NamedTuple):
    """Stored samples from `start` on: standardised and centred, (n, D), with their squared norms, (n,)."""

    start: int
    samples: Tensor
    squares: Tensor


class SampleIndex(NamedTuple):
    """All stored samples in blocks, with the mean that they are centred by, (D,), and the tensors they depend on."""

    mean: Tensor
    blocks: list[SampleBlock]
    x: Tensor
    scale: Tensor


class Neighbours(nn.Module):
    """Stored training samples with their targets, searched for nearest neighbours.

    x: (N, ...) at the depth of the source; y: (N,) or (N, T). For the distance, columns are standardised and image
    values are scaled to 0 … 1. They are standardised once, at the first call, if they fit into
    `MAX_INDEX_BYTES`.

    Args:
        shape: of one raw sample.
        y: of any length; defines the shape and type of targets.
    """

    variable_length = ("x", "y")
    x: Tensor
    y: Tensor

    def __init__(self, input: Input, shape: tuple[int, ...], y: Tensor) -> None:
        super().__init__()
        self.standardize = Standardize(input, shape[input.feature_axis])
        self.register_buffer("x", torch.empty(0, *shape, dtype=getattr(torch, input.dtype)))
        self.register_buffer("y", y[:0])
        self._index: SampleIndex | None = None

    def store_samples(self, x: Tensor, y: Tensor) -> None:
        """Store (N, ...) samples and their targets."""
        self.x = x.to(self.x.dtype)
        self.y = y.to(self.y.dtype)

    def nearest_targets(self, x: Tensor, k: int) -> Tensor:
        """Targets of the k nearest samples, nearest first: (B, ...) raw inputs to (B, k) or (B, k, T)."""
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, QUERY_BLOCK)
        return self.y[torch.cat([self._nearest(part, k) for part in parts])]

    def _nearest(self, x: Tensor, k: int) -> Tensor:
        """(B, k) indices of the nearest samples; ties go to the sample stored first.

        ‖q − s‖² = ‖q‖² − 2 q·s + ‖s‖² is one matrix product, but loses digits where the two are close: it selects
        candidates, which are then sorted by the exact differences.
        """
        mean, blocks = self._mean_and_blocks()
        query = self._flatten(x) - mean  # (B, D)
        best = query.new_empty(query.shape[0], 0)
        candidates = torch.empty(query.shape[0], 0, dtype=torch.int64, device=query.device)
        for start, samples, squares in blocks:
            square = torch.addmm(squares, query, samples.T, alpha=-2)  # (B, n), less ‖q‖²
            nearest = square.topk(min(k + EXTRA_CANDIDATES, len(samples)), largest=False)
            best = torch.cat([best, nearest.values], dim=1)
            candidates = torch.cat([candidates, nearest.indices + start], dim=1)
            selected = best.topk(min(k + EXTRA_CANDIDATES, best.shape[1]), largest=False).indices
            best, candidates = best.gather(1, selected), candidates.gather(1, selected)
        candidates = candidates.sort(1).values
        closest = self._flatten(self.x[candidates.flatten()]).view(
            *candidates.shape, -1
        )  # (B, k + EXTRA_CANDIDATES, D)
        difference = closest.double() - self._flatten(x)[:, None].double()
        order = difference.square().sum(2).sort(dim=1, stable=True).indices  # (B, k + EXTRA_CANDIDATES)
        return candidates.gather(1, order[:, :k])

    def _flatten(self, x: Tensor) -> Tensor:
        flat: Tensor = self.standardize(x).flatten(1)
        return flat.double() if flat.shape[1] <= FLOAT64_MAX_COLUMNS else flat

    def _mean_and_blocks(self) -> tuple[Tensor, Iterable[SampleBlock]]:
        """Mean of stored samples, (D,), subtracted to keep the products small, and all stored samples in blocks."""
        if torch.compiler.is_exporting():  # the file holds the samples once
            mean = self._mean()
            return mean, self._blocks(mean)
        index, x, scale = self._index, self.x, self.standardize.scale  # loading and moving replace the tensors
        if index is None or index.x is not x or index.scale is not scale:
            with torch.inference_mode(False), torch.no_grad():  # its tensors are used in any mode
                mean = self._mean()
                if x.numel() * mean.element_size() > MAX_INDEX_BYTES:
                    return mean, self._blocks(mean)
                self._index = index = SampleIndex(mean, list(self._blocks(mean)), x, scale)
        return index.mean, index.blocks

    def _mean(self) -> Tensor:
        return self._flatten(self.x[:MEAN_SAMPLES]).mean(0)

    def _blocks(self, mean: Tensor) -> Iterator[SampleBlock]:
        size = max(1, MAX_ELEMENTS // max(self.x[:1].numel(), 1))
        for start in range(0, len(self.x), size):
            samples = self._flatten(self.x[start : start + size]) - mean
            yield SampleBlock(start, samples, samples.square().sum(1))
