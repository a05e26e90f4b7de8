"""D6: RoIPool reads all regions from one map, as if each were cut out and pooled by itself; its gradient is right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snellen.nn.detection.roi_pooling import Pool

STRIDE = 4


def one_by_one(features: Tensor, region: Tensor, size: int) -> Tensor:
    """A region by itself: whole cells, each part's largest value. (C, h, w) and (4,) cells to (C, size, size)."""
    x1, y1, x2, y2 = (math.floor(v / STRIDE + 0.5) for v in region.tolist())
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    pooled = torch.zeros(features.shape[0], size, size, dtype=features.dtype)
    for row in range(size):
        for column in range(size):
            top, bottom = y1 + math.floor(row * height / size), y1 + math.ceil((row + 1) * height / size)
            left, right = x1 + math.floor(column * width / size), x1 + math.ceil((column + 1) * width / size)
            part = features[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            if part.numel():
                pooled[:, row, column] = part.amax((1, 2))
    return pooled


def regions(count: int) -> Tensor:
    drawn = torch.Generator().manual_seed(3)
    corner = torch.rand(count, 2, generator=drawn) * 30
    side = 1 + torch.rand(count, 2, generator=drawn) * 40
    picture = torch.randint(0, 2, (count, 1), generator=drawn).float()
    return torch.cat([picture, corner, corner + side], 1)


def test_d6_one_map_serves_every_region_as_if_it_were_cut_out() -> None:
    drawn = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 16, 16, generator=drawn)
    x = torch.zeros(2, 3, 16 * STRIDE, 16 * STRIDE)
    asked = regions(40)
    pooled = Pool("roi-pool", 3)([features], x, asked)
    for region, found in zip(asked, pooled, strict=True):
        assert torch.equal(found, one_by_one(features[int(region[0])], region[1:], 3))


def test_d6_its_gradient_is_that_of_finite_differences() -> None:
    drawn = torch.Generator().manual_seed(1)
    # distinct values far apart: no step of the differences changes which is largest
    features = torch.randperm(2 * 2 * 8 * 8, generator=drawn).double().view(2, 2, 8, 8).requires_grad_()
    x = torch.zeros(2, 3, 32, 32, dtype=torch.float64)
    asked = regions(5).double()
    assert torch.autograd.gradcheck(lambda maps: Pool("roi-pool", 2)([maps], x, asked), features)


def test_d6_each_of_a_pyramid_serves_regions_of_its_size() -> None:
    drawn = torch.Generator().manual_seed(2)
    large, small = torch.randn(1, 2, 64, 64, generator=drawn), torch.randn(1, 2, 32, 32, generator=drawn)
    x = torch.zeros(1, 3, 256, 256)  # strides 4 and 8
    asked = torch.tensor([[0.0, 10, 10, 40, 50], [0, 0, 0, 250, 250]])  # read at 2^2 and, 224 pixels large, beyond 2^3
    together = Pool("roi-pool", 4)([large, small], x, asked)
    assert torch.equal(together[:1], Pool("roi-pool", 4).read(large, asked[:1], 1 / 4))
    assert torch.equal(together[1:], Pool("roi-pool", 4).read(small, asked[1:], 1 / 8))
