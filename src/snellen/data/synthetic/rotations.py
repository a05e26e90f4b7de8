"""Rotation matrices of synthetic solids."""

from __future__ import annotations

import math

import numpy as np


def rotation_about(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about an axis, radians."""
    rotation = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotation[a, a] = rotation[b, b] = math.cos(angle)
    rotation[a, b], rotation[b, a] = -math.sin(angle), math.sin(angle)
    return rotation


def random_rotation(u: np.ndarray) -> np.ndarray:
    """(3, 3) uniformly distributed rotation of three numbers in 0 … 1.

    Source: Shoemake 1992, "Uniform random rotations": a random unit quaternion.
    """
    a, b = math.sqrt(1 - u[0]), math.sqrt(u[0])
    first, second = 2 * math.pi * u[1], 2 * math.pi * u[2]
    x, y, z, w = a * math.sin(first), a * math.cos(first), b * math.sin(second), b * math.cos(second)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
