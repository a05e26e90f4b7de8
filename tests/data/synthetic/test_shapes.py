"""Synthetic shapes: every kind of ground truth is checked against an independent computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from snellen.core.errors import UsageError
from snellen.core.spec import Boxes, Classes, PixelClasses, PixelNumbers
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.synthetic.shapes import (
    COUNT,
    MIN_PIXELS,
    TARGETS,
    ShapesSource,
    next_frame_world,
    objects,
    render,
    with_keypoints,
    world,
)
from snellen.geometry.ray_caster import KINDS, SIDE, Solid, SolidScene, axes, cast_rays, flow, keypoints, project, rays

IDS = range(12)


def places(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).uniform(0, SIDE, (2, count))
    return x, y


def contains(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Whether points are inside a solid, by its definition instead of ray intersections."""
    x, y, z = ((points - solid.centre) @ solid.rotation / solid.size).T
    across = np.hypot(x, z)
    return {
        "plane": lambda: z > 0,
        "sphere": lambda: x**2 + y**2 + z**2 < 1,
        "cube": lambda: np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 0.8,
        "cylinder": lambda: (across < 0.7) & (abs(y) < 0.9),
        "cone": lambda: (across < 0.45 * (y + 1)) & (abs(y) < 1),
    }[solid.kind]()


@pytest.mark.parametrize("id", IDS)
def test_depth_is_the_first_entry_into_a_solid_along_the_ray(id):
    here = world(0, id).world
    x, y = places(id)
    hits = cast_rays(here, x, y)
    directions = rays(x, y)
    before, behind = hits.depth - 1e-6, hits.depth + 1e-6
    inside_solid = np.array(
        [
            contains(here.solids[k], (d * ray)[None])[0]
            for k, d, ray in zip(hits.solid_index, behind, directions, strict=True)
        ]
    )
    graze = ~inside_solid  # a ray that only touches an edge
    assert graze.mean() < 0.01
    for fraction in np.linspace(0, 1, 400):
        points = (before * fraction)[:, None] * directions
        for solid in here.solids:
            assert not contains(solid, points).any()


def test_every_kind_of_solid_is_intersected_from_every_side():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for _ in range(6):
            rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            rotation *= np.sign(np.linalg.det(rotation))
            solid = Solid(
                kind=kind,
                centre=np.array([0.1, -0.2, 4.0]),
                size=0.8,
                rotation=rotation,
                colours=np.zeros((2, 3)),
                waves=np.ones(3),
            )
            x, y = places(1, 100)
            depth, _ = solid.intersect(rays(x, y))
            steps = np.linspace(2.5, 5.5, 1501)
            inside_at_step = np.stack([contains(solid, t * rays(x, y)) for t in steps])
            entered = np.where(inside_at_step.any(0), steps[inside_at_step.argmax(0)], np.inf)
            both = np.isfinite(depth) & np.isfinite(entered)
            assert np.abs(depth[both] - entered[both]).max() <= 4e-3
            # The two differ only for grazing rays, with less than a step inside.
            assert (np.isfinite(depth) == np.isfinite(entered)).mean() > 0.95
            assert not (np.isfinite(entered) & ~np.isfinite(depth)).any()


@pytest.mark.parametrize("id", IDS)
def test_normals_are_the_finite_differences_of_depth(id):
    here = world(0, id).world
    x, y = places(id)
    e = 1e-4
    hits = cast_rays(here, x, y)
    sides = [cast_rays(here, x + dx, y + dy) for dx, dy in ((e, 0), (-e, 0), (0, e), (0, -e))]
    smooth = np.all(
        [(s.solid_index == hits.solid_index) & (np.abs(s.normal - hits.normal).max(1) < 1e-3) for s in sides], 0
    )
    assert smooth.mean() > 0.97
    right, left, below, above = (s.points for s in sides)
    crossed = np.cross(right - left, below - above)
    crossed /= -np.linalg.norm(crossed, axis=1, keepdims=True)  # towards the camera
    assert np.abs(crossed - hits.normal)[smooth].max() < 1e-5
    assert np.abs(np.linalg.norm(hits.normal, axis=1) - 1).max() < 1e-12
    assert ((hits.normal * rays(x, y)).sum(1) < 1e-9).all()  # visible surfaces face the camera


@pytest.mark.parametrize("id", IDS)
def test_flow_maps_points_to_the_second_frame(id):
    here = world(0, id).world
    there = next_frame_world(here, 0, id)
    x, y = places(id)
    hits = cast_rays(here, x, y)
    moved = flow(hits, here, there)
    second_hits = cast_rays(there, x + moved[:, 0], y + moved[:, 1])
    solids = [
        there.solids[k].to_world(here.solids[k].to_local(p[None]))[0]
        for k, p in zip(hits.solid_index, hits.points, strict=True)
    ]
    uncovered = (second_hits.solid_index == hits.solid_index) & (
        np.abs(second_hits.depth - np.stack(solids)[:, 2]) < 1e-6
    )
    assert uncovered.mean() > 0.85
    assert np.abs(second_hits.reflectance - hits.reflectance)[uncovered].max() < 1e-6
    assert np.abs(moved).max() > 0.5


def test_flow_annotation_warps_the_second_frame_onto_the_first():
    data = dataset("shapes", options=OpenOptions(target=("flow",)))
    for id in IDS:
        first, second = data.image(id).double().view(2, 3, SIDE, SIDE)
        u, v = data.annotations.load(id).double()
        centre = torch.arange(SIDE, dtype=torch.float64) + 0.5
        error = {}
        for sign in (1, 0, -1):
            grid = torch.stack([centre + sign * u, centre[:, None] + sign * v], -1)[None] * 2 / SIDE - 1
            warped = torch.nn.functional.grid_sample(second[None], grid, align_corners=False)[0]
            inside = (grid.abs() < 1).all(-1)[0]
            error[sign] = float((warped - first)[:, inside].abs().mean())
        assert error[1] < error[0] < error[-1]


@pytest.mark.parametrize("id", IDS)
def test_boxes_are_tight_around_masks_and_masks_are_visible_pixels(id):
    here = world(0, id)
    ground_truth = objects(here)
    for k, (box, mask) in enumerate(zip(ground_truth.boxes.tolist(), ground_truth.masks.numpy(), strict=True)):
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert mask.sum() == ground_truth.areas[k] >= MIN_PIXELS
        y, x = rows[:50] + 0.5, columns[:50] + 0.5
        assert (cast_rays(here.world, x, y).solid_index == k + 1).all()
    assert not (ground_truth.masks.sum(0) > 1).any()


@pytest.mark.parametrize("id", IDS)
def test_visible_keypoints_are_in_their_mask_and_hidden_ones_are_occluded(id):
    here = world(0, id)
    ground_truth, masks = with_keypoints(here), objects(here).masks
    for k, points in enumerate(ground_truth.keypoints):
        solid = here.world.solids[k + 1]
        in_space = keypoints(solid)
        inward = 1e-6 * (solid.centre - in_space)
        assert contains(solid, in_space + inward).all()
        assert not contains(solid, in_space - inward).any()
        for (x, y, there), place in zip(points.tolist(), in_space, strict=True):
            if there == 0:
                assert (x, y) == (0, 0)
                continue
            assert np.allclose([x, y], project(place[None])[0], atol=1e-4)
            if there == 2:
                assert masks[k, int(y), int(x)]
            else:
                hits = cast_rays(here.world, *project(place[None]).T)
                nearer = hits.depth[0] < place[2] - 1e-7
                assert nearer or not masks[k, int(y), int(x)]


def rotation_about(angle: float, axis: int) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis] = angle
    return Rotation.from_rotvec(vector).as_matrix()


SYMMETRIES = {
    "sphere": [Rotation.random(random_state=seed).as_matrix() for seed in range(20)],
    "cube": list(Rotation.create_group("O").as_matrix()),
    "cylinder": [rotation_about(k, 1) @ rotation_about(flip, 0) for k in np.linspace(-3, 3, 41) for flip in (0, np.pi)],
    "cone": [rotation_about(k, 1) for k in np.linspace(-3, 3, 41)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_are_invariant_to_symmetries(kind):
    for seed in range(20):
        rotation = Rotation.random(random_state=seed).as_matrix()
        solid = Solid(
            kind=kind,
            centre=np.array([0.2, 0.1, 4]),
            size=0.5,
            rotation=rotation,
            colours=np.zeros((2, 3)),
            waves=np.zeros(3),
        )
        expected = keypoints(solid)
        for symmetry in SYMMETRIES[kind]:
            assert np.allclose(keypoints(dataclasses.replace(solid, rotation=rotation @ symmetry)), expected, atol=1e-9)
            assert (
                np.trace(rotation @ symmetry) <= np.trace(axes(solid)) + 1e-9
            )  # and no other is nearer to the camera's axes
        assert np.allclose(np.linalg.det(axes(solid)), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_left_and_right_keypoints_swap_in_a_reflection(kind):
    mirror = np.diag([-1.0, 1, 1])
    for seed in range(10):
        rotation = Rotation.random(random_state=seed).as_matrix()
        solid = Solid(
            kind=kind,
            centre=np.array([0.2, 0.1, 4]),
            size=0.5,
            rotation=rotation,
            colours=np.zeros((2, 3)),
            waves=np.zeros(3),
        )
        mirrored = dataclasses.replace(solid, centre=mirror @ solid.centre, rotation=mirror @ rotation @ mirror)
        assert np.allclose(keypoints(mirrored), (keypoints(solid) @ mirror)[[0, 1, 3, 2, 4]], atol=1e-9)


@pytest.mark.parametrize("id", range(3))
def test_edges_are_pixels_next_to_a_more_distant_solid(id):
    here = world(0, id)
    solid_index, depth = here.solid_index.numpy(), here.hits.depth.reshape(SIDE, SIDE)
    edge_map = ShapesSource(0, "edges").render_sample(id)[1][0].numpy()
    for row in range(SIDE):
        for column in range(SIDE):
            around = [
                (row + dy, column + dx)
                for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
                if 0 <= row + dy < SIDE and 0 <= column + dx < SIDE
            ]
            edge = any(solid_index[p] != solid_index[row, column] and depth[p] > depth[row, column] for p in around)
            assert edge_map[row, column] == edge


@pytest.mark.parametrize("id", range(3))
def test_the_image_is_reflectance_times_shading(id):
    light = world(0, id).world.light
    image = ShapesSource(0, "reflectance").render_sample(id)[0].double() / 255
    reflectance, normals = (
        ShapesSource(0, "reflectance").render_sample(id)[1].double(),
        ShapesSource(0, "normals").render_sample(id)[1].double(),
    )
    cosine = (normals * torch.tensor(light * [1, -1, -1])[:, None, None]).sum(0).clamp(min=0)
    assert float((reflectance * (0.35 + 0.65 * cosine) - image).abs().max()) < 0.5 / 255 + 1e-5
    assert float(image.amax()) <= 1


def test_a_seed_renders_identical_images_in_any_order():
    first, second, other = ShapesSource(3, "flow"), ShapesSource(3, "flow"), ShapesSource(4, "flow")
    there = {id: first.render_sample(id) for id in range(5)}
    for id in reversed(range(5)):
        again = second.render_sample(id)
        assert torch.equal(again[0], there[id][0])
        assert torch.equal(again[1], there[id][1])
        assert not torch.equal(other.render_sample(id)[0], there[id][0])


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_is_selected_by_its_name(target):
    data = dataset("shapes", options=OpenOptions(target=(target,)))
    assert type(data.spec.target) is type(TARGETS[target])
    assert data.spec.target.names == TARGETS[target].names
    assert len(data) == COUNT
    if target != "classes":
        scene = data.scenes("val").at(0)
        assert scene.image.shape == (6 if target == "flow" else 3, SIDE, SIDE)
        if isinstance(data.spec.target, PixelNumbers):
            assert scene.truth.shape == (len(data.spec.target.names), SIDE, SIDE)
            assert scene.truth.dtype == torch.float32
        elif isinstance(data.spec.target, PixelClasses):
            assert scene.truth.dtype == torch.int64
            assert sum(data.spec.target.counts) == 210 * SIDE * SIDE
        elif isinstance(data.spec.target, Boxes):
            assert (scene.truth.masks is not None) == data.spec.target.masks
            assert (scene.truth.keypoints is not None) == bool(data.spec.target.keypoints)


def test_the_default_is_boxes_with_masks_and_unknown_targets_are_errors():
    assert dataset("shapes").spec.target.masks
    with pytest.raises(UsageError, match="no target 'dept'"):
        dataset("shapes", options=OpenOptions(target=("dept",)))
    with pytest.raises(UsageError, match="one target"):
        dataset("xor", options=OpenOptions(target=("depth",)))


def test_classes_have_one_solid_per_image():
    data = dataset("shapes", options=OpenOptions(target=("classes",)))
    assert isinstance(data.spec.target, Classes)
    for id in range(20):
        solids = world(0, id, 1).world.solids[1:]
        assert [KINDS.index(solid.kind) for solid in solids] == [int(data.truth[id])]


def test_solids_are_disjoint():
    for id in range(40):
        solids = world(0, id).world.solids
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 3), -1).reshape(-1, 3)
        for k, solid in enumerate(solids[1:], 1):
            points = solid.to_world(grid)
            inside = points[contains(solid, points)]
            assert not any(contains(other, inside).any() for j, other in enumerate(solids) if j != k)


def test_rendering_samples_pixel_centres():
    here: SolidScene = world(0, 1).world
    hits = cast_rays(here, np.array([10.5]), np.array([20.5]))
    assert render(here).hits.depth.reshape(SIDE, SIDE)[20, 10] == hits.depth[0]


@pytest.mark.parametrize("target", ["depth", "normals", "edges", "reflectance", "flow"])
def test_every_pixel_has_a_value(target):
    source = ShapesSource(1, target)
    for id in range(40):
        assert bool(source.render_sample(id)[1].isfinite().all())
