"""What lies in a region of a map, as a grid of a fixed size: RoIPool and RoIAlign.

RoIPool cuts a region at whole cells and takes the largest value of each part; a region moved by half a cell may give
the same, or jump. RoIAlign reads the map between its cells, and so changes with the region.

Source: Girshick 2015, "Fast R-CNN"; He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN"; Lin et al. 2017, "Feature
pyramid networks", eq. 1; lecture 003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["roi-align", "roi-pool"]

USUAL = 224  # pixels of a region that is read from the map with stride 16
POINTS = 2  # of a part of a region, down and across, at which RoIAlign reads


class Pool(nn.Module):
    """Reads every region from the map of a pyramid that suits its size.

    Args:
        kind: how a region is read.
        size: parts down and across.
        aligned: whether a region's corner lies where its picture's does; torchvision's published weights were learned
            half a cell off.
    """

    def __init__(self, kind: Kind, size: int, aligned: bool = True) -> None:
        super().__init__()
        self.kind = kind
        self.size = size
        self.aligned = aligned

    def forward(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> Tensor:
        """The regions, each as (C, size, size).

        Args:
            maps: (B, C, h, w) each, large to small. x: (B, C, H, W), the pictures that they are of.
            regions: (R, 5): which picture, and x1 y1 x2 y2 in its pixels.
        """
        scales = [2.0 ** round(math.log2(features.shape[2] / x.shape[2])) for features in maps]
        if len(maps) == 1:
            return self.read(maps[0], regions, scales[0])
        level = self.level(regions[:, 1:], scales)  # (R,)
        if torch.compiler.is_exporting():  # a choice of rows has no fixed size: read all maps, and take one
            every = torch.stack([self.read(features, regions, scale) for features, scale in zip(maps, scales, strict=True)])
            index = level[None, :, None, None, None].expand(1, *every.shape[1:])
            return every.gather(0, index)[0]
        pooled = maps[0].new_zeros(len(regions), maps[0].shape[1], self.size, self.size)
        for place, (features, scale) in enumerate(zip(maps, scales, strict=True)):
            here = torch.nonzero(level == place)[:, 0]
            if len(here):
                pooled = pooled.index_copy(0, here, self.read(features, regions[here], scale))
        return pooled

    def read(self, features: Tensor, regions: Tensor, scale: float) -> Tensor:
        """(B, C, h, w) and (R, 5) to (R, C, size, size)."""
        from torchvision.ops import roi_align, roi_pool

        side = (self.size, self.size)
        if self.kind == "roi-pool":
            pooled: Tensor = roi_pool(features, regions.to(features), side, scale)
            return pooled
        aligned: Tensor = roi_align(features, regions.to(features), side, scale, POINTS, self.aligned)
        return aligned

    def level(self, boxes: Tensor, scales: Sequence[float]) -> Tensor:
        """(R, 4) to (R,) int64, which map: k = ⌊4 + log₂(√(wh)/224)⌋, where map k has the stride 2ᵏ."""
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
        k = torch.floor(4 + torch.log2(torch.sqrt(width * height) / USUAL) + 1e-6)
        first, last = (-round(math.log2(scale)) for scale in (scales[0], scales[-1]))
        return (k.clamp(first, last) - first).long()
