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
from torch.nn.functional import embedding_bag

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
            maps: (B, C, h, w) each, large to small. x: (B, C, H, W), the pictures that they are of, whose
                sides are multiples of the strides.
            regions: (R, 5): which picture, and x1 y1 x2 y2 in its pixels.
        """
        strides = [int(x.shape[2] // features.shape[2]) for features in maps]
        level = levels(regions[:, 1:], strides)  # (R,)
        if self.kind == "roi-align" and not torch.compiler.is_exporting():
            return aligned(maps, strides, level, regions, self.size, 0.5 if self.aligned else 0.0)
        pooled = regions.new_zeros(regions.shape[0], maps[0].shape[1], self.size, self.size)
        for place, (features, stride) in enumerate(zip(maps, strides, strict=True)):
            here = torch.nonzero(level == place)[:, 0]
            pooled = pooled.index_copy(0, here, self.read(features, regions[here], 1 / stride))
        return pooled

    def read(self, features: Tensor, regions: Tensor, scale: float) -> Tensor:
        """(B, C, h, w) and (R, 5) to (R, C, size, size), by torchvision."""
        from torchvision.ops import roi_align, roi_pool

        side = (self.size, self.size)
        features = features.to(regions.dtype)  # half precision is not known to it
        read: Tensor
        if self.kind == "roi-pool":
            read = roi_pool(features, regions, side, scale)
        else:
            read = roi_align(features, regions, side, scale, POINTS, self.aligned)
        return read


def levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """(R, 4) to (R,) int64, which map: k = ⌊4 + log₂(√(wh)/224)⌋, where map k has the stride 2ᵏ."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    k = torch.floor(4 + torch.log2(torch.sqrt(width * height) / USUAL) + 1e-6)
    first, last = (round(math.log2(stride)) for stride in (strides[0], strides[-1]))
    return (k.clamp(first, last) - first).long()


def aligned(
    maps: Sequence[Tensor], strides: Sequence[int], level: Tensor, regions: Tensor, size: int, half: float = 0.5
) -> Tensor:
    """RoIAlign: a part of a region is the mean of the map at 2 x 2 points, read between its cells.

    The value at a point is bilinear in the four cells about it, so a part is a weighted sum of 16 rows of a table: all
    cells of all maps, (Σ B·h·w, C). One sum of weighted rows reads every region of every map, with the channels of a
    cell side by side: on a processor a tenth of the time of reading channel by channel.

    Args:
        maps: (B, C, h, w) each. strides: pixels to a cell of each. level: (R,) which map each region is read from.
        regions: (R, 5): which picture, and x1 y1 x2 y2 in pixels.
        half: cells between a region's corner and the place where it is read: the middle of cell k lies at k + ½.
    Returns:
        (R, C, size, size)
    """
    channels, device = maps[0].shape[1], regions.device
    table = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, channels) for one in maps])  # (Σ B·h·w, C)
    sides = torch.tensor([one.shape[2:] for one in maps], device=device)  # (L, 2)
    starts = torch.tensor([0, *(one[:, 0].numel() for one in maps[:-1])], device=device).cumsum(0)
    height, width = sides[level].unbind(1)  # (R,)
    x1, y1, x2, y2 = (regions[:, 1:] / torch.tensor(strides, device=device)[level, None] - half).unbind(1)
    least = 0.0 if half else 1.0  # as published: a region was at least a cell wide
    row, down = points(y1, (y2 - y1).clamp(min=least), height, size)  # (R, size, 2 POINTS)
    column, across = points(x1, (x2 - x1).clamp(min=least), width, size)
    first = starts[level] + regions[:, 0].long() * height * width
    place = first[:, None, None, None, None] + row[:, :, None, :, None] * width[:, None, None, None, None]
    place = place + column[:, None, :, None, :]  # (R, size, size, 2 POINTS, 2 POINTS)
    weight = down[:, :, None, :, None] * across[:, None, :, None, :] / POINTS**2
    rows = (len(regions) * size**2, (2 * POINTS) ** 2)
    table = table.to(weight.dtype)
    mixed = embedding_bag(place.reshape(rows), table, mode="sum", per_sample_weights=weight.reshape(rows))
    return mixed.view(len(regions), size, size, channels).permute(0, 3, 1, 2)


def points(first: Tensor, length: Tensor, cells: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The cells along one axis that the points of each part lie between, and the share that each of them has.

    Args:
        first, length: (R,) of a region, in cells. cells: (R,) of its map.
    Returns:
        (R, size, 2 POINTS) int64 and float; the share is 0 for a point more than a cell outside.
    """
    steps = (torch.arange(size * POINTS, dtype=first.dtype, device=first.device) + 0.5) / (size * POINTS)
    point = first[:, None] + length[:, None] * steps  # (R, size · POINTS)
    last = (cells - 1)[:, None]
    there = (point >= -1) & (point <= cells[:, None])
    point = torch.minimum(point.clamp(min=0), last.to(point.dtype))
    before = point.floor()
    after = torch.minimum(before + 1, last.to(point.dtype))
    share = torch.stack([1 - (point - before), point - before], 2) * there[:, :, None]
    cell = torch.stack([before, after], 2).long()
    return cell.flatten(1).view(len(first), size, -1), share.flatten(1).view(len(first), size, -1)
