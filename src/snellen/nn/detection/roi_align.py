"""RoIPool and RoIAlign: features of a region as a grid of fixed size.

RoIPool rounds a region to whole cells and takes the maximum of each part; moving the region by half a cell changes
nothing, or a lot. RoIAlign interpolates between cells, and so changes continuously with the region.

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

PoolingKind = Literal["roi-align", "roi-pool"]

CANONICAL_SIZE = 224  # pixels of a region that is pooled from the map with stride 16
SAMPLING_POINTS = 2  # of RoIAlign per cell of the output, vertical and horizontal


class RoIPooling(nn.Module):
    """RoI pooling of every region from the level of a feature pyramid that fits its size.

    Args:
        kind: pooling method.
        size: output cells, vertical and horizontal.
        aligned: align cell centres with pixel centres; torchvision's published weights were trained half a cell off.
    """

    def __init__(self, kind: PoolingKind, size: int, aligned: bool = True) -> None:
        super().__init__()
        self.kind = kind
        self.size = size
        self.aligned = aligned

    def forward(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> Tensor:
        """Pooled features of the regions, (R, C, size, size).

        Args:
            maps: (B, C, h, w) each, large to small. x: (B, C, H, W), their images, whose sides are multiples of the
                strides.
            regions: (R, 5): image index, and x1 y1 x2 y2 in its pixels.
        """
        strides = [int(x.shape[2] // features.shape[2]) for features in maps]
        level = pyramid_levels(regions[:, 1:], strides)  # (R,)
        if self.kind == "roi-align" and not torch.compiler.is_exporting():
            return roi_align_pyramid(maps, strides, level, regions, self.size, 0.5 if self.aligned else 0.0)
        pooled = regions.new_zeros(regions.shape[0], maps[0].shape[1], self.size, self.size)
        for index, (features, stride) in enumerate(zip(maps, strides, strict=True)):
            selected = torch.nonzero(level == index)[:, 0]
            pooled = pooled.index_copy(0, selected, self.pool_level(features, regions[selected], 1 / stride))
        return pooled

    def pool_level(self, features: Tensor, regions: Tensor, scale: float) -> Tensor:
        """torchvision's pooling from one feature map: (B, C, h, w) and (R, 5) to (R, C, size, size)."""
        from torchvision.ops import roi_align, roi_pool

        side = (self.size, self.size)
        features = features.to(regions.dtype)  # it does not support half precision
        pooled: Tensor
        if self.kind == "roi-pool":
            pooled = roi_pool(features, regions, side, scale)
        else:
            pooled = roi_align(features, regions, side, scale, SAMPLING_POINTS, self.aligned)
        return pooled


def pyramid_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Pyramid level of each box, (R, 4) to (R,) int64: k = ⌊4 + log₂(√(wh)/224)⌋, where map k has the stride 2ᵏ."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    k = torch.floor(4 + torch.log2(torch.sqrt(width * height) / CANONICAL_SIZE) + 1e-6)
    first, last = (round(math.log2(stride)) for stride in (strides[0], strides[-1]))
    return (k.clamp(first, last) - first).long()


def roi_align_pyramid(
    maps: Sequence[Tensor], strides: Sequence[int], level: Tensor, regions: Tensor, size: int, half: float = 0.5
) -> Tensor:
    """RoIAlign on a feature pyramid: an output cell is the mean of the map at 2 x 2 bilinearly interpolated points.

    Each point interpolates four cells, so an output cell is a weighted sum of 16 rows of a table of all cells of all
    maps, (Σ B·h·w, C). One weighted embedding bag pools every region of every map, with the channels of a cell
    contiguous: on a CPU a tenth of the time of pooling channel by channel.

    Args:
        maps: (B, C, h, w) each. strides: of each map in pixels. level: (R,) index of the map of each region.
        regions: (R, 5): image index, and x1 y1 x2 y2 in pixels.
        half: offset in cells subtracted from coordinates: the centre of cell k lies at k + ½.
    Returns:
        (R, C, size, size)
    """
    channels, device = maps[0].shape[1], regions.device
    table = torch.cat([features.permute(0, 2, 3, 1).reshape(-1, channels) for features in maps])  # (Σ B·h·w, C)
    sides = torch.tensor([features.shape[2:] for features in maps], device=device)  # (L, 2)
    starts = torch.tensor([0, *(features[:, 0].numel() for features in maps[:-1])], device=device).cumsum(0)
    height, width = sides[level].unbind(1)  # (R,)
    x1, y1, x2, y2 = (regions[:, 1:] / torch.tensor(strides, device=device)[level, None] - half).unbind(1)
    min_length = 0.0 if half else 1.0  # as in the published weights: a region is at least one cell wide
    row, row_weight = sample_points(y1, (y2 - y1).clamp(min=min_length), height, size)  # (R, size, 2 SAMPLING_POINTS)
    column, column_weight = sample_points(x1, (x2 - x1).clamp(min=min_length), width, size)
    first = starts[level] + regions[:, 0].long() * height * width
    index = first[:, None, None, None, None] + row[:, :, None, :, None] * width[:, None, None, None, None]
    index = index + column[:, None, :, None, :]  # (R, size, size, 2 SAMPLING_POINTS, 2 SAMPLING_POINTS)
    weight = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :] / SAMPLING_POINTS**2
    rows = (len(regions) * size**2, (2 * SAMPLING_POINTS) ** 2)
    table = table.to(weight.dtype)
    pooled = embedding_bag(index.reshape(rows), table, mode="sum", per_sample_weights=weight.reshape(rows))
    return pooled.view(len(regions), size, size, channels).permute(0, 3, 1, 2)


def sample_points(first: Tensor, length: Tensor, cells: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cells and weights of the bilinear interpolation along one axis, for the sampling points of each output cell.

    Args:
        first, length: (R,) of a region, in cells. cells: (R,) of its map.
    Returns:
        (R, size, 2 SAMPLING_POINTS) int64 and float; the weight is 0 for a point more than a cell outside.
    """
    steps = (torch.arange(size * SAMPLING_POINTS, dtype=first.dtype, device=first.device) + 0.5) / (
        size * SAMPLING_POINTS
    )
    point = first[:, None] + length[:, None] * steps  # (R, size · SAMPLING_POINTS)
    last = (cells - 1)[:, None]
    valid = (point >= -1) & (point <= cells[:, None])
    point = torch.minimum(point.clamp(min=0), last.to(point.dtype))
    before = point.floor()
    after = torch.minimum(before + 1, last.to(point.dtype))
    weight = torch.stack([1 - (point - before), point - before], 2) * valid[:, :, None]
    cell = torch.stack([before, after], 2).long()
    return cell.flatten(1).view(len(first), size, -1), weight.flatten(1).view(len(first), size, -1)
