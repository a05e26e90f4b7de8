"""The nearest of many remembered samples, by blocked matrix products.

Source: Cover and Hart 1967; lecture 004.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from snellen.core.spec import Input
from snellen.nn.layers import Standardize

QUERIES = 256  # inputs asked about at once
NUMBERS = 1 << 22  # of remembered samples compared at once, so that memory stays small
MIDDLE = 1000  # remembered samples whose mean is taken for the middle of all
SPARE = 8  # candidates beyond k, so that rounding in the products loses none
NARROW = 64  # columns up to which the products are taken in float64


class Neighbours(nn.Module):
    """Samples as they were read, with their targets.

    x: (N, ...) at the depth of the source; y: (N,) or (N, T). Columns are standardised before they are compared,
    pictures' values scaled to 0 … 1.

    Args:
        shape: of one sample as it is read.
        y: of any length; says the shape and type of targets.
    """

    grows = ("x", "y")
    x: Tensor
    y: Tensor

    def __init__(self, input: Input, shape: tuple[int, ...], y: Tensor) -> None:
        super().__init__()
        self.standardize = Standardize(input, shape[0])
        self.register_buffer("x", torch.empty(0, *shape, dtype=getattr(torch, input.dtype)))
        self.register_buffer("y", y[:0])

    def remember(self, x: Tensor, y: Tensor) -> None:
        """Keeps (N, ...) samples and their targets."""
        self.x = x.to(self.x.dtype)
        self.y = y.to(self.y.dtype)

    def of(self, x: Tensor, k: int) -> Tensor:
        """(B, ...) raw inputs to the targets of the k nearest, nearest first, (B, k) or (B, k, T)."""
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, QUERIES)
        return self.y[torch.cat([self._nearest(part, k) for part in parts])]

    def _nearest(self, x: Tensor, k: int) -> Tensor:
        """(B, k) positions; of samples equally far the one remembered first.

        ‖q − s‖² = ‖q‖² − 2 q·s + ‖s‖² is one matrix product, but loses digits where the two are close: it chooses
        candidates, which are then put in order by the differences themselves.
        """
        middle = self._flat(self.x[:MIDDLE]).mean(0)  # about which the products are small
        query = self._flat(x) - middle  # (B, D)
        best = query.new_empty(query.shape[0], 0)
        found = torch.empty(query.shape[0], 0, dtype=torch.int64, device=query.device)
        for start, block in self._blocks():
            block = block - middle  # (n, D)
            square = torch.addmm(block.square().sum(1), query, block.T, alpha=-2)  # (B, n), less ‖q‖²
            near = square.topk(min(k + SPARE, len(block)), largest=False)
            best = torch.cat([best, near.values], dim=1)
            found = torch.cat([found, near.indices + start], dim=1)
            keep = best.topk(min(k + SPARE, best.shape[1]), largest=False).indices
            best, found = best.gather(1, keep), found.gather(1, keep)
        found = found.sort(1).values
        kept = self._flat(self.x[found.flatten()]).view(*found.shape, -1)  # (B, k + SPARE, D)
        difference = kept.double() - self._flat(x)[:, None].double()
        order = difference.square().sum(2).sort(dim=1, stable=True).indices  # (B, k + SPARE)
        return found.gather(1, order[:, :k])

    def _flat(self, x: Tensor) -> Tensor:
        flat: Tensor = self.standardize(x).flatten(1)
        return flat.double() if flat.shape[1] <= NARROW else flat

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        size = max(1, NUMBERS // max(self.x[:1].numel(), 1))
        for start in range(0, len(self.x), size):
            yield start, self._flat(self.x[start : start + size])
