"""Row C11 of the lectures: nearest, bilinear and bicubic upsampling, against scipy and by what they leave exact."""

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
    """Where the centres of the new pixels lie among those of the old."""
    return (torch.arange(count * factor, dtype=torch.float64) + 0.5) / factor - 0.5


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic"])
def test_c11_a_constant_stays_one(how: str, factor: int) -> None:
    x = torch.full((1, 2, 5, 4), 3.25, dtype=torch.float64)
    assert torch.allclose(Interpolation(how, factor)(x), torch.tensor(3.25, dtype=torch.float64), atol=1e-13)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_c11_a_ramp_stays_one_inside(how: str, factor: int) -> None:
    """Linear in x and y for bicubic, with their product for bilinear; borders, where pixels are repeated, left out."""
    rows, columns = torch.arange(8, dtype=torch.float64), torch.arange(9, dtype=torch.float64)
    fine = centres(8, factor)[:, None], centres(9, factor)
    x = 2 * rows[:, None] - 3 * columns + 0.5 * rows[:, None] * columns
    expected = 2 * fine[0] - 3 * fine[1] + 0.5 * fine[0] * fine[1]
    said = Interpolation(how, factor)(x[None, None])[0, 0]
    rim = 2 * factor
    assert torch.allclose(said[rim:-rim, rim:-rim], expected[rim:-rim, rim:-rim], atol=1e-11)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("how", "order"), [("nearest", 0), ("bilinear", 1)])
def test_c11_nearest_and_bilinear_are_scipys(how: str, order: int, factor: int) -> None:
    x = torch.randn(5, 6, generator=seeded(), dtype=torch.float64)
    places = np.meshgrid(centres(5, factor).numpy(), centres(6, factor).numpy(), indexing="ij")
    expected = map_coordinates(x.numpy(), places, order=order, mode="nearest")
    said = Interpolation(how, factor)(x[None, None])[0, 0].numpy()
    np.testing.assert_allclose(said, expected, atol=1e-12)


def cubic(t: Tensor, a: float = -0.5) -> Tensor:
    """Keys' kernel, from his equation 15."""
    t = t.abs()
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


@pytest.mark.parametrize("factor", FACTORS)
def test_c11_bicubic_weighs_sixteen_pixels_by_keys_kernel(factor: int) -> None:
    """Brute force over every pair of pixels; at the border the weights of those that are there are scaled to one."""
    x = torch.randn(5, 6, generator=seeded(), dtype=torch.float64)

    def weights(count: int) -> Tensor:
        taken = cubic(centres(count, factor)[:, None] - torch.arange(count))
        return taken / taken.sum(1, keepdim=True)

    expected = weights(5) @ x @ weights(6).T
    assert torch.allclose(Interpolation("bicubic", factor)(x[None, None])[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("how", "theirs"), [("nearest", Image.Resampling.NEAREST), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_c11_pillow_says_the_same(how: str, theirs: Image.Resampling, factor: int) -> None:
    x = torch.randn(7, 9, generator=seeded())
    expected = np.asarray(Image.fromarray(x.numpy()).resize((9 * factor, 7 * factor), theirs))
    np.testing.assert_allclose(Interpolation(how, factor)(x[None, None])[0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["deconvolution", "nearest", "bilinear", "bicubic"])
def test_c11_every_choice_gives_as_many_channels_and_pixels_as_asked(how: str) -> None:
    assert upsampling(how, 6, 3, 4)(torch.zeros(2, 6, 5, 7)).shape == (2, 3, 20, 28)
