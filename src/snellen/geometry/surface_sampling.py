"""Points on surfaces, uniform by area: of solid shapes in closed form, and of triangle meshes.

Every function maps uniform random numbers (P, 3) in [0, 1) to points (P, 3), so the caller chooses the generator.
Shapes are centred on the origin; their axis of rotation is z.
"""

from __future__ import annotations

import numpy as np


def on_sphere(u: np.ndarray, radius: float) -> np.ndarray:
    """Points of a sphere. Equal heights have equal areas (Archimedes)."""
    z = 2 * u[:, 0] - 1
    return radius * _around_z(np.sqrt(np.maximum(1 - z**2, 0)), u[:, 1], z)


def on_box(u: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Points of a box. half: (3,) half the length of each side."""
    areas = np.prod(half) / half  # of the faces across each axis, up to a factor
    axis, rest = _choose(u[:, 0], areas)
    second = np.where(axis == 0, u[:, 1], u[:, 2])
    points: np.ndarray = (2 * np.stack([u[:, 1], second, u[:, 2]], 1) - 1) * half  # that of `axis` is replaced
    each = np.arange(len(u))
    points[each, axis] = np.where(rest < 0.5, -half[axis], half[axis])
    return points


def on_cylinder(u: np.ndarray, radius: float, half_height: float) -> np.ndarray:
    """Points of a cylinder and its two end faces."""
    part, rest = _choose(u[:, 0], np.array([2 * half_height, radius / 2, radius / 2]))  # areas, by 2π radius
    rho = np.where(part == 0, radius, radius * np.sqrt(u[:, 2]))
    z = np.choose(part, [(2 * rest - 1) * half_height, -half_height, half_height])
    return _around_z(rho, u[:, 1], z)


def on_cone(u: np.ndarray, radius: float, height: float) -> np.ndarray:
    """Points of a cone and its base. The base is at z = −height/2, the tip at height/2."""
    part, _ = _choose(u[:, 0], np.array([np.hypot(radius, height), radius]))  # areas, by π radius
    scale = np.sqrt(u[:, 2])  # distance from the tip, or from the centre of the base, in units of the largest
    z = np.where(part == 0, height / 2 - height * scale, -height / 2)
    return _around_z(radius * scale, u[:, 1], z)


def on_torus(u: np.ndarray, radius: float, tube: float) -> np.ndarray:
    """Points of a torus. radius: of the centre of the tube; tube: of the tube, smaller.

    The area at angle θ of the tube is proportional to 1 + t cos θ, t = tube/radius. A uniform θ is kept with
    probability (1 + t cos θ)/2, else it becomes θ + π: the sum of both cases has this density.
    """
    angle = 2 * np.pi * u[:, 0]
    angle = np.where(u[:, 2] < (1 + tube / radius * np.cos(angle)) / 2, angle, angle + np.pi)
    return _around_z(radius + tube * np.cos(angle), u[:, 1], tube * np.sin(angle))


def triangle_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Areas (F,) of the triangles. vertices: (V, 3). faces: (F, 3) indices of vertices."""
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    areas: np.ndarray = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    return areas


def on_triangles(u: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Points of a triangle mesh: a triangle by its area, then a point of it. The area is not zero.

    Source: Osada, Funkhouser, Chazelle and Dobkin 2002, "Shape distributions", section 4.2: (1 − √u) A + √u (1 − v) B
    + √u v C.
    """
    chosen, _ = _choose(u[:, 0], triangle_areas(vertices, faces))
    root, v = np.sqrt(u[:, 1:2]), u[:, 2:3]
    first, second, third = (vertices[faces[chosen, k]] for k in range(3))
    points: np.ndarray = (1 - root) * first + root * (1 - v) * second + root * v * third
    return points


def _choose(u: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts (P,) chosen in proportion to their weights, and the rest (P,) of `u`, uniform in [0, 1) within a part."""
    ends = np.cumsum(weights)
    position = u * ends[-1]
    last = int(np.flatnonzero(weights)[-1])
    part = np.minimum(np.searchsorted(ends, position, side="right"), last)  # parts without weight are never chosen
    rest: np.ndarray = (position - ends[part] + weights[part]) / weights[part]
    return part, rest.clip(0, np.nextafter(1, 0))


def _around_z(rho: np.ndarray, turn: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (P, 3) at distance `rho` from the z axis and at `turn` of a full turn about it."""
    angle = 2 * np.pi * turn
    return np.stack([rho * np.cos(angle), rho * np.sin(angle), z], 1)
