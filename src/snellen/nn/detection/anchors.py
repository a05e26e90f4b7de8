"""Anchors: boxes of a few sizes and shapes at every place of every map, from which objects are told.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FINEST = 16.0  # pixels: two cells of the finest map of a detector that answers at every place


class Anchors(nn.Module):
    """The anchors of a pyramid of maps. Their sizes are saved with the weights.

    Args:
        sizes: (L, S) for each map, sides of squares of the same area, in pixels of the network.
        shapes: height over width.
        scales: (S,) sizes at a place as multiples of the first, where they are fitted to data.
        fixed: they belong to the method or to weights, and are not fitted.
    """

    cells: Tensor

    def __init__(
        self,
        sizes: Sequence[Sequence[float]],
        shapes: Sequence[float] = (0.5, 1.0, 2.0),
        scales: Sequence[float] = (1.0,),
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        self.scales = tuple(scales)
        self.known = fixed
        self.register_buffer("cells", cells(sizes, shapes))

    def fit(self, sizes: Sequence[float]) -> None:
        """(L,) the first size for each map."""
        self.cells.copy_(cells([[size * scale for scale in self.scales] for size in sizes], self.shapes))

    def forward(self, maps: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """The anchors of each map, row by row, those of one place together.

        Args:
            maps: (B, C, h, w) each. x: (B, C, H, W), the pictures that they are of.
        Returns:
            (h·w·A, 4) each, pixels of x.
        """
        found = []
        for cell, features in zip(self.cells, maps, strict=True):
            rows, columns = features.shape[-2:]
            down = torch.arange(rows, device=x.device, dtype=torch.float32) * (x.shape[2] // rows)
            across = torch.arange(columns, device=x.device, dtype=torch.float32) * (x.shape[3] // columns)
            y, x_ = torch.meshgrid(down, across, indexing="ij")
            places = torch.stack([x_, y, x_, y], dim=2)  # (h, w, 4)
            found.append((places[:, :, None] + cell).reshape(-1, 4))
        return found


def cells(sizes: Sequence[Sequence[float]], shapes: Sequence[float]) -> Tensor:
    """(L, S) sizes to (L, A, 4) anchors about the origin, those of one shape together."""
    side = torch.tensor([list(some) for some in sizes], dtype=torch.float32)[:, None]  # (L, 1, S)
    root = torch.tensor(list(shapes), dtype=torch.float32).sqrt()[None, :, None]
    width, height = (side / root).flatten(1), (side * root).flatten(1)  # (L, A)
    return (torch.stack([-width, -height, width, height], dim=2) / 2).round()


def octaves(boxes: Tensor, count: int) -> list[float]:
    """Sizes of anchors for boxes, from the small upwards, each map's twice those of the finer one.

    For anchors whose scales fill an octave. A coarse map has sizes that lie as far apart as its cells, so that every
    object has several anchors about it.

    Args:
        boxes: (N, 4) of the training split, in pixels of the network.
        count: maps.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(1).sqrt()
    small = float(torch.quantile(sides, 0.02).clamp(min=FINEST))
    return [small * 2**k for k in range(count)]


def suited(boxes: Tensor, count: int) -> list[float]:
    """Sizes of anchors for boxes: evenly spaced in their logarithm from the small to the large.

    Args:
        boxes: (N, 4) of the training split, in pixels of the network.
        count: maps.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(1).sqrt()
    small, large = torch.quantile(sides.log(), torch.tensor([0.1, 0.9])).tolist()
    if large - small < 0.5 * (count - 1):  # boxes of about one size: half as far apart again
        middle = (small + large) / 2
        small, large = middle - 0.25 * (count - 1), middle + 0.25 * (count - 1)
    sizes: list[float] = torch.linspace(small, large, count).exp().tolist()
    return sizes
