"""Predicted maps of the worst images of a split, flattened for storage."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

MAX_MAPS = 8  # images whose maps are stored
MAX_SIDE = 640  # longer side of a stored map, pixels


class WorstMaps:
    """Maps of the images with the highest error so far, at most `MAX_MAPS`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Tensor]] = []  # lowest error first; for equal errors the later row

    def offer(self, row: int, error: float, predicted: Tensor) -> None:
        """Store the map of an image if its error is among the highest.

        Args:
            row: row of the image in the split; offer each once.
            predicted: (T, H, W) or (T, *places), subsampled to at most `MAX_SIDE` pixels per side.
        """
        stride = max(1, -(-max(predicted.shape[1:]) // MAX_SIDE))
        places = (slice(None, None, stride),) * (predicted.ndim - 1)
        entry = (error, -row)
        if len(self._heap) == MAX_MAPS and entry <= self._heap[0][:2]:
            return
        heapq.heappush(self._heap, (*entry, predicted[:, *places].cpu().clone()))
        if len(self._heap) > MAX_MAPS:
            heapq.heappop(self._heap)

    def flattened(self, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(N, 3) sizes T, H, W, zero for rows without a map, and the stored maps, flattened, in row order.

        Maps with another number of axes of places have as many sizes.
        """
        axes = self._heap[0][2].ndim if self._heap else 3
        sizes, maps = torch.zeros(count, axes, dtype=torch.int64), []
        for _, row, predicted in sorted(self._heap, key=lambda entry: -entry[1]):
            sizes[-row] = torch.tensor(predicted.shape)
            maps.append(predicted.flatten().to(dtype))
        return sizes, torch.cat(maps) if maps else torch.zeros(0, dtype=dtype)


def unflatten(sizes: Tensor, maps: Tensor) -> dict[int, Tensor]:
    """Row -> (T, h, w) or (T, *places), the maps that `WorstMaps.flattened` returned."""
    lengths = sizes.prod(1)
    rows = torch.nonzero(lengths)[:, 0].tolist()
    parts = torch.split(maps, lengths[rows].tolist())
    return {row: part.view(*sizes[row].tolist()) for row, part in zip(rows, parts, strict=True)}
