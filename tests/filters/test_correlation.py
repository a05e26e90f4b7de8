"""Correlation and convolution equal those of SciPy, NumPy and torch, at every border, stride and dilation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.core.errors import DataError, UsageError
from snellen.filters import BORDERS, KERNELS, convolve, correlate, plan_filter, products_at
from snellen.filters.correlation import apply_filter

SCIPY_MODE = {"zero": "constant", "wrap": "wrap", "copy": "nearest", "reflect": "mirror", "symmetric": "reflect"}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    height, width, rows, columns = (draw(st.integers(1, limit)) for limit in (9, 9, 5, 5))
    options = {
        "border": draw(st.sampled_from(sorted(BORDERS))),
        "padding": draw(st.one_of(st.just("same"), st.just("valid"), st.integers(0, 12))),
        "stride": draw(st.integers(1, 3)),
        "dilation": draw(st.integers(1, 3)),
    }
    return rng.normal(size=(height, width)), rng.normal(size=(rows, columns)), options


def brute_force(image: np.ndarray, kernel: np.ndarray, border: str, padding: Any, stride: int, dilation: int) -> Any:
    """torch's conv2d on the image padded by `numpy.pad`; None if the window does not fit."""
    spans = [dilation * (k - 1) for k in kernel.shape]
    pads = [{"same": (s // 2, s - s // 2), "valid": (0, 0)}.get(padding, (padding, padding)) for s in spans]
    padded = np.pad(image, pads, mode=BORDERS[border].numpy_mode)
    if any(n <= s for n, s in zip(padded.shape, spans, strict=True)):
        return None
    out = torch.nn.functional.conv2d(
        torch.from_numpy(padded)[None, None], torch.from_numpy(kernel)[None, None], stride=stride, dilation=dilation
    )
    return out[0, 0].numpy()


@given(cases())
@settings(max_examples=150)
def test_correlation_is_conv2d_on_the_image_padded_by_numpy(case: Any) -> None:
    image, kernel, options = case
    expected = brute_force(image, kernel, **options)
    if expected is None:
        with pytest.raises(UsageError, match="longer than"):
            correlate(image, kernel, **options)
        return
    np.testing.assert_allclose(correlate(image, kernel, **options), expected, atol=1e-12)
    plan = plan_filter(image.shape, kernel, **options)
    for y, x in ((0, 0), (plan.shape[0] - 1, plan.shape[1] - 1), (plan.shape[0] // 2, plan.shape[1] // 2)):
        at = products_at(image, plan, x, y)
        np.testing.assert_allclose(at.total, expected[y, x], atol=1e-12)
        assert at.total == correlate(image, kernel, **options)[y, x], "the products sum to the result, bit by bit"


@given(cases(), st.booleans())
@settings(max_examples=60)
def test_bands_of_rows_equal_the_fourier_transform(case: Any, flip: bool) -> None:
    image, kernel, options = case
    image, options = np.tile(image, (8, 8)), {**options, "padding": "same"}
    plan = plan_filter(image.shape, kernel, convolve=flip, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snellen.filters.correlation._BAND_VALUES", 64)
        direct = apply_filter(image, plan)
        patch.setattr("snellen.filters.correlation._FFT_TAPS", 1)
        patch.setattr("snellen.filters.correlation._FFT_ROWS", 5)
        np.testing.assert_allclose(apply_filter(image, plan), direct, atol=1e-11)


@pytest.mark.parametrize("border", BORDERS)
def test_same_size_equals_scipy_ndimage(border: str) -> None:
    rng = np.random.default_rng(0)
    image, kernel, mode = rng.normal(size=(7, 9)), rng.normal(size=(3, 5)), SCIPY_MODE[border]
    for ours, theirs in ((correlate, scipy.ndimage.correlate), (convolve, scipy.ndimage.convolve)):
        np.testing.assert_allclose(ours(image, kernel, border=border), theirs(image, kernel, mode=mode), atol=1e-12)
        row = kernel[1]
        one = {"correlate": scipy.ndimage.correlate1d, "convolve": scipy.ndimage.convolve1d}[ours.__name__]
        np.testing.assert_allclose(ours(image, row, border=border), one(image, row, mode=mode), atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (4, 1), (5, 5)])
def test_convolution_has_the_centre_of_scipy_and_numpy_for_even_kernels_too(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=(8, 9)), rng.normal(size=shape)
    np.testing.assert_allclose(convolve(image, kernel), scipy.signal.convolve2d(image, kernel, "same"), atol=1e-12)
    np.testing.assert_allclose(
        convolve(image[0], kernel[:, 0]), np.convolve(image[0], kernel[:, 0], "same"), atol=1e-12
    )
    valid = scipy.signal.correlate2d(image, kernel, "valid")
    np.testing.assert_allclose(correlate(image, kernel, padding="valid"), valid, atol=1e-12)


def test_channels_are_filtered_one_by_one_and_integers_exactly() -> None:
    image = np.random.default_rng(2).integers(0, 65536, (3, 6, 5)).astype(np.uint16)
    result = correlate(image, KERNELS["laplacian"].make(), border="copy")
    for channel, filtered in zip(image, result, strict=True):
        expected = scipy.ndimage.laplace(channel.astype(float), mode="nearest")
        np.testing.assert_array_equal(filtered, expected)
    assert correlate(image[:0], [1.0]).shape == (0, 6, 5)


def test_invalid_arguments_are_usage_errors_and_overflow_a_data_error() -> None:
    image = np.ones((4, 4))
    for options, cause in (
        ({"border": "mirror"}, "Unknown border"),
        ({"padding": -1}, "padding"),
        ({"padding": "full"}, "padding"),
        ({"stride": 0}, "stride 0"),
        ({"dilation": 5000}, "dilation"),
        ({"dilation": 9, "padding": "valid"}, "longer than"),
    ):
        with pytest.raises(UsageError, match=cause):
            correlate(image, np.ones((3, 3)), **options)
    with pytest.raises(UsageError, match="shape"):
        correlate(image, np.ones((1, 1, 1)))
    with pytest.raises(DataError, match="NaN"):
        correlate(image, [np.nan])
    with pytest.raises(DataError, match="float64"):
        correlate(image * 1e308, [10.0])
    with pytest.raises(UsageError, match="No output at 4,0"):
        products_at(image, plan_filter(image.shape, [[1.0]]), 4, 0)
