"""What was said of the few worst pictures of a split, kept flat beside the figures of all."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

SHOWN = 8  # pictures whose maps are kept
SIDE = 640  # pixels of the longer side of a kept map


class Worst:
    """The maps of the worst pictures so far: few, however many there are."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, Tensor]] = []  # a heap: least wrong first, of equals the later row

    def offer(self, row: int, error: float, said: Tensor) -> None:
        """Keeps a picture that is among the worst.

        Args:
            row: of the picture in the split; each is offered once.
            said: (T, H, W), thinned to at most `SIDE` pixels a side.
        """
        thin = max(1, -(-max(said.shape[1:]) // SIDE))
        entry = (error, -row)
        if len(self._kept) == SHOWN and entry <= self._kept[0][:2]:
            return
        heapq.heappush(self._kept, (*entry, said[:, ::thin, ::thin].cpu().clone()))
        if len(self._kept) > SHOWN:
            heapq.heappop(self._kept)

    def told(self, count: int, like: torch.dtype) -> tuple[Tensor, Tensor]:
        """(N, 3) sizes T, H, W, zero for what is not kept, and the kept maps flat in the order of the rows."""
        sizes, maps = torch.zeros(count, 3, dtype=torch.int64), []
        for _, row, said in sorted(self._kept, key=lambda entry: -entry[1]):
            sizes[-row] = torch.tensor(said.shape)
            maps.append(said.flatten().to(like))
        return sizes, torch.cat(maps) if maps else torch.zeros(0, dtype=like)


def kept(sizes: Tensor, maps: Tensor) -> dict[int, Tensor]:
    """Row -> (T, h, w), the maps that `Worst.told` gave."""
    lengths = sizes.prod(1)
    rows = torch.nonzero(lengths)[:, 0].tolist()
    parts = torch.split(maps, lengths[rows].tolist())
    return {row: part.view(*sizes[row].tolist()) for row, part in zip(rows, parts, strict=True)}
