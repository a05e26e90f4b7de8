"""Ray caster: exact intersections of rays with solid shapes, seen by a pinhole camera.

The camera is at the origin; x points right, y down, z forward; the image plane is z = 1, scaled by `FOCAL`.
The ray through pixel (x, y) is ((x − W/2)/F, (y − H/2)/F, 1); its multiple at a surface is the depth.
A solid is a unit shape q, rotated, scaled and translated: P = c + s R q.

Source: Roth 1982, "Ray casting for modeling solids".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

SIDE = 96  # of an image, pixels
FOCAL = 120.0  # pixels
KINDS = ("sphere", "cube", "cylinder", "cone")
_CUBE, _RADIUS, _HALF = 0.8, 0.7, 0.9  # half the side of a cube; radius and half the height of a cylinder
_BOUNDING_RADIUS = 1.4  # radius of a sphere that contains any of them
_SLOPE = 0.45  # of a cone: its radius grows from 0 at y = −1 to 0.9 at y = 1

Hits = tuple[np.ndarray, np.ndarray]  # (N,) distance along each ray, infinite for a miss; (N, 3) normals


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A solid shape with its pose and colours.

    Args:
        kind: one of `KINDS`, or "plane", which is q_z = 0.
        centre: (3,). size: scale of the unit shape. rotation: (3, 3) matrix.
        colours: (2, 3) in 0 … 1, which alternate over the surface in waves; (3,) `waves`: frequency, two phases.
    """

    kind: str
    centre: np.ndarray
    size: float
    rotation: np.ndarray
    colours: np.ndarray
    waves: np.ndarray

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """Transform world points (N, 3) to the coordinates of the unit shape."""
        local: np.ndarray = (points - self.centre) @ self.rotation / self.size
        return local

    def to_world(self, local: np.ndarray) -> np.ndarray:
        """Transform points (N, 3) of the unit shape to the world."""
        points: np.ndarray = self.centre + self.size * local @ self.rotation.T
        return points

    def intersect(self, rays: np.ndarray) -> Hits:
        """First intersections of rays (N, 3) from the camera with the surface, with normals in the world."""
        depth, normal = np.full(len(rays), np.inf), np.zeros_like(rays)
        near = self.may_hit(rays)
        origin, direction = self.to_local(np.zeros(3)), rays[near] @ self.rotation / self.size
        with np.errstate(divide="ignore", invalid="ignore"):
            depth[near], local = _SHAPES[self.kind](origin, direction)
        normal[near] = local @ self.rotation.T
        return depth, normal

    def may_hit(self, rays: np.ndarray) -> np.ndarray:
        """(N,) bool: rays that intersect the bounding sphere."""
        if self.kind == "plane":
            return np.ones(len(rays), bool)
        distance_squared = self.centre @ self.centre - (rays @ self.centre) ** 2 / (rays**2).sum(1)
        near: np.ndarray = distance_squared <= (_BOUNDING_RADIUS * self.size) ** 2
        return near

    def reflectance(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) reflectance of red, green and blue light at points of the world."""
        local = self.to_local(points)
        count, first, second = self.waves
        wave = np.sin(count * local[:, 0] + first) * np.sin(count * (local[:, 1] + 0.6 * local[:, 2]) + second)
        mix = 0.5 + 0.5 * np.tanh(3 * wave)[:, None]
        mixed: np.ndarray = self.colours[0] + (self.colours[1] - self.colours[0]) * mix
        return mixed


class SolidScene(NamedTuple):
    """A scene of solids. solids: the first is the background plane. light: (3,) unit vector towards the light."""

    solids: tuple[Solid, ...]
    light: np.ndarray


class RayHits(NamedTuple):
    """Intersections of N rays.

    solid_index: (N,) int64. depth: (N,). normal: (N, 3) unit vectors, x right, y down, z away from
    the camera. reflectance: (N, 3) in 0 … 1. points: (N, 3).
    """

    solid_index: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    reflectance: np.ndarray
    points: np.ndarray

    def shade(self, light: np.ndarray) -> np.ndarray:
        """(N, 3) in 0 … 1: Lambertian shading with a third of ambient light."""
        lit: np.ndarray = self.reflectance * (0.35 + 0.65 * np.maximum(self.normal @ light, 0))[:, None]
        return lit


def rays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rays (N, 3) through points of the image, in pixels."""
    return np.stack([(x - SIDE / 2) / FOCAL, (y - SIDE / 2) / FOCAL, np.ones_like(x)], 1)


def project(points: np.ndarray) -> np.ndarray:
    """Project points of the world to the image: (N, 2) x and y in pixels."""
    xy: np.ndarray = FOCAL * points[:, :2] / points[:, 2:] + SIDE / 2
    return xy


def cast_rays(world: SolidScene, x: np.ndarray, y: np.ndarray) -> RayHits:
    """Cast rays through points (N,), (N,) of the image, in pixels, not only pixel centres."""
    directions = rays(x, y)
    solid_index, depth, normal = np.zeros(len(x), np.int64), np.full(len(x), np.inf), np.zeros_like(directions)
    for k, solid in enumerate(world.solids):
        distance, facing_normal = solid.intersect(directions)
        nearer = distance < depth
        solid_index[nearer], depth[nearer], normal[nearer] = k, distance[nearer], facing_normal[nearer]
    points = depth[:, None] * directions
    reflectance = np.zeros_like(points)
    for k, solid in enumerate(world.solids):
        reflectance[solid_index == k] = solid.reflectance(points[solid_index == k])
    return RayHits(solid_index, depth, normal, reflectance, points)


def flow(hits: RayHits, before: SolidScene, after: SolidScene) -> np.ndarray:
    """Optical flow (N, 2) in pixels of visible points between two worlds."""
    moved = np.zeros_like(hits.points)
    for k, (solid, next_solid) in enumerate(zip(before.solids, after.solids, strict=True)):
        moved[hits.solid_index == k] = next_solid.to_world(solid.to_local(hits.points[hits.solid_index == k]))
    change: np.ndarray = project(moved) - project(hits.points)
    return change


def keypoints(solid: Solid) -> np.ndarray:
    """Keypoints (5, 3) of the surface in the world: top, bottom, left, right, front, along `axes`."""
    up, side = {"sphere": (1.0, 1.0), "cube": (_CUBE, _CUBE), "cylinder": (_HALF, _RADIUS), "cone": (1.0, _SLOPE)}[
        solid.kind
    ]
    local_points = np.array([[0, -up, 0], [0, up, 0], [-side, 0, 0], [side, 0, 0], [0, 0, -side]])
    points: np.ndarray = solid.centre + solid.size * local_points @ axes(solid).T
    return points


def axes(solid: Solid) -> np.ndarray:
    """Rotation (3, 3) of the solid, made unique by its symmetry.

    The rotation of a sphere is invisible, and so is that of a cone about its axis. Of all equivalent rotations this is
    the one nearest to the camera's axes: that of the largest trace.
    """
    if solid.kind == "sphere":
        return np.eye(3)
    if solid.kind == "cube":
        return max((solid.rotation @ symmetry for symmetry in _CUBE_SYMMETRIES), key=np.trace)
    candidates = (
        [solid.rotation, solid.rotation @ np.diag([1.0, -1.0, -1.0])] if solid.kind == "cylinder" else [solid.rotation]
    )
    return max((_nearest_rotation_about_y(rotation) for rotation in candidates), key=np.trace)


def _nearest_rotation_about_y(rotation: np.ndarray) -> np.ndarray:
    """A rotation followed by one about its y axis, such that the result is nearest to the identity."""
    angle = np.arctan2(rotation[2, 0] - rotation[0, 2], rotation[0, 0] + rotation[2, 2])
    cos, sin = np.cos(angle), np.sin(angle)
    rotated: np.ndarray = rotation @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return rotated


# The 24 rotations that map a cube onto itself: axis permutations and sign changes without reflections.
_CUBE_SYMMETRIES = [
    symmetry
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
    if np.linalg.det(symmetry := np.eye(3)[list(order)] * signs) > 0
]


def _plane(origin: np.ndarray, direction: np.ndarray) -> Hits:
    depth = -origin[2] / direction[:, 2]
    return np.where(depth > 0, depth, np.inf), np.broadcast_to([0.0, 0.0, -1.0], direction.shape)


def _sphere(origin: np.ndarray, direction: np.ndarray) -> Hits:
    """|q| = 1."""
    depth = _nearest_root((direction**2).sum(1), direction @ origin, origin @ origin - 1)
    return depth, origin + _finite(depth)[:, None] * direction


def _cube(origin: np.ndarray, direction: np.ndarray) -> Hits:
    """|q| ≤ 0.8 along every axis: the ray is inside between the last entry and the first exit."""
    first, second = (-_CUBE - origin) / direction, (_CUBE - origin) / direction
    entries, exits = np.minimum(first, second), np.maximum(first, second)
    axis = entries.argmax(1)
    depth = entries.max(1)
    normal = np.eye(3)[axis] * -np.sign(direction)
    return np.where((depth <= exits.min(1)) & (depth > 0), depth, np.inf), normal


def _cylinder(origin: np.ndarray, direction: np.ndarray) -> Hits:
    """x² + z² = 0.7² with |y| ≤ 0.9, and two end faces."""
    xz = np.array([1.0, 0.0, 1.0])
    side = _nearest_root((direction**2) @ xz, (direction * origin) @ xz, (origin**2) @ xz - _RADIUS**2)
    point = origin + _finite(side)[:, None] * direction
    side_hit = (np.where(np.abs(point[:, 1]) <= _HALF, side, np.inf), point * xz / _RADIUS)
    return _nearest_hit(side_hit, *(_end_face(origin, direction, y, _RADIUS) for y in (-_HALF, _HALF)))


def _cone(origin: np.ndarray, direction: np.ndarray) -> Hits:
    """x² + z² = 0.45² (y + 1)² with |y| ≤ 1, and its base."""
    form = np.array([1.0, -(_SLOPE**2), 1.0])
    from_tip = origin + np.array([0.0, 1.0, 0.0])
    a, b, c = (direction**2) @ form, (direction * from_tip) @ form, (from_tip**2) @ form
    side_hits = []
    for sign in (-1, 1):
        depth = (-b + sign * np.sqrt(b**2 - a * c)) / a
        point = from_tip + _finite(depth)[:, None] * direction
        is_on_surface = (depth > 0) & (point[:, 1] >= 0) & (point[:, 1] <= 2)
        normal = point * form
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        side_hits.append((np.where(is_on_surface, depth, np.inf), normal / np.where(length > 0, length, 1)))
    return _nearest_hit(*side_hits, _end_face(origin, direction, 1.0, 2 * _SLOPE))


def _end_face(origin: np.ndarray, direction: np.ndarray, y: float, radius: float) -> Hits:
    depth = (y - origin[1]) / direction[:, 1]
    point = origin + _finite(depth)[:, None] * direction
    is_on_surface = (depth > 0) & (point[:, 0] ** 2 + point[:, 2] ** 2 <= radius**2)
    return np.where(is_on_surface, depth, np.inf), np.broadcast_to([0.0, np.sign(y), 0.0], direction.shape)


def _nearest_hit(*hits: Hits) -> Hits:
    depths = np.stack([depth for depth, _ in hits])
    solid_index, each = depths.argmin(0), np.arange(depths.shape[1])
    return depths[solid_index, each], np.stack([normal for _, normal in hits])[solid_index, each]


def _nearest_root(a: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
    """Smaller root t of a t² + 2 b t + c = 0 if positive, for an origin outside; else infinite."""
    depth = (-b - np.sqrt(b**2 - a * c)) / a
    root: np.ndarray = np.where(depth > 0, depth, np.inf)  # the root of a negative number is NaN, which is not above 0
    return root


def _finite(depth: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.where(np.isfinite(depth), depth, 0.0)
    return finite


_SHAPES = {"plane": _plane, "sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone}
