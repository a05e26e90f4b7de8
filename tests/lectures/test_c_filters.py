"""C1 to C5, C8: filters, borders and pooling of lectures 003 and 004, on their numbers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from snellen.filters import BORDERS, KERNELS, convolve, correlate, plan_filter, pool, pool_gradient
from snellen.filters.examples import impulse, pooling_grid, square
from snellen.filters.windows import filter_axis


def test_c1_the_box_filter_of_a_signal_is_the_mean_of_five_and_preserves_constants() -> None:
    box = KERNELS["box"].make_1d
    assert box is not None
    np.testing.assert_array_equal(box(size=5), [0.2] * 5)
    np.testing.assert_allclose(correlate(np.full(9, 3.0), box(size=5), border="copy"), 3.0, atol=1e-15)
    signal = np.random.default_rng(0).normal(size=30)
    expected = [signal[k : k + 5].sum() / 5 for k in range(26)]
    np.testing.assert_allclose(correlate(signal, box(size=5), padding="valid"), expected, atol=1e-15)


def test_c2_seven_by_seven_with_three_by_three_is_five_by_five_valid_and_seven_by_seven_same() -> None:
    image, kernel = square().astype(float), np.random.default_rng(1).normal(size=(3, 3))
    valid, same = correlate(image, kernel, padding="valid"), correlate(image, kernel)
    assert (valid.shape, same.shape) == ((5, 5), (7, 7))
    for y in range(5):  # the formula of the lecture, with one index pair each for H and F
        for x in range(5):
            assert valid[y, x] == pytest.approx(
                sum(kernel[j, i] * image[y + j, x + i] for i in range(3) for j in range(3)), abs=1e-12
            )
    np.testing.assert_array_equal(same[1:-1, 1:-1], valid)


def test_c2_correlating_an_impulse_flips_the_kernel_and_convolving_it_does_not() -> None:
    letters = np.arange(1.0, 10).reshape(3, 3)  # a … i
    flipped = correlate(impulse(), letters)[2:5, 2:5]
    np.testing.assert_array_equal(flipped, [[9, 8, 7], [6, 5, 4], [3, 2, 1]])  # i h g / f e d / c b a
    np.testing.assert_array_equal(convolve(impulse(), letters)[2:5, 2:5], letters)


def test_c2_the_row_0_0_1_shifts_left_under_correlation_and_right_under_convolution() -> None:
    signal = np.array([5.0, 6, 7, 8])
    np.testing.assert_array_equal(correlate(signal, [0, 0, 1]), [6, 7, 8, 0])
    np.testing.assert_array_equal(convolve(signal, [0, 0, 1]), [0, 5, 6, 7])


@pytest.mark.parametrize("border", BORDERS)
def test_c3_borders_are_the_modes_of_numpy_pad(border: str) -> None:
    for n, padding in ((1, 3), (4, 2), (4, 11)):
        signal = np.arange(1.0, n + 1)
        padded = np.pad(signal, padding, mode=BORDERS[border].numpy_mode)
        np.testing.assert_array_equal(correlate(signal, [1.0], border=border, padding=padding), padded)


def test_c4_identity_shift_box_and_sharpen() -> None:
    image = np.random.default_rng(2).normal(size=(9, 8))
    np.testing.assert_array_equal(correlate(image, KERNELS["identity"].make()), image)
    shifted = correlate(image, KERNELS["shift"].make(dx=2, dy=-1), border="wrap")
    np.testing.assert_array_equal(shifted, np.roll(image, (-1, 2), axis=(0, 1)))
    blurred = scipy.ndimage.uniform_filter(image, 3, mode="constant")
    np.testing.assert_allclose(correlate(image, KERNELS["box"].make()), blurred, atol=1e-14)
    np.testing.assert_allclose(correlate(image, KERNELS["sharpen"].make()), 2 * image - blurred, atol=1e-14)
    assert KERNELS["sharpen"].make().sum() == pytest.approx(1, abs=1e-15)


def test_c5_a_derivative_finds_the_edge_of_its_direction_only() -> None:
    vertical = np.where(np.arange(24) < 12, 0.0, 1.0) * np.ones((24, 1))
    for image, along, across in ((vertical, "gaussian-x", "gaussian-y"), (vertical.T, "gaussian-y", "gaussian-x")):
        found, missed = (correlate(image, KERNELS[name].make(), border="copy") for name in (along, across))
        assert found.max() > 0.3
        assert np.unravel_index(found.argmax(), found.shape)[1 if along == "gaussian-x" else 0] in (11, 12)
        assert np.abs(missed).max() < 1e-12


def test_c8_pooling_of_the_grid_of_the_lecture_and_the_path_of_its_gradient() -> None:
    grid = pooling_grid()
    highest, mean = pool(grid), pool(grid, "mean")
    np.testing.assert_array_equal(highest.values, [[4, 9], [5, 7]])
    np.testing.assert_array_equal(mean.values, [[2, 4.5], [3, 5.75]])
    ones = np.ones((2, 2))
    path = pool_gradient(ones, highest)
    np.testing.assert_array_equal(path, [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]])
    x = torch.from_numpy(grid.astype(float)).requires_grad_()
    torch.nn.functional.max_pool2d(x[None, None], 2).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(path, x.grad.numpy())
    np.testing.assert_array_equal(pool_gradient(ones, mean), np.full((4, 4), 0.25))


@pytest.mark.parametrize(("dilation", "taps", "field"), [(1, 3, 3), (2, 3, 5), (4, 3, 9), (3, 5, 13)])
def test_c9_the_window_of_a_dilated_kernel_spans_its_receptive_field(dilation: int, taps: int, field: int) -> None:
    """d (k − 1) + 1: the outputs that one input reaches, counted by their gradient."""
    axis = filter_axis(40, taps, dilation=dilation)
    assert axis.span == dilation * (taps - 1) + 1 == field
    spread = np.zeros(41)
    spread[20] = 1
    reached = np.flatnonzero(correlate(spread, np.ones(taps), dilation=dilation))
    assert reached[-1] - reached[0] + 1 == field
    assert plan_filter((41,), np.ones(taps), dilation=dilation).x.outputs == 41
