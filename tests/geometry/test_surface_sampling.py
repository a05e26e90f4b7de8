"""Points on surfaces: moments of uniform distributions by area, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from snellen.geometry.surface_sampling import (
    on_box,
    on_cone,
    on_cylinder,
    on_sphere,
    on_torus,
    on_triangles,
    triangle_areas,
)

# Evenly spread numbers, so that means are integrals and nothing depends on a seed.
U = qmc.Sobol(3, scramble=False).random(1 << 16)
TOLERANCE = 1e-3


def moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points.mean(0), points.T @ points / len(points)


def expect(points: np.ndarray, z: float, xx: float, zz: float) -> None:
    """Mean height and second moments of a body of revolution about z."""
    mean, second = moments(points)
    assert np.allclose(mean, [0, 0, z], atol=TOLERANCE)
    assert np.allclose(second, np.diag([xx, xx, zz]), atol=TOLERANCE)


def test_sphere() -> None:
    points = on_sphere(U, 1.5)
    assert np.allclose(np.linalg.norm(points, axis=1), 1.5)
    expect(points, 0, 0.75, 0.75)


def test_box() -> None:
    half = np.array([0.5, 0.7, 0.9])
    points = on_box(U, half)
    assert np.allclose((np.abs(points) / half).max(1), 1)
    faces = np.prod(half) / half  # areas across x, y and z
    expected = (faces * half**2 + (faces.sum() - faces) * half**2 / 3) / faces.sum()
    mean, second = moments(points)
    assert np.allclose(mean, 0, atol=TOLERANCE)
    assert np.allclose(second, np.diag(expected), atol=TOLERANCE)


def test_cylinder() -> None:
    radius, half = 0.6, 0.8
    side, ends = 4 * np.pi * radius * half, 2 * np.pi * radius**2
    points = on_cylinder(U, radius, half)
    rho = np.hypot(points[:, 0], points[:, 1])
    assert np.all(np.isclose(rho, radius) | (np.isclose(np.abs(points[:, 2]), half) & (rho <= radius)))
    expect(
        points,
        0,
        (side * radius**2 / 2 + ends * radius**2 / 4) / (side + ends),
        (side * half**2 / 3 + ends * half**2) / (side + ends),
    )


def test_cone() -> None:
    radius, height = 0.8, 1.6
    side, base = np.hypot(radius, height), radius
    points = on_cone(U, radius, height)
    rho, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    assert np.all(np.isclose(rho, radius * (0.5 - z / height)) | (np.isclose(z, -height / 2) & (rho <= radius)))
    expect(  # of the side, the height above the base has mean h/3 and mean square h²/6
        points,
        (side * (height / 3 - height / 2) - base * height / 2) / (side + base),
        radius**2 / 4,
        (side * height**2 * (1 / 6 - 1 / 3 + 1 / 4) + base * height**2 / 4) / (side + base),
    )


def test_torus() -> None:
    radius, tube = 0.8, 0.3
    points = on_torus(U, radius, tube)
    assert np.allclose(np.hypot(np.hypot(points[:, 0], points[:, 1]) - radius, points[:, 2]), tube)
    expect(points, 0, (radius**2 + 1.5 * tube**2) / 2, tube**2 / 2)


def test_triangles() -> None:
    """The second moment of a triangle of corners v is area/12 (Σ v vᵀ + Σv Σvᵀ)."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(9, 3))
    faces = np.array([[0, 1, 2], [2, 3, 4], [4, 4, 5], [6, 7, 8], [0, 1, 0]])  # two have no area
    corners = vertices[faces]
    areas = triangle_areas(vertices, faces)
    sums = corners.sum(1)
    second = np.einsum("f,fki,fkj->ij", areas, corners, corners) + np.einsum("f,fi,fj->ij", areas, sums, sums)
    mean, measured = moments(on_triangles(U, vertices, faces))
    assert np.allclose(mean, areas @ sums / 3 / areas.sum(), atol=3 * TOLERANCE)
    assert np.allclose(measured, second / 12 / areas.sum(), atol=5 * TOLERANCE)


@pytest.mark.parametrize("value", [0.0, np.nextafter(1, 0)])
def test_the_ends_of_the_random_numbers_are_on_the_surface(value: float) -> None:
    u = np.full((1, 3), value)
    vertices, faces = np.eye(3), np.array([[0, 0, 1], [0, 1, 2], [1, 1, 1]])
    for points in (on_sphere(u, 1), on_box(u, np.ones(3)), on_torus(u, 2, 1), on_triangles(u, vertices, faces)):
        assert np.isfinite(points).all()
    assert np.isclose(on_triangles(u, vertices, faces).sum(), 1)  # of the plane x + y + z = 1
