"""A filter commutes with a shift exactly; a fully connected layer does not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from snellen.core.errors import UsageError
from snellen.filters import KERNELS
from snellen.filters.shifts import check_shift, shift_image


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-4, 0), (0, 5), (1, 1), (-20, 30)])
def test_an_image_moves_as_in_scipy(dx: int, dy: int) -> None:
    image = np.random.default_rng(0).standard_normal((12, 17))
    assert np.allclose(shift_image(image, dx, dy), scipy.ndimage.shift(image, (dy, dx), order=0), atol=1e-15)


@pytest.mark.parametrize("name", ["sobel-x", "sharpen", "gaussian-xy", "laplacian"])
@pytest.mark.parametrize("options", [{}, {"convolve": True}, {"border": "wrap"}, {"border": "reflect", "dilation": 2}])
@pytest.mark.parametrize(("dx", "dy"), [(5, -3), (-2, 4)])
def test_the_map_of_a_shifted_image_is_the_shifted_map(name: str, options: dict[str, object], dx: int, dy: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 48)).astype(np.float64)
    check = check_shift(image, KERNELS[name].make(), dx, dy, **options)
    assert check.filter_difference == 0, "to the last bit"
    assert check.filter_rms > 0.1
    assert check.border_difference is not None
    assert check.border_difference > 0.01
    assert check.layer_difference > check.layer_rms, "as different as two maps"
    # The region is as large as possible: the windows of SciPy's correlation that read no value beyond either image.
    reach = 1 + (options.get("dilation") == 2) if name != "gaussian-xy" else 4 * (1 + (options.get("dilation") == 2))
    assert check.inside == (48 - abs(dx) - 2 * reach, 40 - abs(dy) - 2 * reach)


def test_a_layer_that_reads_all_pixels_equally_would_commute_and_a_random_one_does_not() -> None:
    """The difference of the layer is measured as NumPy measures it."""
    image = np.random.default_rng(2).standard_normal((10, 12))
    check = check_shift(image, KERNELS["sobel-x"].make(), 2, 1, seed=7)
    weights = np.random.default_rng(7).standard_normal((120, 120)) / np.sqrt(120)
    first = (weights @ scipy.ndimage.shift(image, (1, 2), order=0).ravel()).reshape(10, 12)
    last = scipy.ndimage.shift((weights @ image.ravel()).reshape(10, 12), (1, 2), order=0)
    assert check.layer_difference == pytest.approx(np.abs(first - last)[1:, 2:].max(), rel=1e-9)
    assert check.layer_size == (12, 10)
    assert check_shift(np.zeros((10, 12)), KERNELS["box"].make(), 1, 0).layer_difference == 0


def test_a_shift_that_leaves_nothing_is_an_error() -> None:
    for dx, dy in ((9, 0), (0, 8), (500, 0), (0, 0)):
        with pytest.raises(UsageError):
            check_shift(np.ones((10, 10)), KERNELS["sobel-x"].make(), dx, dy)
