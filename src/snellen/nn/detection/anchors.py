"""Anchors: reference boxes of a few sizes and aspect ratios at every cell of every feature map.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MIN_ANCHOR_SIZE = 16.0  # pixels: two cells of the finest map of a one-stage detector


class Anchors(nn.Module):
    """Anchors of a feature pyramid. Their sizes are saved with the weights.

    Args:
        sizes: (L, S) for each map, square root of the area, in pixels of the network.
        shapes: aspect ratios, height over width.
        scales: (S,) sizes per cell as multiples of the first, for sizes fitted to data.
        fixed: the sizes belong to the method or to pretrained weights, and are not fitted.
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
        self.is_fixed = fixed
        with torch.device("cpu"):  # on the meta device torch would load its compiler for the square root
            self.register_buffer("cells", base_anchors(sizes, shapes))

    def fit(self, sizes: Sequence[float]) -> None:
        """Set the (L,) first sizes of the feature maps."""
        self.cells.copy_(base_anchors([[size * scale for scale in self.scales] for size in sizes], self.shapes))

    def forward(self, maps: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """Anchors of each feature map, row by row, those of one cell together.

        Args:
            maps: (B, C, h, w) each. x: (B, C, H, W), their images.
        Returns:
            (h·w·A, 4) each, pixels of x.
        """
        anchors = []
        for cell, features in zip(self.cells, maps, strict=True):
            rows, columns = features.shape[-2:]
            rows_y = torch.arange(rows, device=x.device, dtype=torch.float32) * (x.shape[2] // rows)
            columns_x = torch.arange(columns, device=x.device, dtype=torch.float32) * (x.shape[3] // columns)
            y, x_ = torch.meshgrid(rows_y, columns_x, indexing="ij")
            origins = torch.stack([x_, y, x_, y], dim=2)  # (h, w, 4)
            anchors.append((origins[:, :, None] + cell).reshape(-1, 4))
        return anchors


def base_anchors(sizes: Sequence[Sequence[float]], shapes: Sequence[float]) -> Tensor:
    """(L, A, 4) anchors about the origin of (L, S) sizes, those of one shape together."""
    side = torch.tensor([list(level_sizes) for level_sizes in sizes], dtype=torch.float32)[:, None]  # (L, 1, S)
    root = torch.tensor(list(shapes), dtype=torch.float32).sqrt()[None, :, None]
    width, height = (side / root).flatten(1), (side * root).flatten(1)  # (L, A)
    return (torch.stack([-width, -height, width, height], dim=2) / 2).round()


def octave_sizes(boxes: Tensor, count: int) -> list[float]:
    """Anchor sizes for boxes: from small boxes upwards, doubled from map to map.

    For anchors whose scales fill an octave. The sizes grow with the cells of the maps, so that every object has several
    anchors about it.

    Args:
        boxes: (N, 4) of the training split, in pixels of the network.
        count: number of feature maps.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(1).sqrt()
    small = float(torch.quantile(sides, 0.02).clamp(min=MIN_ANCHOR_SIZE))
    return [small * 2**k for k in range(count)]


def quantile_sizes(boxes: Tensor, count: int) -> list[float]:
    """Anchor sizes for boxes: log-spaced from the 10 % to the 90 % quantile of box sizes.

    Args:
        boxes: (N, 4) of the training split, in pixels of the network.
        count: number of feature maps.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(1).sqrt()
    small, large = torch.quantile(sides.log(), torch.tensor([0.1, 0.9])).tolist()
    if large - small < 0.5 * (count - 1):  # boxes of similar size: at least a factor of √e apart
        centre = (small + large) / 2
        small, large = centre - 0.25 * (count - 1), centre + 0.25 * (count - 1)
    sizes: list[float] = torch.linspace(small, large, count).exp().tolist()
    return sizes
