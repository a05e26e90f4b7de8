"""Row C11 of the lectures: nearest, bilinear and bicubic upsampling, against SciPy and by exact cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from raw_datasets import seeded
from scipy.ndimage import map_coordinates
from torch import Tensor

from snellen.nn.dense.upsampling import Interpolation, upsampling

FACTORS = [2, 4]


def centres(count: int, factor: int) -> Tensor:
    """Centres of the new pixels in coordinates of the old."""
    return (torch.arange(count * factor, dtype=torch.float64) + 0.5) / factor - 0.5


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_c11_a_constant_stays_constant(mode: str, factor: int) -> None:
    x = torch.full((1, 2, 5, 4), 3.25, dtype=torch.float64)
    assert torch.allclose(Interpolation(mode, factor)(x), torch.tensor(3.25, dtype=torch.float64), atol=1e-13)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_c11_a_ramp_stays_a_ramp_inside(mode: str, factor: int) -> None:
    """Linear in x and y, and their product, away from the border, where pixels are repeated."""
    rows, columns = torch.arange(8, dtype=torch.float64), torch.arange(9, dtype=torch.float64)
    fine = centres(8, factor)[:, None], centres(9, factor)
    x = 2 * rows[:, None] - 3 * columns + 0.5 * rows[:, None] * columns
    expected = 2 * fine[0] - 3 * fine[1] + 0.5 * fine[0] * fine[1]
    output = Interpolation(mode, factor)(x[None, None])[0, 0]
    border = 2 * factor
    assert torch.allclose(output[border:-border, border:-border], expected[border:-border, border:-border], atol=1e-11)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("mode", "order"), [("nearest", 0), ("bilinear", 1)])
def test_c11_nearest_and_bilinear_match_scipy(mode: str, order: int, factor: int) -> None:
    x = torch.randn(5, 6, generator=seeded(), dtype=torch.float64)
    coordinates = np.meshgrid(centres(5, factor).numpy(), centres(6, factor).numpy(), indexing="ij")
    expected = map_coordinates(x.numpy(), coordinates, order=order, mode="nearest")
    output = Interpolation(mode, factor)(x[None, None])[0, 0].numpy()
    np.testing.assert_allclose(output, expected, atol=1e-12)


def cubic(t: Tensor, a: float = -0.5) -> Tensor:
    """Cubic convolution kernel (Keys 1981, equation 15)."""
    t = t.abs()
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


@pytest.mark.parametrize("factor", FACTORS)
def test_c11_bicubic_weights_sixteen_pixels_by_keys_kernel(factor: int) -> None:
    """Brute force over every pair of pixels; at the border the weights are scaled to sum to one."""
    x = torch.randn(5, 6, generator=seeded(), dtype=torch.float64)

    def weights(count: int) -> Tensor:
        kernel = cubic(centres(count, factor)[:, None] - torch.arange(count))
        return kernel / kernel.sum(1, keepdim=True)

    expected = weights(5) @ x @ weights(6).T
    assert torch.allclose(Interpolation("bicubic", factor)(x[None, None])[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("mode", "resampling"), [("nearest", Image.Resampling.NEAREST), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_c11_interpolation_matches_pillow(mode: str, resampling: Image.Resampling, factor: int) -> None:
    x = torch.randn(7, 9, generator=seeded())
    expected = np.asarray(Image.fromarray(x.numpy()).resize((9 * factor, 7 * factor), resampling))
    np.testing.assert_allclose(Interpolation(mode, factor)(x[None, None])[0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["deconvolution", "nearest", "bilinear", "bicubic"])
def test_c11_every_method_gives_the_requested_channels_and_size(mode: str) -> None:
    assert upsampling(mode, 6, 3, 4)(torch.zeros(2, 6, 5, 7)).shape == (2, 3, 20, 28)
