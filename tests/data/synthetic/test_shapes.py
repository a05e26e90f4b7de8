"""The built-in world of solids: every truth it tells is held against another way to it."""

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
from snellen.data.synthetic.shapes import COUNT, LEAST, TARGETS, Drawn, later, objects, view, with_keypoints, world
from snellen.geometry.ray_caster import KINDS, SIDE, Solid, World, axes, flow, keypoints, look, projected, rays

IDS = range(12)


def places(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).uniform(0, SIDE, (2, count))
    return x, y


def holds(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Whether points lie in a solid, told by what a solid is and not by where a ray meets it."""
    x, y, z = ((points - solid.centre) @ solid.turn / solid.size).T
    across = np.hypot(x, z)
    return {
        "plane": lambda: z > 0,
        "sphere": lambda: x**2 + y**2 + z**2 < 1,
        "cube": lambda: np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 0.8,
        "cylinder": lambda: (across < 0.7) & (abs(y) < 0.9),
        "cone": lambda: (across < 0.45 * (y + 1)) & (abs(y) < 1),
    }[solid.kind]()


@pytest.mark.parametrize("id", IDS)
def test_depth_is_where_walking_along_the_ray_first_enters_a_solid(id):
    here = world(0, id).world
    x, y = places(id)
    seen = look(here, x, y)
    along = rays(x, y)
    before, behind = seen.depth - 1e-6, seen.depth + 1e-6
    met = np.array(
        [holds(here.solids[k], (d * ray)[None])[0] for k, d, ray in zip(seen.which, behind, along, strict=True)]
    )
    graze = ~met  # a ray that only touches an edge
    assert graze.mean() < 0.01
    for share in np.linspace(0, 1, 400):
        points = (before * share)[:, None] * along
        for solid in here.solids:
            assert not holds(solid, points).any()


def test_every_kind_of_solid_is_met_from_every_side():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for _ in range(6):
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            turn *= np.sign(np.linalg.det(turn))
            solid = Solid(
                kind=kind,
                centre=np.array([0.1, -0.2, 4.0]),
                size=0.8,
                turn=turn,
                colours=np.zeros((2, 3)),
                waves=np.ones(3),
            )
            x, y = places(1, 100)
            depth, _ = solid.met(rays(x, y))
            steps = np.linspace(2.5, 5.5, 1501)
            walked = np.stack([holds(solid, t * rays(x, y)) for t in steps])
            entered = np.where(walked.any(0), steps[walked.argmax(0)], np.inf)
            both = np.isfinite(depth) & np.isfinite(entered)
            assert np.abs(depth[both] - entered[both]).max() <= 4e-3
            # One of the two misses only where the ray grazes: less than a step of the way lies inside.
            assert (np.isfinite(depth) == np.isfinite(entered)).mean() > 0.95
            assert not (np.isfinite(entered) & ~np.isfinite(depth)).any()


@pytest.mark.parametrize("id", IDS)
def test_normals_are_the_finite_differences_of_depth(id):
    here = world(0, id).world
    x, y = places(id)
    e = 1e-4
    seen = look(here, x, y)
    sides = [look(here, x + dx, y + dy) for dx, dy in ((e, 0), (-e, 0), (0, e), (0, -e))]
    smooth = np.all([(s.which == seen.which) & (np.abs(s.normal - seen.normal).max(1) < 1e-3) for s in sides], 0)
    assert smooth.mean() > 0.97
    right, left, below, above = (s.points for s in sides)
    crossed = np.cross(right - left, below - above)
    crossed /= -np.linalg.norm(crossed, axis=1, keepdims=True)  # towards the viewer
    assert np.abs(crossed - seen.normal)[smooth].max() < 1e-5
    assert np.abs(np.linalg.norm(seen.normal, axis=1) - 1).max() < 1e-12
    assert ((seen.normal * rays(x, y)).sum(1) < 1e-9).all()  # what is seen faces the viewer


@pytest.mark.parametrize("id", IDS)
def test_flow_brings_the_second_frame_onto_the_first(id):
    here = world(0, id).world
    there = later(here, 0, id)
    x, y = places(id)
    seen = look(here, x, y)
    moved = flow(seen, here, there)
    found = look(there, x + moved[:, 0], y + moved[:, 1])
    solids = [
        there.solids[k].outside(here.solids[k].inside(p[None]))[0] for k, p in zip(seen.which, seen.points, strict=True)
    ]
    uncovered = (found.which == seen.which) & (np.abs(found.depth - np.stack(solids)[:, 2]) < 1e-6)
    assert uncovered.mean() > 0.85
    assert np.abs(found.reflectance - seen.reflectance)[uncovered].max() < 1e-6
    assert np.abs(moved).max() > 0.5


def test_flow_as_it_is_told_warps_the_second_frame_onto_the_first():
    data = dataset("shapes", options=OpenOptions(target=("flow",)))
    for id in IDS:
        first, second = data.picture(id).double().view(2, 3, SIDE, SIDE)
        u, v = data.annotations.of(id).double()
        centre = torch.arange(SIDE, dtype=torch.float64) + 0.5
        error = {}
        for sign in (1, 0, -1):
            grid = torch.stack([centre + sign * u, centre[:, None] + sign * v], -1)[None] * 2 / SIDE - 1
            warped = torch.nn.functional.grid_sample(second[None], grid, align_corners=False)[0]
            inside = (grid.abs() < 1).all(-1)[0]
            error[sign] = float((warped - first)[:, inside].abs().mean())
        assert error[1] < error[0] < error[-1]


@pytest.mark.parametrize("id", IDS)
def test_boxes_are_tight_around_masks_and_masks_are_what_is_seen(id):
    here = world(0, id)
    held = objects(here)
    for k, (box, mask) in enumerate(zip(held.boxes.tolist(), held.masks.numpy(), strict=True)):
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert mask.sum() == held.areas[k] >= LEAST
        y, x = rows[:50] + 0.5, columns[:50] + 0.5
        assert (look(here.world, x, y).which == k + 1).all()
    assert not (held.masks.sum(0) > 1).any()


@pytest.mark.parametrize("id", IDS)
def test_visible_keypoints_lie_in_their_mask_and_hidden_ones_behind_something(id):
    here = world(0, id)
    held, masks = with_keypoints(here), objects(here).masks
    for k, points in enumerate(held.keypoints):
        solid = here.world.solids[k + 1]
        in_space = keypoints(solid)
        inward = 1e-6 * (solid.centre - in_space)
        assert holds(solid, in_space + inward).all()
        assert not holds(solid, in_space - inward).any()
        for (x, y, there), place in zip(points.tolist(), in_space, strict=True):
            if there == 0:
                assert (x, y) == (0, 0)
                continue
            assert np.allclose([x, y], projected(place[None])[0], atol=1e-4)
            if there == 2:
                assert masks[k, int(y), int(x)]
            else:
                seen = look(here.world, *projected(place[None]).T)
                nearer = seen.depth[0] < place[2] - 1e-7
                assert nearer or not masks[k, int(y), int(x)]


def turned(angle: float, axis: int) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis] = angle
    return Rotation.from_rotvec(vector).as_matrix()


OWN = {
    "sphere": [Rotation.random(random_state=seed).as_matrix() for seed in range(20)],
    "cube": list(Rotation.create_group("O").as_matrix()),
    "cylinder": [turned(k, 1) @ turned(flip, 0) for k in np.linspace(-3, 3, 41) for flip in (0, np.pi)],
    "cone": [turned(k, 1) for k in np.linspace(-3, 3, 41)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_do_not_depend_on_a_turn_that_cannot_be_seen(kind):
    for seed in range(20):
        turn = Rotation.random(random_state=seed).as_matrix()
        solid = Solid(
            kind=kind, centre=np.array([0.2, 0.1, 4]), size=0.5, turn=turn, colours=np.zeros((2, 3)), waves=np.zeros(3)
        )
        seen = keypoints(solid)
        for own in OWN[kind]:
            assert np.allclose(keypoints(dataclasses.replace(solid, turn=turn @ own)), seen, atol=1e-9)
            assert np.trace(turn @ own) <= np.trace(axes(solid)) + 1e-9  # and no other is nearer to the viewer's
        assert np.allclose(np.linalg.det(axes(solid)), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_mirror_left_and_right_keypoints_change_places(kind):
    mirror = np.diag([-1.0, 1, 1])
    for seed in range(10):
        turn = Rotation.random(random_state=seed).as_matrix()
        solid = Solid(
            kind=kind, centre=np.array([0.2, 0.1, 4]), size=0.5, turn=turn, colours=np.zeros((2, 3)), waves=np.zeros(3)
        )
        mirrored = dataclasses.replace(solid, centre=mirror @ solid.centre, turn=mirror @ turn @ mirror)
        assert np.allclose(keypoints(mirrored), (keypoints(solid) @ mirror)[[0, 1, 3, 2, 4]], atol=1e-9)


@pytest.mark.parametrize("id", range(3))
def test_edges_are_pixels_beside_something_farther(id):
    here = world(0, id)
    which, depth = here.which.numpy(), here.seen.depth.reshape(SIDE, SIDE)
    told = Drawn(0, "edges").drawn(id)[1][0].numpy()
    for row in range(SIDE):
        for column in range(SIDE):
            around = [
                (row + dy, column + dx)
                for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
                if 0 <= row + dy < SIDE and 0 <= column + dx < SIDE
            ]
            edge = any(which[p] != which[row, column] and depth[p] > depth[row, column] for p in around)
            assert told[row, column] == edge


@pytest.mark.parametrize("id", range(3))
def test_the_picture_is_reflectance_times_light(id):
    light = world(0, id).world.light
    image = Drawn(0, "reflectance").drawn(id)[0].double() / 255
    reflectance, normals = Drawn(0, "reflectance").drawn(id)[1].double(), Drawn(0, "normals").drawn(id)[1].double()
    cosine = (normals * torch.tensor(light * [1, -1, -1])[:, None, None]).sum(0).clamp(min=0)
    assert float((reflectance * (0.35 + 0.65 * cosine) - image).abs().max()) < 0.5 / 255 + 1e-5
    assert float(image.amax()) <= 1


def test_the_same_seed_draws_the_same_bits_in_any_order():
    first, second, other = Drawn(3, "flow"), Drawn(3, "flow"), Drawn(4, "flow")
    there = {id: first.drawn(id) for id in range(5)}
    for id in reversed(range(5)):
        again = second.drawn(id)
        assert torch.equal(again[0], there[id][0])
        assert torch.equal(again[1], there[id][1])
        assert not torch.equal(other.drawn(id)[0], there[id][0])


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_is_asked_for_by_its_word(target):
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


def test_plain_shapes_are_boxes_with_masks_and_unknown_targets_are_named():
    assert dataset("shapes").spec.target.masks
    with pytest.raises(UsageError, match="no target 'dept'"):
        dataset("shapes", options=OpenOptions(target=("dept",)))
    with pytest.raises(UsageError, match="one target"):
        dataset("xor", options=OpenOptions(target=("depth",)))


def test_one_solid_in_each_picture_where_its_kind_is_asked():
    data = dataset("shapes", options=OpenOptions(target=("classes",)))
    assert isinstance(data.spec.target, Classes)
    for id in range(20):
        solids = world(0, id, 1).world.solids[1:]
        assert [KINDS.index(solid.kind) for solid in solids] == [int(data.truth[id])]


def test_solids_do_not_reach_into_each_other():
    for id in range(40):
        solids = world(0, id).world.solids
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 3), -1).reshape(-1, 3)
        for k, solid in enumerate(solids[1:], 1):
            points = solid.outside(grid)
            inside = points[holds(solid, points)]
            assert not any(holds(other, inside).any() for j, other in enumerate(solids) if j != k)


def test_a_view_is_of_the_centres_of_pixels():
    here: World = world(0, 1).world
    seen = look(here, np.array([10.5]), np.array([20.5]))
    assert view(here).seen.depth.reshape(SIDE, SIDE)[20, 10] == seen.depth[0]


@pytest.mark.parametrize("target", ["depth", "normals", "edges", "reflectance", "flow"])
def test_every_pixel_has_a_truth(target):
    drawn = Drawn(1, target)
    for id in range(40):
        assert bool(drawn.drawn(id)[1].isfinite().all())
