"""Max and mean pooling of signals and images, and the path of their gradients.

The gradient of a maximum goes to one value of its window: the first of the largest in row order. The derivative is not
defined at a tie; torch chooses the same value. The gradient of a mean goes to every value of its window in equal parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.core.errors import UsageError, counted, suggest_name
from snellen.filters.names import POOLING_NAMES
from snellen.filters.windows import MAX_PADDING, Axis, require_outputs

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Result of pooling.

    Args:
        values: (..., rows, columns) float64.
        argmax: of a maximum: flat position in its (H, W) image of the value that each output is; else None.
        y, x: windows along the axes.
    """

    values: Array
    argmax: NDArray[np.int64] | None
    y: Axis
    x: Axis


def pool(array: ArrayLike, kind: str = "max", *, size: int = 2, stride: int | None = None) -> Pooled:
    """Pool windows of size × size of images (..., H, W), or of `size` values of a signal (n,).

    Without padding: a row or column that fills no window is left out, as by `torch.nn.functional.max_pool2d`.

    Args:
        kind: "max" or "mean".
        stride: distance of the windows; None: `size`, so that they do not overlap.
    Raises:
        UsageError: an unknown kind, a window larger than the image, a number out of range.
    """
    if kind not in POOLINGS:
        raise UsageError(f"Unknown pooling {kind!r}", suggest_name(kind, list(POOLINGS)))
    values = np.asarray(array)
    if values.dtype.kind not in "buif" or values.ndim < 1:
        raise UsageError(f"An array of {values.dtype} and shape {values.shape}", "Give a signal or an image.")
    stride = size if stride is None else stride
    for label, number in (("pool size", size), ("pool stride", stride)):
        if not 1 <= number <= MAX_PADDING:
            raise UsageError(f"{label} {number}", f"Give a whole number from 1 to {MAX_PADDING}.")
    x = Axis(inputs=values.shape[-1], taps=size, stride=stride)
    y = Axis(inputs=values.shape[-2], taps=size, stride=stride) if values.ndim > 1 else Axis(inputs=1, taps=1)
    require_outputs(x, "a row")
    require_outputs(y, "a column")
    images = values.reshape(-1, y.inputs, x.inputs)
    pooled, argmax = POOLINGS[kind].forward(images, y, x)
    shape = (*values.shape[:-2], y.outputs, x.outputs)[-values.ndim :]
    return Pooled(
        values=pooled.reshape(shape), argmax=None if argmax is None else argmax.reshape(shape), y=y, x=x
    )  # fmt: skip


def pool_gradient(upstream: ArrayLike, pooled: Pooled) -> Array:
    """Gradient with respect to the input of `pool`.

    Args:
        upstream: gradient with respect to `pooled.values`, of its shape.
    Returns:
        (..., H, W) float64, the gradients of overlapping windows added; (n,) of a signal.
    """
    gradient = np.asarray(upstream, dtype=np.float64)
    if gradient.shape != pooled.values.shape:
        raise UsageError(f"A gradient of shape {gradient.shape}", f"Give the shape {pooled.values.shape}.")
    y, x = pooled.y, pooled.x
    flat = gradient.reshape(-1, y.outputs, x.outputs)
    result = np.zeros((len(flat), y.inputs * x.inputs))
    if pooled.argmax is not None:
        for k, chosen in enumerate(pooled.argmax.reshape(len(flat), -1)):
            result[k] = np.bincount(chosen, flat[k].ravel(), minlength=result.shape[1])
    else:
        image = result.reshape(-1, y.inputs, x.inputs)
        for i in range(y.taps):
            for j in range(x.taps):
                _window_values(image, y, x, i, j)[...] += flat / (y.taps * x.taps)
    return result.reshape((*gradient.shape[:-2], y.inputs, x.inputs)[-gradient.ndim :])


def window_at(image: NDArray[Any], pooled: Pooled, x: int, y: int = 0) -> tuple[Array, int | None]:
    """The values (size, size) under the window of the output at column `x` and row `y` of one image (H, W).

    Returns:
        the values, and the position in row order of the one that a maximum chose; None for a mean.
    Raises:
        UsageError: if the result has no such pixel.
    """
    rows, columns = pooled.y.outputs, pooled.x.outputs
    if not (0 <= x < columns and 0 <= y < rows):
        raise UsageError(
            f"No output at {x},{y}: the result has {counted(columns, 'column')} and {counted(rows, 'row')}",
            f"Give X from 0 to {columns - 1} and Y from 0 to {rows - 1}.",
        )
    values = image[np.ix_(pooled.y.positions(y), pooled.x.positions(x))].astype(np.float64)
    return values, None if pooled.argmax is None else int(values.argmax())


def _window_values(images: NDArray[Any], y: Axis, x: Axis, i: int, j: int) -> NDArray[Any]:
    """View (..., rows, columns) of the value at row i and column j of every window."""
    return images[
        :, i : i + (y.outputs - 1) * y.stride + 1 : y.stride, j : j + (x.outputs - 1) * x.stride + 1 : x.stride
    ]


def _max(images: NDArray[Any], y: Axis, x: Axis) -> tuple[Array, NDArray[np.int64]]:
    top = np.arange(y.outputs)[:, None] * y.stride
    left = np.arange(x.outputs) * x.stride
    best = _window_values(images, y, x, 0, 0).copy()
    argmax = np.broadcast_to(top * x.inputs + left, best.shape).copy()
    for i in range(y.taps):
        for j in range(x.taps):
            value = _window_values(images, y, x, i, j)
            larger = value > best  # strictly: the first of equal values stays
            np.copyto(best, value, where=larger)
            np.copyto(argmax, np.broadcast_to((top + i) * x.inputs + left + j, best.shape), where=larger)
    return best.astype(np.float64), argmax


def _mean(images: NDArray[Any], y: Axis, x: Axis) -> tuple[Array, None]:
    total = np.zeros((len(images), y.outputs, x.outputs))
    for i in range(y.taps):
        for j in range(x.taps):
            total += _window_values(images, y, x, i, j)
    return total / (y.taps * x.taps), None


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Kind of pooling: `forward` takes images (N, H, W) and returns the outputs, and the flat argmax or None."""

    summary: str
    forward: Callable[[NDArray[Any], Axis, Axis], tuple[Array, NDArray[np.int64] | None]]


POOLINGS: dict[str, Pooling] = {
    "max": Pooling(summary=POOLING_NAMES["max"], forward=_max),
    "mean": Pooling(summary=POOLING_NAMES["mean"], forward=_mean),
}
