"""Rotations in three dimensions: exponential maps, matrices, Euler angles, and the way between two of them.

An exponential map is the axis of a rotation times its angle in radians (a rotation vector). A matrix R rotates column
vectors: R v. Euler angles (a, b, c) of the order "ZYX" stand for R = Z(a) Y(b) X(c): about the axes of the moving
frame from left to right, about fixed axes from right to left.

Source: Grassia 1998 (exponential maps); Shepperd 1978 (quaternion of a matrix, without loss of digits).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
SMALL = 1e-4  # radians below which series replace quotients of sines: their next term is below 1e-17
LOCKED = 1 - 1e-12  # |sine of the second angle| above which the first and third turn about one axis


def exp_map_to_matrix(r: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) radians to (..., 3, 3).

    R = I + sin θ / θ · K + (1 − cos θ) / θ² · K², with θ = ‖r‖ and K v = r × v.
    """
    square = r.square().sum(-1)[..., None, None]
    is_small = square < SMALL**2
    safe = torch.where(is_small, torch.ones_like(square), square)
    angle = safe.sqrt()
    first = torch.where(is_small, 1 - square / 6, angle.sin() / angle)
    second = torch.where(is_small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    cross = _cross_matrix(r)
    return torch.eye(3, dtype=r.dtype, device=r.device) + first * cross + second * (cross @ cross)


def _cross_matrix(r: Tensor) -> Tensor:
    """(..., 3) to the (..., 3, 3) matrices of v → r × v."""
    x, y, z = r.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    return rows.reshape(*r.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """(..., 3, 3) rotations to (..., 4) unit quaternions (w, x, y, z) with w ≥ 0."""
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    # Each row is the quaternion times four times one of its components; the row of the largest one is divided by it.
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, a, b, c], -1),
            torch.stack([a, 1 + xx - yy - zz, d, e], -1),
            torch.stack([b, d, 1 - xx + yy - zz, f], -1),
            torch.stack([c, e, f, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    largest = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    row = rows.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4))[..., 0, :]
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_exp_map(matrix: Tensor) -> Tensor:
    """(..., 3, 3) rotations to (..., 3) radians, of an angle in 0 … π. At π either sign of the axis is right."""
    quaternion = matrix_to_quaternion(matrix)
    w, v = quaternion[..., :1], quaternion[..., 1:]
    sine = v.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    is_small = sine < SMALL
    safe = torch.where(is_small, torch.ones_like(sine), sine)
    return v * torch.where(is_small, 2 + sine.square() / 3, angle / safe)


def axis_rotation(axis: str, angle: Tensor) -> Tensor:
    """Rotations about the axis "X", "Y" or "Z": (...) radians to (..., 3, 3)."""
    unit = torch.zeros(3, dtype=angle.dtype, device=angle.device)
    unit["XYZ".index(axis)] = 1
    return exp_map_to_matrix(angle[..., None] * unit)


def euler_to_matrix(angles: Tensor, order: str) -> Tensor:
    """(..., K) radians to (..., 3, 3): the product from left to right of the rotations about the K axes of `order`."""
    matrix = torch.eye(3, dtype=angles.dtype, device=angles.device).expand(*angles.shape[:-1], 3, 3)
    for k, axis in enumerate(order):
        matrix = matrix @ axis_rotation(axis, angles[..., k])
    return matrix


def matrix_to_euler(matrix: Tensor, order: str) -> Tensor:
    """(..., 3, 3) to (..., 3) radians of one of the six ORDERS of three different axes.

    The second angle lies in −π/2 … π/2. At its ends the first and third axis coincide (gimbal lock): only the sum or
    difference of their angles is defined, and the third is set to 0.
    """
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0  # of the permutation: whether its axes are right-handed
    m = matrix
    sine = (sign * m[..., i, k]).clamp(-1, 1)
    second = sine.asin()
    first = torch.atan2(-sign * m[..., j, k], m[..., k, k])
    third = torch.atan2(-sign * m[..., i, j], m[..., i, i])
    is_locked = sine.abs() > LOCKED
    first = torch.where(is_locked, torch.atan2(sign * m[..., k, j], m[..., j, j]), first)
    third = torch.where(is_locked, torch.zeros_like(third), third)
    return torch.stack([first, second, third], -1)


def between(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Rotations on the shortest way between two, at a constant angular velocity (spherical linear interpolation).

    Args:
        start, end: (..., 3, 3). weight: (...) in 0 … 1, the part of the way.
    Source: Shoemake 1985.
    """
    turn = matrix_to_exp_map(start.transpose(-1, -2) @ end)
    return start @ exp_map_to_matrix(weight[..., None] * turn)


def nearest_exp_maps(r: Tensor) -> Tensor:
    """Exponential maps (T, ..., 3) of the same rotations, each the nearest to the one before.

    r and r (1 − 2π / ‖r‖) are one rotation. A joint that turns through π would jump to the other side of the ball.
    """
    result = [r[0]]
    for one in r[1:]:
        angle = one.norm(dim=-1, keepdim=True)
        safe = torch.where(angle > SMALL, angle, torch.ones_like(angle))
        turns = ((result[-1] * one).sum(-1, keepdim=True) / safe - angle) / (2 * math.pi)
        shifted = one * (1 + 2 * math.pi * turns.round() / safe)
        result.append(torch.where(angle > SMALL, shifted, one))
    return torch.stack(result)
