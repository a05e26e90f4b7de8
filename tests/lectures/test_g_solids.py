"""Rows G of the lectures: solids in three dimensions."""

from __future__ import annotations

import io

import numpy as np
from scipy.spatial import ConvexHull
from scipy.stats import qmc

from snellen.data.decode.mesh import parse_mesh
from snellen.geometry.surface_sampling import on_sphere, triangle_areas


def test_g1_a_sphere_as_points_as_a_mesh_and_as_points_again() -> None:
    """Points of the parametric surface, their convex hull, the same mesh from a file, and points of that."""
    vertices = on_sphere(qmc.Sobol(3, scramble=False).random(2048)[1:], 1.0)
    faces = ConvexHull(vertices).simplices
    text = "".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist())
    text += "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in faces)
    mesh = parse_mesh("sphere.obj", io.BytesIO(text.encode()))
    assert np.array_equal(mesh.vertices, vertices)
    assert np.array_equal(mesh.faces, faces)
    area = float(triangle_areas(*mesh).sum())
    assert 0.995 * 4 * np.pi < area < 4 * np.pi
    radii = mesh.cloud(2000).norm(dim=1)
    longest = max(np.linalg.norm(vertices[faces[:, k]] - vertices[faces[:, k - 1]], axis=1).max() for k in range(3))
    assert float(radii.max()) <= 1 + 1e-12
    assert float(radii.min()) >= np.sqrt(1 - longest**2 / 3)  # the largest circle around a triangle of such sides
