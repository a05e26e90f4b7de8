"""Row D6 of the lectures: RoIPool on one feature map equals pooling each cropped region; gradient check."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snellen.nn.detection.roi_align import RoIPooling

STRIDE = 4


def pool_region(features: Tensor, region: Tensor, size: int) -> Tensor:
    """Max-pool one region by whole cells: (C, h, w) and (4,) to (C, size, size)."""
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
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(count, 2, generator=generator) * 30
    side = 1 + torch.rand(count, 2, generator=generator) * 40
    image = torch.randint(0, 2, (count, 1), generator=generator).float()
    return torch.cat([image, corner, corner + side], 1)


def test_d6_roi_pool_matches_pooling_each_cropped_region() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 16, 16, generator=generator)
    x = torch.zeros(2, 3, 16 * STRIDE, 16 * STRIDE)
    rois = regions(40)
    pooled = RoIPooling("roi-pool", 3)([features], x, rois)
    for region, pooled_region in zip(rois, pooled, strict=True):
        assert torch.equal(pooled_region, pool_region(features[int(region[0])], region[1:], 3))


def test_d6_the_gradient_matches_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    # distinct values far apart, so that finite differences do not change the maximum
    features = torch.randperm(2 * 2 * 8 * 8, generator=generator).double().view(2, 2, 8, 8).requires_grad_()
    x = torch.zeros(2, 3, 32, 32, dtype=torch.float64)
    rois = regions(5).double()
    assert torch.autograd.gradcheck(lambda maps: RoIPooling("roi-pool", 2)([maps], x, rois), features)


def test_d6_each_pyramid_level_serves_regions_of_its_size() -> None:
    generator = torch.Generator().manual_seed(2)
    large, small = torch.randn(1, 2, 64, 64, generator=generator), torch.randn(1, 2, 32, 32, generator=generator)
    x = torch.zeros(1, 3, 256, 256)  # strides 4 and 8
    rois = torch.tensor(
        [[0.0, 10, 10, 40, 50], [0, 0, 0, 250, 250]]
    )  # pooled at stride 4 and, as it is larger, at stride 8
    pooled = RoIPooling("roi-pool", 4)([large, small], x, rois)
    assert torch.equal(pooled[:1], RoIPooling("roi-pool", 4).pool_level(large, rois[:1], 1 / 4))
    assert torch.equal(pooled[1:], RoIPooling("roi-pool", 4).pool_level(small, rois[1:], 1 / 8))
