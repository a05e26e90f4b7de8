"""Built-in inputs of filters: small grids of numbers, a signal, and a synthetic scene with edges of every direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.filters.names import EXAMPLE_NAMES


@dataclass(frozen=True, kw_only=True)
class Example:
    """Input with a name.

    Args:
        make: (n,) a signal, (H, W) a grid of numbers, or (3, H, W) uint8 an image.
        kernel: used where none is given, as typed or by name; "" where `pool` is the subject.
        pool: kind of pooling used where neither a kernel nor a kind is given.
    """

    summary: str
    make: Callable[[], NDArray[Any]]
    kernel: str = ""
    pool: str = ""


def impulse(size: int = 7) -> NDArray[np.int64]:
    """(size, size), 1 in the centre and 0 elsewhere; correlation with a kernel gives the kernel, flipped."""
    grid = np.zeros((size, size), dtype=np.int64)
    grid[size // 2, size // 2] = 1
    return grid


def square() -> NDArray[np.int64]:
    """(7, 7): a square of 90 with one 0 in it, and a single 90 outside."""
    grid = np.zeros((7, 7), dtype=np.int64)
    grid[1:5, 2:6] = 90
    grid[3, 3], grid[6, 1] = 0, 90
    return grid


def pooling_grid() -> NDArray[np.int64]:
    """The (4, 4) grid of the pooling slide of lecture 003; its window at the lower left has a tie, 7 and 7."""
    return np.array([[1, 4, 3, 6], [2, 1, 0, 9], [2, 2, 7, 7], [5, 3, 3, 6]])


def step_signal() -> NDArray[np.int64]:
    """(24,): a step from about 10 to about 50 and back, with noise and one outlier."""
    return np.array([11, 9, 10, 12, 8, 10, 31, 48, 51, 50, 49, 52, 50, 90, 49, 51, 50, 48, 29, 11, 10, 9, 10, 11])


def scene(size: int = 192) -> NDArray[np.uint8]:
    """(3, size, size) uint8: sky, ground, a sun, a house with windows, a fence, stripes of every direction, and noise.

    A function without random state: the noise comes from a fixed seed.
    """
    y, x = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
    image = np.stack([0.45 + 0.25 * y, 0.62 + 0.2 * y, 0.88 - 0.1 * y])

    def paint(where: NDArray[np.bool_], *colour: float | NDArray[np.float64]) -> None:
        for channel, value in zip(image, colour, strict=True):
            channel[where] = value if isinstance(value, float) else value[where]

    paint(y > 0.72, 0.34 + 0.1 * x, 0.46 - 0.1 * y, 0.22 + 0.05 * x)
    paint((x - 0.2) ** 2 + (y - 0.2) ** 2 < 0.011, 0.98, 0.85, 0.35)
    paint((x > 0.42) & (x < 0.86) & (y > 0.42) & (y < 0.78), 0.72, 0.55 - 0.1 * x, 0.42)
    paint((y < 0.42) & (y > 0.24) & (np.abs(x - 0.64) < 0.28 * (y - 0.22) / 0.2), 0.5, 0.2, 0.16)
    for left in (0.48, 0.7):
        paint((x > left) & (x < left + 0.1) & (y > 0.5) & (y < 0.61), 0.2, 0.27, 0.36)
        paint((np.abs(x - left - 0.05) < 0.006) & (y > 0.5) & (y < 0.61), 0.9, 0.88, 0.83)
    paint((x > 0.6) & (x < 0.68) & (y > 0.62) & (y < 0.78), 0.25, 0.15, 0.1)
    paint((x < 0.4) & (y > 0.66) & (y < 0.84) & ((x * 20) % 1 < 0.35), 0.92, 0.9, 0.86)
    angle, radius = np.arctan2(y - 0.5, x - 0.19), np.hypot(x - 0.19, y - 0.5)
    spokes = 0.5 + 0.5 * np.sign(np.cos(8 * angle))
    paint(radius < 0.13, spokes, spokes, spokes)
    noise = np.random.Generator(np.random.PCG64(3)).normal(0, 0.012, image.shape)
    return np.asarray(((image + noise).clip(0, 1) * 255).round(), dtype=np.uint8)


EXAMPLES: dict[str, Example] = {
    "impulse": Example(
        summary=EXAMPLE_NAMES["impulse"], make=impulse, kernel="1 2 3; 4 5 6; 7 8 9"
    ),
    "square": Example(summary=EXAMPLE_NAMES["square"], make=square,
                      kernel="box"),
    "pool": Example(summary=EXAMPLE_NAMES["pool"], make=pooling_grid, pool="max"),
    "signal": Example(summary=EXAMPLE_NAMES["signal"], make=step_signal,
                      kernel="1/5 1/5 1/5 1/5 1/5"),
    "scene": Example(summary=EXAMPLE_NAMES["scene"], make=scene,
                     kernel="sharpen"),
}  # fmt: skip
