"""Rotations and forward kinematics against SciPy and figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from snellen.geometry.kinematics import bones, forward_kinematics
from snellen.geometry.rotations import (
    ORDERS,
    between,
    euler_to_matrix,
    exp_map_to_matrix,
    matrix_to_euler,
    matrix_to_exp_map,
    nearest_exp_maps,
)


def exp_maps() -> torch.Tensor:
    """(N, 3) of any angle up to about two turns, of tiny angles, and of half a turn about each axis."""
    rng = np.random.default_rng(0)
    tiny = rng.normal(size=(50, 3)) * 10.0 ** -rng.uniform(3, 12, size=(50, 1))
    half = math.pi * np.concatenate([np.eye(3), -np.eye(3)])
    near = half * (1 - 1e-9)
    return torch.from_numpy(np.concatenate([rng.normal(size=(300, 3)) * 2, tiny, half, near, np.zeros((1, 3))]))


def test_exponential_maps_equal_scipys_rotation_vectors() -> None:
    r = exp_maps()
    matrix = exp_map_to_matrix(r)
    np.testing.assert_allclose(matrix.numpy(), Rotation.from_rotvec(r.numpy()).as_matrix(), atol=1e-14)
    back = matrix_to_exp_map(matrix)
    np.testing.assert_allclose(exp_map_to_matrix(back).numpy(), matrix.numpy(), atol=1e-12)
    below = r.norm(dim=1) < math.pi - 1e-6
    np.testing.assert_allclose(back[below].numpy(), r[below].numpy(), rtol=1e-7, atol=1e-15)


def test_the_gradient_at_small_and_large_angles_equals_finite_differences() -> None:
    r = torch.tensor([[1e-6, -2e-6, 0.0], [0.3, -0.2, 0.9], [2.0, 1.0, -1.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(exp_map_to_matrix, (r,), eps=1e-6, atol=1e-8)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_equal_scipys_and_gimbal_lock_is_defined(order: str) -> None:
    matrix = exp_map_to_matrix(exp_maps())
    angles = matrix_to_euler(matrix, order)
    np.testing.assert_allclose(euler_to_matrix(angles, order).numpy(), matrix.numpy(), atol=1e-7)
    smooth = angles[:, 1].abs() < math.pi / 2 - 1e-3
    expected = Rotation.from_matrix(matrix[smooth].numpy()).as_euler(order)
    difference = np.angle(np.exp(1j * (angles[smooth].numpy() - expected)))  # −π and π are one angle
    np.testing.assert_allclose(difference, 0, atol=1e-7)
    for sign in (1, -1):
        locked = euler_to_matrix(torch.tensor([0.4, sign * math.pi / 2, 0.7], dtype=torch.float64), order)
        found = matrix_to_euler(locked, order)
        assert found[2] == 0
        np.testing.assert_allclose(euler_to_matrix(found, order).numpy(), locked.numpy(), atol=1e-7)


def test_the_way_between_two_rotations_equals_scipys_slerp() -> None:
    ends = Rotation.from_rotvec([[0.1, 0.2, -0.3], [1.5, -0.4, 0.8]])
    weights = torch.linspace(0, 1, 7, dtype=torch.float64)
    start, end = (torch.from_numpy(m).expand(7, 3, 3) for m in ends.as_matrix())
    expected = Slerp([0, 1], ends)(weights.numpy()).as_matrix()
    np.testing.assert_allclose(between(start, end, weights).numpy(), expected, atol=1e-12)


def test_exponential_maps_of_a_full_turn_do_not_jump() -> None:
    angle = torch.linspace(0, 3 * math.pi, 60, dtype=torch.float64)
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    wrapped = matrix_to_exp_map(exp_map_to_matrix(angle[:, None] * axis))
    assert float((wrapped[1:] - wrapped[:-1]).norm(dim=1).max()) > 5
    np.testing.assert_allclose(nearest_exp_maps(wrapped).numpy(), (angle[:, None] * axis).numpy(), atol=1e-9)


def test_a_chain_of_two_bones_worked_out_by_hand() -> None:
    """The upper bone of length 2 along x turns by 90° about z, the lower one of length 1 by −90° about z."""
    maps = torch.tensor([[0, 0, math.pi / 2], [0, 0, -math.pi / 2], [0, 0, 0]], dtype=torch.float64)
    offsets = torch.tensor([[0, 0, 0], [2, 0, 0], [1, 0, 0]], dtype=torch.float64)
    root = torch.tensor([10.0, 0, 5], dtype=torch.float64)
    places = forward_kinematics(exp_map_to_matrix(maps), root, offsets, (-1, 0, 1))
    np.testing.assert_allclose(places.numpy(), [[10, 0, 5], [10, 2, 5], [11, 2, 5]], atol=1e-15)
    assert bones((-1, 0, 1)) == [(0, 1), (1, 2)]


def test_bones_keep_their_lengths() -> None:
    rng = np.random.default_rng(1)
    parents = (-1, 0, 1, 1, 3)
    offsets = torch.from_numpy(rng.normal(size=(5, 3)))
    rotations = exp_map_to_matrix(torch.from_numpy(rng.normal(size=(20, 5, 3))))
    places = forward_kinematics(rotations, torch.from_numpy(rng.normal(size=(20, 3))), offsets, parents)
    for parent, joint in bones(parents):
        length = (places[:, joint] - places[:, parent]).norm(dim=1)
        np.testing.assert_allclose(length.numpy(), float(offsets[joint].norm()), rtol=1e-12)
