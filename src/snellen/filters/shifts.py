"""Shifts: correlation commutes with them, a fully connected layer does not (lecture 004).

A filter gives every pixel the same weights: the map of a shifted image is the shifted map, wherever neither window
crosses the border. A fully connected layer has weights of its own for every pair of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import DataError, UsageError
from snellen.filters.correlation import Array, apply_filter, plan_filter

LAYER_SIDE = 32  # pixels a side of the part that the fully connected layer reads, at most: it has side⁴ weights


@dataclass(frozen=True, kw_only=True)
class ShiftCheck:
    """Largest differences between the map of the shifted image and the shifted map of the image.

    Args:
        inside: (columns, rows) of the region where neither window crosses the border.
        filter_difference: there, of the filter. border_difference: of the filter where a window does cross it, in the
            part that the shifted image covers; None: there is no such place.
        filter_rms: root mean square of the filter's map in the region.
        layer_difference, layer_rms: of a fully connected layer with random weights (normal, variance 1 / inputs) from
            the middle of the image to as many units, in the same region of its map.
        layer_size: (columns, rows) that the layer reads.
    """

    inside: tuple[int, int]
    filter_difference: float
    border_difference: float | None
    filter_rms: float
    layer_difference: float
    layer_rms: float
    layer_size: tuple[int, int]


def shift_image(image: NDArray[Any], dx: int, dy: int) -> NDArray[Any]:
    """The image (H, W) moved by `dx` pixels to the right and `dy` downwards; 0 where nothing was."""
    height, width = image.shape
    moved = np.zeros_like(image)
    if abs(dx) < width and abs(dy) < height:
        to_y, from_y = _overlap(height, dy)
        to_x, from_x = _overlap(width, dx)
        moved[to_y, to_x] = image[from_y, from_x]
    return moved


def check_shift(image: NDArray[Any], kernel: Array, dx: int, dy: int, *, seed: int = 0, **options: Any) -> ShiftCheck:
    """Compare "shift, then filter" with "filter, then shift", for a filter and for a fully connected layer.

    Args:
        image: (H, W). kernel: (rows, columns), applied with padding "same" and stride 1.
        seed: of the weights of the fully connected layer.
        options: convolve, border, dilation of `plan_filter`.
    Raises:
        UsageError: a shift by nothing, or one that leaves no output whose windows lie inside both images.
        DataError: a result is not finite.
    """
    height, width = image.shape
    if not (dx or dy):
        raise UsageError("A shift by 0,0 moves nothing", "Give another: --shift 5,0.")
    plan = plan_filter(image.shape, kernel, padding="same", **options)
    rows = slice(max(0, dy) + plan.y.before, height + min(0, dy) - plan.y.after)
    columns = slice(max(0, dx) + plan.x.before, width + min(0, dx) - plan.x.after)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise UsageError(
            f"A shift by {dx},{dy} of an image of {width} × {height} pixels leaves no output without the border",
            "Give a smaller shift or kernel.",
        )
    shifted_first = apply_filter(shift_image(image, dx, dy), plan)
    filtered = apply_filter(image, plan)
    if not (np.isfinite(filtered).all() and np.isfinite(shifted_first).all()):
        raise DataError("A result of the filter is NaN or exceeds float64", "Give finite numbers of smaller size.")
    difference = np.abs(shifted_first - shift_image(filtered, dx, dy))
    region = np.zeros(image.shape, dtype=bool)
    region[rows, columns] = True
    covered = shift_image(np.ones(image.shape, dtype=bool), dx, dy)
    crossing = difference[covered & ~region]
    layer_difference, layer_rms, size = _fully_connected(image, dx, dy, seed)
    return ShiftCheck(
        inside=(columns.stop - columns.start, rows.stop - rows.start),
        filter_difference=float(difference[region].max()),
        border_difference=float(crossing.max()) if crossing.size else None,
        filter_rms=float(np.sqrt(np.mean(np.square(shifted_first[region])))),
        layer_difference=layer_difference,
        layer_rms=layer_rms,
        layer_size=size,
    )


def _fully_connected(image: NDArray[Any], dx: int, dy: int, seed: int) -> tuple[float, float, tuple[int, int]]:
    """Largest difference, root mean square and size of the map of a fully connected layer, in the shared region."""
    height, width = (min(LAYER_SIDE, side) for side in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    x = image[top : top + height, left : left + width].astype(np.float64)
    dx, dy = (int(np.sign(step)) * min(abs(step), side - 1) for step, side in ((dx, width), (dy, height)))
    weights = np.random.default_rng(seed).standard_normal((x.size, x.size)) / np.sqrt(x.size)
    shifted_first = (weights @ shift_image(x, dx, dy).ravel()).reshape(x.shape)
    shifted_last = shift_image((weights @ x.ravel()).reshape(x.shape), dx, dy)
    to_y, _ = _overlap(height, dy)
    to_x, _ = _overlap(width, dx)
    difference = float(np.abs(shifted_first - shifted_last)[to_y, to_x].max())
    return difference, float(np.sqrt(np.mean(np.square(shifted_first[to_y, to_x])))), (width, height)


def _overlap(length: int, step: int) -> tuple[slice, slice]:
    """Where the values are after a shift, and where they were."""
    return slice(max(0, step), length + min(0, step)), slice(max(0, -step), length + min(0, -step))
