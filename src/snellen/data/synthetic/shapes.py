"""Synthetic dataset of solid shapes with exact classes, boxes, masks, keypoints, depth, normals, edges and flow.

Each sample is a function of (seed, number). `--target` selects the ground truth; the default is boxes with masks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.random import uniform
from snellen.core.spec import Boxes, Classes, Input, PixelClasses, PixelNumbers, Preprocessing, Target
from snellen.data.annotations import Annotation, Annotations, MapAnnotations, masks_to_boxes, object_annotations
from snellen.data.dataset import RawDataset
from snellen.data.source import apply_preprocessing
from snellen.geometry.ray_caster import (
    KINDS,
    SIDE,
    RayHits,
    Solid,
    SolidScene,
    cast_rays,
    flow,
    keypoints,
    project,
    rays,
)

COUNT = 300  # images
MAX_SOLIDS = 5  # solids per image
MIN_PIXELS = 30  # visible pixels of each solid
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
_DESCRIPTIONS = {
    "masks": "one to five solids in each, with boxes and masks",
    "boxes": "one to five solids in each, with boxes",
    "keypoints": "one to five solids in each, with boxes and five keypoints",
    "classes": "one solid in each",
    "pixels": "the class of every pixel",
    "depth": "the depth of every pixel",
    "normals": "the normal of every pixel: x right, y up, z towards the viewer",
    "edges": "the occlusion edges: pixels next to a more distant solid",
    "reflectance": "the reflectance of every pixel",
    "flow": "the optical flow from the first frame to the second, in pixels",
}


def shapes(seed: int, target: str = "masks") -> RawDataset:
    """300 images of 96x96 pixels of solid shapes in front of a plane, rendered by ray casting.

    Args:
        target: one of `TARGETS`.
    """
    source = ShapesSource(seed, target)
    truth = annotations = None
    if target == "classes":
        truth = torch.tensor([KINDS.index(world(seed, id, 1).world.solids[1].kind) for id in range(COUNT)])
    else:
        annotations = source.annotations()
    description = (
        f"the built-in dataset of solid shapes: {COUNT} images of {SIDE}x{SIDE} pixels, {_DESCRIPTIONS[target]}"
    )
    others = ", ".join(name for name in TARGETS if name != target)
    return RawDataset(
        source=source,
        inputs={"image": Input(modality="image", shape=(source.channels, SIDE, SIDE), dtype="uint8")},
        target=TARGETS[target],
        truth=truth,
        annotations=annotations,
        recognised_as=f"{description} (--target: {others})",
    )


class RenderedWorld(NamedTuple):
    """A world rendered at the pixel centres."""

    world: SolidScene
    hits: RayHits

    @property
    def image(self) -> Tensor:
        """(3, H, W) uint8."""
        shaded = torch.from_numpy(self.hits.shade(self.world.light)).float()
        return _reshape_map(shaded * 255).round().to(torch.uint8)

    @property
    def solid_index(self) -> Tensor:
        """(H, W) int64: 0 for the plane, k for the k-th solid."""
        return torch.from_numpy(self.hits.solid_index).view(SIDE, SIDE)


class ShapesSource:
    """Source of the images of one seed, rendered on first use."""

    def __init__(self, seed: int, target: str) -> None:
        self.seed = seed
        self.target = target
        self.max_solids = 1 if target == "classes" else MAX_SOLIDS
        self.channels = 6 if target == "flow" else 3
        self._cache: dict[int, tuple[Tensor, Annotation | None]] = {}

    def __len__(self) -> int:
        return COUNT

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return apply_preprocessing(torch.stack([self.render_sample(int(id))[0] for id in ids]), preprocessing)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return f"image {id}"

    def key(self) -> str | None:
        return None

    def render_sample(self, id: int) -> tuple[Tensor, Annotation | None]:
        """Render an image, (3, H, W) or two frames as (6, H, W), uint8, with its annotation."""
        if id not in self._cache:
            rendered = world(self.seed, id, self.max_solids)
            frames = [rendered]
            if self.target == "flow":
                frames.append(render(next_frame_world(rendered.world, self.seed, id)))
            make_annotation = _ANNOTATIONS.get(self.target)
            truth = (
                flow_between(*frames)
                if self.target == "flow"
                else make_annotation(rendered)
                if make_annotation is not None
                else None
            )
            self._cache[id] = torch.cat([frame.image for frame in frames]), truth
        return self._cache[id]

    def annotations(self) -> Annotations:
        if isinstance(TARGETS[self.target], Boxes):
            images = [truth for id in range(COUNT) if isinstance(truth := self.render_sample(id)[1], GroundTruth)]
            return object_annotations(images)
        return MapAnnotations(self._map, range(COUNT))

    def _map(self, id: int) -> Tensor:
        truth = self.render_sample(id)[1]
        assert isinstance(truth, Tensor)
        return truth


def render(world: SolidScene) -> RenderedWorld:
    """Render a world at the pixel centres."""
    centres = np.arange(SIDE) + 0.5
    y, x = (side.ravel() for side in np.meshgrid(centres, centres, indexing="ij"))
    return RenderedWorld(world, cast_rays(world, x, y))


def world(seed: int, id: int, max_solids: int = MAX_SOLIDS) -> RenderedWorld:
    """Sample a world: a plane and up to `max_solids` disjoint solids, each with at least 30 visible pixels."""
    u = uniform(torch.arange(MAX_SOLIDS + 1), 24, seed, "shapes", id).double().numpy()
    num_solids = 1 + int(u[0, 0] * max_solids)
    tilt, sideways = math.radians(20 + 35 * u[0, 1]), math.radians(50 * u[0, 2] - 25)
    plane = Solid(
        kind="plane",
        centre=np.array([0.0, 0.0, 6.2 + u[0, 3]]),
        size=1.0,
        rotation=_rotation_about(0, -tilt) @ _rotation_about(1, sideways),
        colours=0.5 + 0.4 * (_colours(u[0, 4:10]) - 0.5),
        waves=np.array([2 + 3 * u[0, 10], *(2 * math.pi * u[0, 11:13])]),
    )
    solids = [plane]
    for draws in u[1 : num_solids + 1]:
        solid = _solid(draws)
        is_apart = all(np.linalg.norm(solid.centre - other.centre) > solid.size + other.size for other in solids[1:])
        if is_apart and -plane.to_local(solid.centre[None])[0, 2] > 1.3 * solid.size:
            solids.append(solid)
    if len(solids) == 1:  # in front of any plane
        first = _solid(u[1])
        solids.append(dataclasses.replace(first, centre=first.centre * (3 / first.centre[2])))
    up, across = math.radians(25 + 50 * u[0, 13]), 2 * math.pi * u[0, 14]
    light = np.array([math.cos(up) * math.cos(across), -abs(math.cos(up) * math.sin(across)), -math.sin(up)])
    result = render(SolidScene(tuple(solids), light / np.linalg.norm(light)))
    while True:  # removing a solid never hides pixels of another
        pixels = np.bincount(result.hits.solid_index, minlength=len(result.world.solids))
        visible_solids = tuple(s for k, s in enumerate(result.world.solids) if k == 0 or pixels[k] >= MIN_PIXELS)
        if len(visible_solids) == len(result.world.solids):
            return result
        result = render(result.world._replace(solids=visible_solids))


def _solid(u: np.ndarray) -> Solid:
    depth = 3 + 2.4 * u[1]
    centre_xy = 12 + (SIDE - 24) * u[2:4]  # projection of the centre, pixels
    rotation = (
        _rotation_about(1, math.radians(70 * u[5] - 35))
        @ _rotation_about(0, math.radians(60 * u[6] - 30))
        @ _rotation_about(2, math.radians(60 * u[7] - 30))
    )
    return Solid(
        kind=KINDS[int(u[0] * len(KINDS))],
        centre=depth * rays(centre_xy[:1], centre_xy[1:])[0],
        size=0.35 + 0.35 * u[4],
        rotation=rotation,
        colours=_colours(u[8:14]),
        waves=np.array([3 + 3 * u[14], *(2 * math.pi * u[15:17])]),
    )


def next_frame_world(world: SolidScene, seed: int, id: int) -> SolidScene:
    """Scene of the second frame: every solid moves and rotates slightly, and the camera moves."""
    u = 2 * uniform(torch.arange(len(world.solids)), 6, seed, "shapes later", id).double().numpy() - 1
    camera_step = 0.06 * u[0, :3]
    solids = []
    for k, (solid, v) in enumerate(zip(world.solids, u, strict=True)):
        rotation = np.eye(3)
        if k:
            rotation = (
                _rotation_about(0, 0.12 * v[3]) @ _rotation_about(1, 0.12 * v[4]) @ _rotation_about(2, 0.12 * v[5])
            )
        centre = solid.centre + camera_step + (0.1 * v[:3] if k else 0)
        solids.append(dataclasses.replace(solid, centre=centre, rotation=rotation @ solid.rotation))
    return world._replace(solids=tuple(solids))


def _colours(u: np.ndarray) -> np.ndarray:
    return 0.15 + 0.8 * u.reshape(2, 3)


def _rotation_about(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about an axis, radians."""
    rotation = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotation[a, a] = rotation[b, b] = math.cos(angle)
    rotation[a, b], rotation[b, a] = -math.sin(angle), math.sin(angle)
    return rotation


def _reshape_map(values: Tensor) -> Tensor:
    """(H·W, T) to (T, H, W)."""
    return values.T.reshape(-1, SIDE, SIDE).contiguous()


def _to_map(values: np.ndarray) -> Tensor:
    return _reshape_map(torch.from_numpy(values).float())


def objects(rendered: RenderedWorld) -> GroundTruth:
    """Solids with visible masks and boxes around them."""
    count = len(rendered.world.solids) - 1
    masks = rendered.solid_index == torch.arange(1, count + 1)[:, None, None]  # (N, H, W)
    labels = torch.tensor([KINDS.index(solid.kind) for solid in rendered.world.solids[1:]])
    false = torch.zeros(count, dtype=torch.bool)
    return GroundTruth(masks_to_boxes(masks), labels, false, false, masks.flatten(1).sum(1).float(), masks)


def with_keypoints(rendered: RenderedWorld) -> GroundTruth:
    """Solids with five keypoints each: visibility 2 if visible, 1 if occluded, 0 outside the image."""
    ground_truth = objects(rendered)
    assert ground_truth.masks is not None
    points = torch.zeros(len(ground_truth.labels), len(POINTS), 3)
    for k, solid in enumerate(rendered.world.solids[1:]):
        points_3d = keypoints(solid)
        xy = project(points_3d)
        inside = ((xy >= 0) & (xy < SIDE)).all(1)
        unoccluded = cast_rays(rendered.world, xy[:, 0], xy[:, 1]).depth > points_3d[:, 2] - 1e-6  # nothing in front
        column, row = torch.from_numpy(np.floor(xy).astype(np.int64).clip(0, SIDE - 1)).unbind(1)
        visible = torch.from_numpy(unoccluded) & ground_truth.masks[k, row, column]  # and its pixel is in the mask
        in_image = torch.from_numpy(inside)
        points[k, :, :2] = torch.from_numpy(xy).float() * in_image[:, None]
        points[k, :, 2] = in_image * (1 + visible.float())
    return ground_truth._replace(masks=None, keypoints=points)


def edges(rendered: RenderedWorld) -> Tensor:
    """(1, H, W): 1 if one of the four neighbours belongs to another, more distant solid."""
    depth, solid_index = torch.from_numpy(rendered.hits.depth).view(SIDE, SIDE), rendered.solid_index
    edge = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for axis in (0, 1):
        (first, second), (depth_a, depth_b), (edge_a, edge_b) = (
            (x.narrow(axis, 0, SIDE - 1), x.narrow(axis, 1, SIDE - 1)) for x in (solid_index, depth, edge)
        )
        edge_a |= (first != second) & (depth_a < depth_b)
        edge_b |= (first != second) & (depth_b < depth_a)
    return edge[None].float()


def pixel_classes(rendered: RenderedWorld) -> Tensor:
    """(H, W) int64: 0 for the plane, then the class of the solid."""
    kinds = torch.tensor([0, *(1 + KINDS.index(solid.kind) for solid in rendered.world.solids[1:])])
    return kinds[rendered.solid_index]


def flow_between(first: RenderedWorld, second: RenderedWorld) -> Tensor:
    """Optical flow (2, H, W) in pixels to the right and down, also of points hidden in the second frame."""
    return _to_map(flow(first.hits, first.world, second.world))


_ANNOTATIONS: dict[str, Callable[[RenderedWorld], Annotation]] = {
    "masks": objects,
    "boxes": lambda rendered: objects(rendered)._replace(masks=None),
    "keypoints": with_keypoints,
    "pixels": pixel_classes,
    "depth": lambda rendered: _to_map(rendered.hits.depth[:, None]),
    "normals": lambda rendered: _to_map(rendered.hits.normal * [1, -1, -1]),
    "edges": edges,
    "reflectance": lambda rendered: _to_map(rendered.hits.reflectance),
}
