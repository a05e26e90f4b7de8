"""Rows D8 and N11 of the lectures: RoIAlign interpolates, RoIPool rounds to whole cells."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from snellen.nn.detection.roi_align import RoIPooling, pyramid_levels

# An 8x8 grid that is often printed to explain RoIPool. The region of the lecture is not known; here it is rows 3-6,
# columns 0-6, split at row 5 and column 3.
GRID = torch.tensor(
    [
        [0.1, 0.3, 0.2, 0.3, 0.2, 0.6, 0.8, 0.9],
        [0.4, 0.5, 0.1, 0.4, 0.7, 0.1, 0.4, 0.3],
        [0.2, 0.1, 0.3, 0.8, 0.6, 0.2, 0.1, 0.1],
        [0.4, 0.6, 0.2, 0.1, 0.3, 0.6, 0.1, 0.2],
        [0.1, 0.8, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3],
        [0.2, 0.9, 0.4, 0.5, 0.1, 0.1, 0.1, 0.2],
        [0.3, 0.1, 0.8, 0.6, 0.3, 0.3, 0.6, 0.5],
        [0.5, 0.5, 0.2, 0.1, 0.1, 0.2, 0.1, 0.2],
    ]
)


def bilinear(features: Tensor, y: float, x: float) -> Tensor:
    """Bilinear interpolation of (C, h, w), cell k centred at k: (1−u)(1−v)a + u(1−v)b + (1−u)v c + uv d."""
    height, width = features.shape[1:]
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    down, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    above = (1 - u) * features[:, top, left] + u * features[:, top, right]
    below = (1 - u) * features[:, down, left] + u * features[:, down, right]
    return (1 - v) * above + v * below


def test_d8_a_bin_is_the_mean_of_four_bilinear_samples() -> None:
    features = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.zeros(1, 3, 36, 36)
    region = torch.tensor([[0, 5.3, 7.1, 24.9, 30.2]], dtype=torch.float64)
    pooled = RoIPooling("roi-align", 2)([features], x, region)[0]
    x1, y1, x2, y2 = (float(v) / 4 - 0.5 for v in region[0, 1:])  # the centre of cell k is k + 1/2
    for row, column in itertools.product(range(2), range(2)):
        samples = [
            bilinear(features[0], y1 + (row + a) * (y2 - y1) / 2, x1 + (column + b) * (x2 - x1) / 2)
            for a, b in itertools.product((0.25, 0.75), (0.25, 0.75))
        ]
        torch.testing.assert_close(pooled[:, row, column], torch.stack(samples).mean(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("aligned", [True, False])
def test_d8_roi_align_matches_torchvision_on_a_pyramid(aligned: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 5, 256 // stride, 320 // stride, generator=generator).double() for stride in (4, 8, 16)]
    x = torch.zeros(2, 3, 256, 320)
    corner = torch.rand(300, 2, generator=generator, dtype=torch.float64) * 330 - 20  # some are outside
    side = torch.rand(300, 2, generator=generator, dtype=torch.float64) ** 2 * 300
    image = torch.randint(0, 2, (300, 1), generator=generator).double()
    regions = torch.cat([image, corner, corner + side], 1)
    pooled = RoIPooling("roi-align", 7, aligned)(maps, x, regions)
    if not aligned:  # torchvision's pyramid supports the published form only
        reference = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
        rois = [regions[regions[:, 0] == k, 1:] for k in (0, 1)]
        expected = reference({str(k): one for k, one in enumerate(maps)}, rois, [(256, 320)] * 2)
        pooled = torch.cat([pooled[regions[:, 0] == k] for k in (0, 1)])
    else:
        level = pyramid_levels(regions[:, 1:], [4, 8, 16])
        expected = torch.stack(
            [
                roi_align(maps[k], one[None], (7, 7), 1 / (4, 8, 16)[k], 2, True)[0]
                for k, one in zip(level.tolist(), regions, strict=True)
            ]
        )
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)


def test_d8_the_gradient_matches_finite_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    maps = [
        torch.randn(1, 2, side, side, generator=generator, dtype=torch.float64, requires_grad=True) for side in (8, 4)
    ]
    x = torch.zeros(1, 3, 32, 32)
    regions = torch.tensor([[0, 3.2, 4.9, 17.3, 22.8], [0, -5.0, 1, 60, 31]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *maps: RoIPooling("roi-align", 3)(maps, x, regions), tuple(maps))


def pooled_after_shift(kind: str, shift: float) -> Tensor:
    features = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    region = torch.tensor([[0, 10.0 + shift, 12.0, 40.0 + shift, 44.0]])
    return RoIPooling(kind, 4)([features], torch.zeros(1, 3, 64, 64), region)  # type: ignore[arg-type]


def test_d8_roi_align_is_continuous_in_the_region_and_roi_pool_is_not() -> None:
    steps = [k / 64 for k in range(129)]  # two pixels, half a cell
    changes = {
        kind: torch.tensor(
            [
                float((pooled_after_shift(kind, b) - pooled_after_shift(kind, a)).abs().max())
                for a, b in itertools.pairwise(steps)
            ]
        )
        for kind in ("roi-align", "roi-pool")
    }
    total = float((pooled_after_shift("roi-align", 2.0) - pooled_after_shift("roi-align", 0.0)).abs().max())
    assert (changes["roi-align"] > 0).all()
    assert changes["roi-align"].max() < 0.1 * total  # every step is small
    assert (changes["roi-pool"] > 0).sum() <= 2  # constant, except where a corner passes the centre of a cell
    assert changes["roi-pool"].max() > total


def test_n11_the_grid_of_the_lecture() -> None:
    rows, columns = (slice(3, 5), slice(5, 7)), (slice(0, 3), slice(3, 7))
    expected = torch.stack([torch.stack([GRID[row, column].max() for column in columns]) for row in rows])
    assert expected.tolist() == torch.tensor([[0.8, 0.6], [0.9, 0.6]]).tolist()
    region = torch.tensor([[0.0, 0.0, 3.0, 6.0, 6.0]])  # the last row and column are inclusive
    pooled = RoIPooling("roi-pool", 2).pool_level(GRID[None, None], region, 1.0)[0, 0]
    assert torch.equal(pooled, expected)
