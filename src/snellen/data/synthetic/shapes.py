"""The built-in world of solid shapes: pictures whose class, box, mask, keypoints, depth, normals, edges, reflectance
and flow are known exactly, each a function of (seed, number).

What is asked for is typed as `--target`; plain `shapes` is boxes with masks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Objects
from snellen.core.random import uniform
from snellen.core.spec import Boxes, Classes, Input, PixelClasses, PixelNumbers, Preprocessing, Target
from snellen.data.annotations import Annotations, Maps, Truth, boxes_around, object_lists
from snellen.data.dataset import RawDataset
from snellen.data.source import as_read
from snellen.geometry.ray_caster import KINDS, SIDE, Seen, Solid, World, flow, keypoints, look, projected, rays

COUNT = 300  # pictures
MOST = 5  # solids in one
LEAST = 30  # pixels that are seen of each
POINTS = ("top", "bottom", "left", "right", "front")
TARGETS: dict[str, Target] = {
    "masks": Boxes(names=KINDS, masks=True),
    "boxes": Boxes(names=KINDS),
    "keypoints": Boxes(names=KINDS, keypoints=POINTS, mirrored=((2, 3),), bones=((0, 4), (4, 1), (2, 4), (4, 3))),
    "classes": Classes(names=KINDS),
    "pixels": PixelClasses(names=("background", *KINDS)),
    "depth": PixelNumbers(kind="depth", names=("depth",), units=("m",)),
    "normals": PixelNumbers(kind="normals", names=("x", "y", "z")),
    "edges": PixelNumbers(kind="edges", names=("edge",)),
    "reflectance": PixelNumbers(kind="reflectance", names=("red", "green", "blue")),
    "flow": PixelNumbers(kind="flow", names=("u", "v"), units=("px", "px")),
}
_TOLD = {
    "masks": "one to five solids in each, with boxes and masks",
    "boxes": "one to five solids in each, with boxes",
    "keypoints": "one to five solids in each, with boxes and five keypoints",
    "classes": "one solid in each",
    "pixels": "the kind of solid of every pixel",
    "depth": "the depth of every pixel",
    "normals": "the normal of every pixel: x right, y up, z towards the viewer",
    "edges": "the outlines of the solids: pixels beside something farther away",
    "reflectance": "the share of light that every pixel gives back",
    "flow": "how far every pixel moves from the first frame to the second, in pixels",
}


def shapes(seed: int, target: str = "masks") -> RawDataset:
    """300 pictures of 96x96 pixels with solid shapes before a plane, drawn by ray casting.

    Args:
        target: one of `TARGETS`.
    """
    drawn = Drawn(seed, target)
    truth = annotations = None
    if target == "classes":
        truth = torch.tensor([KINDS.index(world(seed, id, 1).world.solids[1].kind) for id in range(COUNT)])
    else:
        annotations = drawn.annotations()
    said = f"the built-in world of solid shapes: {COUNT} pictures of {SIDE}x{SIDE} pixels, {_TOLD[target]}"
    others = ", ".join(name for name in TARGETS if name != target)
    return RawDataset(
        source=drawn,
        inputs={"image": Input(modality="image", shape=(drawn.channels, SIDE, SIDE), dtype="uint8")},
        target=TARGETS[target],
        truth=truth,
        annotations=annotations,
        recognised_as=f"{said} (--target: {others})",
    )


class View(NamedTuple):
    """A world as it is seen at the centres of the pixels."""

    world: World
    seen: Seen

    @property
    def image(self) -> Tensor:
        """(3, H, W) uint8."""
        lit = torch.from_numpy(self.seen.lit(self.world.light)).float()
        return _as_map(lit * 255).round().to(torch.uint8)

    @property
    def which(self) -> Tensor:
        """(H, W) int64: 0 for the plane, k for the k-th solid."""
        return torch.from_numpy(self.seen.which).view(SIDE, SIDE)


class Drawn:
    """The pictures of one seed as a source, each drawn when it is first asked for."""

    def __init__(self, seed: int, target: str) -> None:
        self.seed = seed
        self.target = target
        self.most = 1 if target == "classes" else MOST
        self.channels = 6 if target == "flow" else 3
        self._kept: dict[int, tuple[Tensor, Truth | None]] = {}

    def __len__(self) -> int:
        return COUNT

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return as_read(torch.stack([self.drawn(int(id))[0] for id in ids]), preprocessing)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return f"picture {id}"

    def key(self) -> str | None:
        return None

    def drawn(self, id: int) -> tuple[Tensor, Truth | None]:
        """The picture, (3, H, W) or two frames as (6, H, W), uint8, and what is true of it."""
        if id not in self._kept:
            here = world(self.seed, id, self.most)
            frames = [here]
            if self.target == "flow":
                frames.append(view(later(here.world, self.seed, id)))
            tell = _TRUTHS.get(self.target)
            truth = flow_between(*frames) if self.target == "flow" else tell(here) if tell is not None else None
            self._kept[id] = torch.cat([frame.image for frame in frames]), truth
        return self._kept[id]

    def annotations(self) -> Annotations:
        if isinstance(TARGETS[self.target], Boxes):
            each = [truth for id in range(COUNT) if isinstance(truth := self.drawn(id)[1], Objects)]
            return object_lists(each)
        return Maps(self._map, range(COUNT))

    def _map(self, id: int) -> Tensor:
        truth = self.drawn(id)[1]
        assert isinstance(truth, Tensor)
        return truth


def view(world: World) -> View:
    centres = np.arange(SIDE) + 0.5
    y, x = (side.ravel() for side in np.meshgrid(centres, centres, indexing="ij"))
    return View(world, look(world, x, y))


def world(seed: int, id: int, most: int = MOST) -> View:
    """The world of a picture: a plane and up to `most` solids, none inside another, at least 30 pixels seen of each."""
    u = uniform(torch.arange(MOST + 1), 24, seed, "shapes", id).double().numpy()
    wanted = 1 + int(u[0, 0] * most)
    tilt, sideways = math.radians(20 + 35 * u[0, 1]), math.radians(50 * u[0, 2] - 25)
    plane = Solid(
        kind="plane",
        centre=np.array([0.0, 0.0, 6.2 + u[0, 3]]),
        size=1.0,
        turn=_about(0, -tilt) @ _about(1, sideways),
        colours=0.5 + 0.4 * (_colours(u[0, 4:10]) - 0.5),
        waves=np.array([2 + 3 * u[0, 10], *(2 * math.pi * u[0, 11:13])]),
    )
    solids = [plane]
    for draws in u[1 : wanted + 1]:
        solid = _solid(draws)
        apart = all(np.linalg.norm(solid.centre - other.centre) > solid.size + other.size for other in solids[1:])
        if apart and -plane.inside(solid.centre[None])[0, 2] > 1.3 * solid.size:
            solids.append(solid)
    if len(solids) == 1:  # nearer than the plane can be
        first = _solid(u[1])
        solids.append(dataclasses.replace(first, centre=first.centre * (3 / first.centre[2])))
    up, across = math.radians(25 + 50 * u[0, 13]), 2 * math.pi * u[0, 14]
    light = np.array([math.cos(up) * math.cos(across), -abs(math.cos(up) * math.sin(across)), -math.sin(up)])
    made = view(World(tuple(solids), light / np.linalg.norm(light)))
    while True:  # what is taken out may show more of another, never less
        pixels = np.bincount(made.seen.which, minlength=len(made.world.solids))
        kept = tuple(s for k, s in enumerate(made.world.solids) if k == 0 or pixels[k] >= LEAST)
        if len(kept) == len(made.world.solids):
            return made
        made = view(made.world._replace(solids=kept))


def _solid(u: np.ndarray) -> Solid:
    depth = 3 + 2.4 * u[1]
    at = 12 + (SIDE - 24) * u[2:4]  # where the centre is seen, pixels
    turn = (
        _about(1, math.radians(70 * u[5] - 35))
        @ _about(0, math.radians(60 * u[6] - 30))
        @ _about(2, math.radians(60 * u[7] - 30))
    )
    return Solid(
        kind=KINDS[int(u[0] * len(KINDS))],
        centre=depth * rays(at[:1], at[1:])[0],
        size=0.35 + 0.35 * u[4],
        turn=turn,
        colours=_colours(u[8:14]),
        waves=np.array([3 + 3 * u[14], *(2 * math.pi * u[15:17])]),
    )


def later(world: World, seed: int, id: int) -> World:
    """The same world a moment later: every solid moved and turned a little, and all of them by the camera's step."""
    u = 2 * uniform(torch.arange(len(world.solids)), 6, seed, "shapes later", id).double().numpy() - 1
    step = 0.06 * u[0, :3]
    solids = []
    for k, (solid, v) in enumerate(zip(world.solids, u, strict=True)):
        turn = _about(0, 0.12 * v[3]) @ _about(1, 0.12 * v[4]) @ _about(2, 0.12 * v[5]) if k else np.eye(3)
        centre = solid.centre + step + (0.1 * v[:3] if k else 0)
        solids.append(dataclasses.replace(solid, centre=centre, turn=turn @ solid.turn))
    return world._replace(solids=tuple(solids))


def _colours(u: np.ndarray) -> np.ndarray:
    return 0.15 + 0.8 * u.reshape(2, 3)


def _about(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about an axis, radians."""
    turn = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn[a, a] = turn[b, b] = math.cos(angle)
    turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
    return turn


def _as_map(values: Tensor) -> Tensor:
    """(H·W, T) to (T, H, W)."""
    return values.T.reshape(-1, SIDE, SIDE).contiguous()


def _numbers(values: np.ndarray) -> Tensor:
    return _as_map(torch.from_numpy(values).float())


def objects(here: View) -> Objects:
    """The solids with masks of what is seen of them, and boxes around those."""
    count = len(here.world.solids) - 1
    masks = here.which == torch.arange(1, count + 1)[:, None, None]  # (N, H, W)
    labels = torch.tensor([KINDS.index(solid.kind) for solid in here.world.solids[1:]])
    no = torch.zeros(count, dtype=torch.bool)
    return Objects(boxes_around(masks), labels, no, no, masks.flatten(1).sum(1).float(), masks)


def with_keypoints(here: View) -> Objects:
    """The solids with five points each: 2 where it is seen, 1 where something lies before it, 0 outside the picture."""
    found = objects(here)
    assert found.masks is not None
    points = torch.zeros(len(found.labels), len(POINTS), 3)
    for k, solid in enumerate(here.world.solids[1:]):
        places = keypoints(solid)
        xy = projected(places)
        inside = ((xy >= 0) & (xy < SIDE)).all(1)
        free = look(here.world, xy[:, 0], xy[:, 1]).depth > places[:, 2] - 1e-6  # nothing before it
        column, row = torch.from_numpy(np.floor(xy).astype(np.int64).clip(0, SIDE - 1)).unbind(1)
        shown = torch.from_numpy(free) & found.masks[k, row, column]  # its pixel is one of the mask, too
        there = torch.from_numpy(inside)
        points[k, :, :2] = torch.from_numpy(xy).float() * there[:, None]
        points[k, :, 2] = there * (1 + shown.float())
    return found._replace(masks=None, keypoints=points)


def edges(here: View) -> Tensor:
    """(1, H, W): 1 where one of the four neighbours is of another solid and farther away."""
    depth, which = torch.from_numpy(here.seen.depth).view(SIDE, SIDE), here.which
    edge = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for axis in (0, 1):
        (first, second), (depth_a, depth_b), (edge_a, edge_b) = (
            (x.narrow(axis, 0, SIDE - 1), x.narrow(axis, 1, SIDE - 1)) for x in (which, depth, edge)
        )
        edge_a |= (first != second) & (depth_a < depth_b)
        edge_b |= (first != second) & (depth_b < depth_a)
    return edge[None].float()


def pixel_classes(here: View) -> Tensor:
    """(H, W) int64: 0 for the plane, then the kinds of solids."""
    kinds = torch.tensor([0, *(1 + KINDS.index(solid.kind) for solid in here.world.solids[1:])])
    return kinds[here.which]


def flow_between(here: View, there: View) -> Tensor:
    """(2, H, W) pixels to the right and down, also of what is hidden in the second frame."""
    return _numbers(flow(here.seen, here.world, there.world))


_TRUTHS: dict[str, Callable[[View], Truth]] = {
    "masks": objects,
    "boxes": lambda here: objects(here)._replace(masks=None),
    "keypoints": with_keypoints,
    "pixels": pixel_classes,
    "depth": lambda here: _numbers(here.seen.depth[:, None]),
    "normals": lambda here: _numbers(here.seen.normal * [1, -1, -1]),
    "edges": edges,
    "reflectance": lambda here: _numbers(here.seen.reflectance),
}
