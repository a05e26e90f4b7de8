"""Solid shapes seen by a pinhole camera, each ray met with each surface by its formula: nothing is approximated.

The camera stands at the origin; x goes right, y down, z forward, and the picture's plane is z = 1, scaled by `FOCAL`.
So the ray through (x, y) pixels is ((x − W/2)/F, (y − H/2)/F, 1), and the number that multiplies it is the depth.
A solid is a unit shape q that was turned, enlarged and put in its place: P = c + s R q.

Source: Roth 1982, "Ray casting for modeling solids".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

SIDE = 96  # of a picture, pixels
FOCAL = 120.0  # pixels
KINDS = ("sphere", "cube", "cylinder", "cone")
_CUBE, _RADIUS, _HALF = 0.8, 0.7, 0.9  # half the side of a cube; radius and half the height of a cylinder
_BALL = 1.4  # the radius of a ball that holds any of them
_SLOPE = 0.45  # of a cone: its radius grows from 0 at y = −1 to 0.9 at y = 1

Hits = tuple[np.ndarray, np.ndarray]  # (N,) how far along each ray, infinite for a miss; (N, 3) the normal there


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """One shape in its place.

    Args:
        kind: one of `KINDS`, or "plane", which is q_z = 0.
        centre: (3,). size: by which the unit shape is enlarged. turn: (3, 3) rotation.
        colours: (2, 3) in 0 … 1, which change places over the surface in waves of (3,) `waves`: how many, two phases.
    """

    kind: str
    centre: np.ndarray
    size: float
    turn: np.ndarray
    colours: np.ndarray
    waves: np.ndarray

    def inside(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points of the world in the coordinates of the unit shape."""
        local: np.ndarray = (points - self.centre) @ self.turn / self.size
        return local

    def outside(self, local: np.ndarray) -> np.ndarray:
        """(N, 3) points of the unit shape in the world."""
        points: np.ndarray = self.centre + self.size * local @ self.turn.T
        return points

    def met(self, rays: np.ndarray) -> Hits:
        """Where rays (N, 3) from the origin first meet the surface, with the normals in the world."""
        depth, normal = np.full(len(rays), np.inf), np.zeros_like(rays)
        near = self.near(rays)
        start, along = self.inside(np.zeros(3)), rays[near] @ self.turn / self.size
        with np.errstate(divide="ignore", invalid="ignore"):
            depth[near], local = _SHAPES[self.kind](start, along)
        normal[near] = local @ self.turn.T
        return depth, normal

    def near(self, rays: np.ndarray) -> np.ndarray:
        """(N,) bool: the rays that pass the centre within the ball in which the whole shape lies."""
        if self.kind == "plane":
            return np.ones(len(rays), bool)
        away = self.centre @ self.centre - (rays @ self.centre) ** 2 / (rays**2).sum(1)
        near: np.ndarray = away <= (_BALL * self.size) ** 2
        return near

    def reflectance(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) the share of red, green and blue light that the surface gives back at these points of the world."""
        local = self.inside(points)
        count, first, second = self.waves
        wave = np.sin(count * local[:, 0] + first) * np.sin(count * (local[:, 1] + 0.6 * local[:, 2]) + second)
        share = 0.5 + 0.5 * np.tanh(3 * wave)[:, None]
        mixed: np.ndarray = self.colours[0] + (self.colours[1] - self.colours[0]) * share
        return mixed


class World(NamedTuple):
    """solids: the first is the plane behind all others. light: (3,) unit vector towards it."""

    solids: tuple[Solid, ...]
    light: np.ndarray


class Seen(NamedTuple):
    """What N rays see.

    which: (N,) int64, the place of the solid. depth: (N,). normal: (N, 3) unit vectors, x right, y down, z away from
    the viewer. reflectance: (N, 3) in 0 … 1. points: (N, 3).
    """

    which: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    reflectance: np.ndarray
    points: np.ndarray

    def lit(self, light: np.ndarray) -> np.ndarray:
        """(N, 3) in 0 … 1: reflectance times Lambert's cosine, over a third of light from everywhere."""
        lit: np.ndarray = self.reflectance * (0.35 + 0.65 * np.maximum(self.normal @ light, 0))[:, None]
        return lit


def rays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, 3) through places of the picture, in pixels."""
    return np.stack([(x - SIDE / 2) / FOCAL, (y - SIDE / 2) / FOCAL, np.ones_like(x)], 1)


def projected(points: np.ndarray) -> np.ndarray:
    """(N, 2) x and y in pixels, where points of the world are seen."""
    seen: np.ndarray = FOCAL * points[:, :2] / points[:, 2:] + SIDE / 2
    return seen


def look(world: World, x: np.ndarray, y: np.ndarray) -> Seen:
    """What is seen at places (N,), (N,) of the picture, in pixels, not only at the centres of pixels."""
    directions = rays(x, y)
    which, depth, normal = np.zeros(len(x), np.int64), np.full(len(x), np.inf), np.zeros_like(directions)
    for k, solid in enumerate(world.solids):
        far, facing = solid.met(directions)
        nearer = far < depth
        which[nearer], depth[nearer], normal[nearer] = k, far[nearer], facing[nearer]
    points = depth[:, None] * directions
    reflectance = np.zeros_like(points)
    for k, solid in enumerate(world.solids):
        reflectance[which == k] = solid.reflectance(points[which == k])
    return Seen(which, depth, normal, reflectance, points)


def flow(seen: Seen, before: World, after: World) -> np.ndarray:
    """(N, 2) pixels: how far what is seen moves in the picture when its solid moves from one place to the other."""
    moved = np.zeros_like(seen.points)
    for k, (here, there) in enumerate(zip(before.solids, after.solids, strict=True)):
        moved[seen.which == k] = there.outside(here.inside(seen.points[seen.which == k]))
    change: np.ndarray = projected(moved) - projected(seen.points)
    return change


def keypoints(solid: Solid) -> np.ndarray:
    """(5, 3) points of the surface in the world: top, bottom, left, right, front, of the axes that can be seen."""
    up, side = {"sphere": (1.0, 1.0), "cube": (_CUBE, _CUBE), "cylinder": (_HALF, _RADIUS), "cone": (1.0, _SLOPE)}[
        solid.kind
    ]
    places = np.array([[0, -up, 0], [0, up, 0], [-side, 0, 0], [side, 0, 0], [0, 0, -side]])
    points: np.ndarray = solid.centre + solid.size * places @ axes(solid).T
    return points


def axes(solid: Solid) -> np.ndarray:
    """(3, 3) the solid's turn without what nobody can see of it.

    A ball shows nothing of how it was turned, a cone nothing of how far about its axis. Of all turns that leave the
    shape as it lies this is the one nearest to the viewer's own axes: that of the largest trace.
    """
    if solid.kind == "sphere":
        return np.eye(3)
    if solid.kind == "cube":
        return max((solid.turn @ same for same in _CUBES_OWN), key=np.trace)
    ends = [solid.turn, solid.turn @ np.diag([1.0, -1.0, -1.0])] if solid.kind == "cylinder" else [solid.turn]
    return max((_spun(turn) for turn in ends), key=np.trace)


def _spun(turn: np.ndarray) -> np.ndarray:
    """A turn followed by that about its own y axis which brings it nearest to none."""
    angle = np.arctan2(turn[2, 0] - turn[0, 2], turn[0, 0] + turn[2, 2])
    cos, sin = np.cos(angle), np.sin(angle)
    spun: np.ndarray = turn @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return spun


# The 24 turns that bring a cube onto itself: axes change places and directions, left and right do not.
_CUBES_OWN = [
    own
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
    if np.linalg.det(own := np.eye(3)[list(order)] * signs) > 0
]


def _plane(start: np.ndarray, along: np.ndarray) -> Hits:
    depth = -start[2] / along[:, 2]
    return np.where(depth > 0, depth, np.inf), np.broadcast_to([0.0, 0.0, -1.0], along.shape)


def _sphere(start: np.ndarray, along: np.ndarray) -> Hits:
    """|q| = 1."""
    depth = _nearest_root((along**2).sum(1), along @ start, start @ start - 1)
    return depth, start + _finite(depth)[:, None] * along


def _cube(start: np.ndarray, along: np.ndarray) -> Hits:
    """|q| ≤ 0.8 along every axis: the ray is inside from the last entry to the first exit."""
    first, second = (-_CUBE - start) / along, (_CUBE - start) / along
    entries, exits = np.minimum(first, second), np.maximum(first, second)
    axis = entries.argmax(1)
    depth = entries.max(1)
    normal = np.eye(3)[axis] * -np.sign(along)
    return np.where((depth <= exits.min(1)) & (depth > 0), depth, np.inf), normal


def _cylinder(start: np.ndarray, along: np.ndarray) -> Hits:
    """x² + z² = 0.7² with |y| ≤ 0.9, and its two lids."""
    flat = np.array([1.0, 0.0, 1.0])
    side = _nearest_root((along**2) @ flat, (along * start) @ flat, (start**2) @ flat - _RADIUS**2)
    at = start + _finite(side)[:, None] * along
    round_ = (np.where(np.abs(at[:, 1]) <= _HALF, side, np.inf), at * flat / _RADIUS)
    return _first(round_, *(_lid(start, along, y, _RADIUS) for y in (-_HALF, _HALF)))


def _cone(start: np.ndarray, along: np.ndarray) -> Hits:
    """x² + z² = 0.45² (y + 1)² with |y| ≤ 1, and its base."""
    form = np.array([1.0, -(_SLOPE**2), 1.0])
    from_tip = start + np.array([0.0, 1.0, 0.0])
    a, b, c = (along**2) @ form, (along * from_tip) @ form, (from_tip**2) @ form
    found = []
    for sign in (-1, 1):
        depth = (-b + sign * np.sqrt(b**2 - a * c)) / a
        at = from_tip + _finite(depth)[:, None] * along
        on = (depth > 0) & (at[:, 1] >= 0) & (at[:, 1] <= 2)
        normal = at * form
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        found.append((np.where(on, depth, np.inf), normal / np.where(length > 0, length, 1)))
    return _first(*found, _lid(start, along, 1.0, 2 * _SLOPE))


def _lid(start: np.ndarray, along: np.ndarray, y: float, radius: float) -> Hits:
    depth = (y - start[1]) / along[:, 1]
    at = start + _finite(depth)[:, None] * along
    on = (depth > 0) & (at[:, 0] ** 2 + at[:, 2] ** 2 <= radius**2)
    return np.where(on, depth, np.inf), np.broadcast_to([0.0, np.sign(y), 0.0], along.shape)


def _first(*hits: Hits) -> Hits:
    depths = np.stack([depth for depth, _ in hits])
    which, each = depths.argmin(0), np.arange(depths.shape[1])
    return depths[which, each], np.stack([normal for _, normal in hits])[which, each]


def _nearest_root(a: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
    """The smaller positive t of a t² + 2 b t + c = 0, seen from outside; infinite where there is none."""
    depth = (-b - np.sqrt(b**2 - a * c)) / a
    root: np.ndarray = np.where(depth > 0, depth, np.inf)  # a root of less than nothing is NaN, and not above 0
    return root


def _finite(depth: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.where(np.isfinite(depth), depth, 0.0)
    return finite


_SHAPES = {"plane": _plane, "sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone}
