"""Correlation and convolution of signals and images, in float64, and the products behind one output.

Correlation, the operation of a convolution layer: G[y, x] = Σ_i Σ_j H[i, j] F[y + i, x + j], i and j from the centre
of the kernel. Convolution: G[y, x] = Σ_i Σ_j H[i, j] F[y − i, x − j], correlation with H flipped in both axes. (The
slide of lecture 003 has one index pair for H and F, `H[x+i, y+i] F[x+i, y+i]`; that is neither.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.core.errors import DataError, UsageError, counted
from snellen.filters.windows import Axis, filter_axis

Array = NDArray[np.float64]

_BAND_VALUES = 1 << 16  # values of a band of output rows: the band stays in the cache while all taps are added
_FFT_ROWS = 512  # rows of an image that are transformed at a time
_FFT_TAPS = 160  # elements of a kernel from which the Fourier transform is faster


@dataclass(frozen=True, kw_only=True)
class Filtering:
    """A kernel with the windows that it sees on an image of one size.

    Args:
        weights: the kernel as correlation applies it, (rows, columns): flipped for a convolution.
        y, x: windows along the rows and columns.
        convolve: whether it is a convolution.
    """

    weights: Array
    y: Axis
    x: Axis
    convolve: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        return self.y.outputs, self.x.outputs


@dataclass(frozen=True, kw_only=True)
class Products:
    """Products of one output, each (rows, columns) of the kernel.

    Args:
        values: the image under the window; beyond the border by its rule.
        weights: the kernel as applied.
        products: values * weights.
        outside: whether the value lies beyond the border.
        total: the output, the sum of the products.
    """

    values: Array
    weights: Array
    products: Array
    outside: NDArray[np.bool_]
    total: float


def plan_filter(
    shape: tuple[int, ...],
    kernel: ArrayLike,
    *,
    convolve: bool = False,
    border: str = "zero",
    padding: str | int = "same",
    stride: int = 1,
    dilation: int = 1,
) -> Filtering:
    """The windows of a kernel on an array of a shape; no values are computed.

    Args:
        shape: of the array; a kernel with one axis filters its last axis, one with two its last two.
        kernel: (k,) or (rows, columns), finite.
        convolve: flip the kernel.
        border: zero, wrap, copy, reflect or symmetric: the values beyond the border.
        padding: "same", "valid" or a number of values at each end.
        stride, dilation: of both axes.
    Raises:
        UsageError: for a value out of its range; DataError: a kernel that holds NaN or infinity.
    """
    weights = np.asarray(kernel, dtype=np.float64)
    if weights.ndim not in (1, 2) or weights.size == 0 or len(shape) < weights.ndim:
        raise UsageError(
            f"A kernel of shape {weights.shape} on an array of shape {tuple(shape)}",
            "Give a kernel with one axis, or with two for an array of two or more.",
        )
    if not np.isfinite(weights).all():
        raise DataError("The kernel holds NaN or infinity", "Give finite numbers.")
    options: dict[str, Any] = {"border": border, "padding": padding, "stride": stride, "dilation": dilation}
    signal = weights.ndim == 1
    weights = np.atleast_2d(weights)
    x_axis = filter_axis(shape[-1], weights.shape[1], flipped=convolve, name="a row", **options)
    if signal:
        y_axis = Axis(inputs=1, taps=1)
    else:
        y_axis = filter_axis(shape[-2], weights.shape[0], flipped=convolve, name="a column", **options)
    return Filtering(
        weights=weights[::-1, ::-1] if convolve else weights, y=y_axis, x=x_axis, convolve=convolve
    )  # fmt: skip


def correlate(
    array: ArrayLike,
    kernel: ArrayLike,
    *,
    border: str = "zero",
    padding: str | int = "same",
    stride: int = 1,
    dilation: int = 1,
) -> Array:
    """Correlation of a signal (..., n) with a kernel (k,), or of an image (..., H, W) with (rows, columns).

    As `torch.nn.functional.conv2d` of one channel, and `scipy.ndimage.correlate` with padding "same" and odd kernels.
    Leading axes, such as colour channels, are filtered one by one. The arguments are those of `plan_filter`.

    Returns:
        (..., rows, columns) float64.
    Raises:
        UsageError, DataError: as `plan_filter`; DataError also if a result exceeds float64.
    """
    values = np.asarray(array)
    plan = plan_filter(values.shape, kernel, border=border, padding=padding, stride=stride, dilation=dilation)
    return _apply(values, plan, np.ndim(kernel))


def convolve(
    array: ArrayLike,
    kernel: ArrayLike,
    *,
    border: str = "zero",
    padding: str | int = "same",
    stride: int = 1,
    dilation: int = 1,
) -> Array:
    """Convolution: as `correlate` with the kernel flipped; `scipy.signal.convolve2d` for border "zero" or "wrap"."""
    values = np.asarray(array)
    options: dict[str, Any] = {"border": border, "padding": padding, "stride": stride, "dilation": dilation}
    return _apply(values, plan_filter(values.shape, kernel, convolve=True, **options), np.ndim(kernel))


def apply_filter(image: NDArray[Any], plan: Filtering, out: Array | None = None) -> Array:
    """The result (rows, columns) float64 of a filter on one image (H, W), written to `out` if it is given.

    Bands of output rows are computed at a time: memory is that of the padded image at its own depth and of the result.
    Kernels of many elements use the Fourier transform, whose results differ by rounding (about 1e-13 of the largest).
    """
    image = _pad(image, plan.y, plan.x)
    taps = [(i, j, float(plan.weights[i, j])) for i, j in np.argwhere(plan.weights != 0)]
    rows, columns = plan.shape
    result = np.empty((rows, columns)) if out is None else out
    if len(taps) >= _FFT_TAPS and image.size >= 4 * plan.weights.size:
        _by_fft(image, plan, result)
        return result
    step = max(1, _BAND_VALUES // columns)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for infinity
        for top in range(0, rows, step):
            _add_taps(result[top : top + step], image[top * plan.y.stride :], plan, taps)
    return result


def products_at(image: NDArray[Any], plan: Filtering, x: int, y: int = 0) -> Products:
    """The products behind the output at column `x` and row `y` of one image (H, W).

    Raises:
        UsageError: if the result has no such pixel.
    """
    rows, columns = plan.shape
    if not (0 <= x < columns and 0 <= y < rows):
        raise UsageError(
            f"No output at {x},{y}: the result has {counted(columns, 'column')} and {counted(rows, 'row')}",
            f"Give X from 0 to {columns - 1} and Y from 0 to {rows - 1}.",
        )
    at_y, at_x = plan.y.sources(y), plan.x.sources(x)
    values = take(image, at_y, at_x).astype(np.float64)
    outside = [
        (p < 0) | (p >= axis.inputs) for p, axis in ((plan.y.positions(y), plan.y), (plan.x.positions(x), plan.x))
    ]
    products = values * plan.weights
    total = 0.0
    for product in products.ravel().tolist():  # in the order in which the result is summed
        total += product
    return Products(
        values=values,
        weights=plan.weights,
        products=products,
        outside=outside[0][:, None] | outside[1][None],
        total=total,
    )


def _apply(values: NDArray[Any], plan: Filtering, axes: int) -> Array:
    if values.dtype.kind not in "buif":
        raise UsageError(f"An array of {values.dtype}", "Give real numbers.")
    images = values.reshape(-1, *(values.shape[-2:] if axes == 2 else (1, values.shape[-1])))
    result = np.empty((len(images), *plan.shape))
    for image, out in zip(images, result, strict=True):
        apply_filter(image, plan, out)
    if not np.isfinite(result).all():
        raise DataError("A result of the filter is NaN or exceeds float64", "Give finite numbers of smaller size.")
    return result.reshape(*values.shape[:-axes], *plan.shape[2 - axes :])


def take(image: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
    """image[rows][:, columns], 0 where an index is −1."""
    taken = image[np.ix_(rows, columns)]
    if (rows < 0).any() or (columns < 0).any():
        taken = np.where((rows < 0)[:, None] | (columns < 0), taken.dtype.type(0), taken)
    return taken


def _pad(image: NDArray[Any], y: Axis, x: Axis) -> NDArray[Any]:
    """The image with its borders, at its own depth."""
    if not (y.before or y.after or x.before or x.after):
        return image
    padded = np.empty((len(y.padded), len(x.padded)), dtype=image.dtype)
    inside = slice(y.before, y.before + y.inputs), slice(x.before, x.before + x.inputs)
    padded[inside] = image
    every = np.arange(x.inputs)
    for part in (slice(0, x.before), slice(x.before + x.inputs, None)):
        padded[inside[0], part] = take(image, np.arange(y.inputs), x.padded[part]) if x.padded[part].size else 0
    for part in (slice(0, y.before), slice(y.before + y.inputs, None)):
        if y.padded[part].size:
            padded[part, inside[1]] = take(image, y.padded[part], every)
            padded[part, : x.before] = take(image, y.padded[part], x.padded[: x.before])
            padded[part, x.before + x.inputs :] = take(image, y.padded[part], x.padded[x.before + x.inputs :])
    return padded


def _add_taps(out: Array, image: NDArray[Any], plan: Filtering, taps: list[tuple[int, int, float]]) -> None:
    """Add weight times shifted image to `out`, for every tap; `image` begins at the first row of the first window."""
    rows, columns = out.shape
    y, x = plan.y, plan.x
    band = image[: (rows - 1) * y.stride + y.span].astype(np.float64)
    buffer = np.empty_like(out)
    out[...] = 0.0
    for i, j, weight in taps:
        top, left = i * y.dilation, j * x.dilation
        part = band[
            top : top + (rows - 1) * y.stride + 1 : y.stride, left : left + (columns - 1) * x.stride + 1 : x.stride
        ]
        np.multiply(part, weight, out=buffer)
        out += buffer


def _by_fft(image: NDArray[Any], plan: Filtering, out: Array) -> None:
    from scipy import signal

    y, x = plan.y, plan.x
    rows, columns = plan.shape
    spread = np.zeros((y.span, x.span))  # the kernel with zeros between its elements
    spread[:: y.dilation, :: x.dilation] = plan.weights
    step = max(1, max(_FFT_ROWS, 4 * y.span) // y.stride)
    for top in range(0, rows, step):
        count = min(step, rows - top)
        band = image[top * y.stride : (top + count - 1) * y.stride + y.span].astype(np.float64)
        full = signal.oaconvolve(band, spread[::-1, ::-1], mode="valid")
        out[top : top + count] = full[:: y.stride, :: x.stride][:, :columns]
