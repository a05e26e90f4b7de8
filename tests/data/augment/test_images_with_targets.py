"""A picture and all that is told of places in it move together."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as v2
from torchvision.tv_tensors import BoundingBoxes

from snellen.core.detections import Objects
from snellen.core.spec import Boxes, PixelClasses, PixelNumbers
from snellen.data.annotations import boxes_around
from snellen.data.augment.dihedral import ORIENTATIONS, turned, turned_truth
from snellen.data.augment.images_with_targets import SceneAugment, Window, varied
from snellen.data.scenes import Scene, SceneBatches
from snellen.data.synthetic.shapes import SIDE, TARGETS, Drawn

KINDS = Boxes(names=("a",), masks=True, keypoints=("left", "middle", "right"), mirrored=((0, 2),))
STILL = SceneAugment(hflip=False)
HOWS = st.builds(
    SceneAugment,
    hflip=st.booleans(),
    rot90=st.booleans(),
    zoom=st.sampled_from([0.0, 0.3, 0.6]),
    random_crop=st.sampled_from([0.0, 0.4]),
)
TILES = st.sampled_from([None, (12, 20), (40, 24)])


@st.composite
def scenes(draw):
    """A picture whose three channels tell each pixel's column, row and object, with these objects."""
    height, width = draw(st.integers(8, 30)), draw(st.integers(8, 30))
    masks = []
    which = torch.zeros(height, width)
    for k in range(draw(st.integers(0, 3))):
        top, left = draw(st.integers(0, height - 3)), draw(st.integers(0, width - 3))
        bottom, right = draw(st.integers(top + 2, height)), draw(st.integers(left + 2, width))
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[top:bottom, left:right] = True
        mask[top, left] = draw(st.booleans())
        masks.append(mask)
        which[mask] = k + 1
    held = torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.bool)
    boxes = boxes_around(held)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = torch.stack([boxes[:, :2] + 0.5, middle, boxes[:, 2:] - 0.5], 1)  # (N, 3, 2)
    points = torch.cat([points, torch.full((*points.shape[:2], 1), 2.0)], -1)
    no = torch.zeros(len(held), dtype=torch.bool)
    truth = Objects(
        boxes, torch.zeros(len(held), dtype=torch.int64), no, no, held.flatten(1).sum(1).float(), held, points
    )
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return Scene(torch.stack([x, y, which]), truth, draw(st.integers(0, 1000)))


@settings(max_examples=60, deadline=None)
@given(scenes(), HOWS, TILES, st.integers(0, 50))
def test_a_box_around_a_mask_stays_around_it(scene, how, tile, epoch):
    seen = varied(scene, epoch, how, 0, KINDS, tile)
    held = seen.truth
    assert held.masks.shape == (len(held.boxes), *seen.image.shape[-2:])
    if tile is not None:
        assert tuple(seen.image.shape[-2:]) == tile
    assert torch.equal(held.boxes, boxes_around(held.masks))
    assert torch.equal(held.areas, held.masks.flatten(1).sum(1).float())
    assert bool((held.areas > 0).all())


@settings(max_examples=60, deadline=None)
@given(scenes(), HOWS, TILES, st.integers(0, 50))
def test_keypoints_stay_on_their_pixel(scene, how, tile, epoch):
    how = dataclasses.replace(how, zoom=0.0)  # so that every pixel keeps its value, which says where it was
    seen = varied(scene, epoch, how, 0, KINDS, tile)
    before = {tuple(point[:2].tolist()) for point in scene.truth.keypoints.flatten(0, 1)}
    for x, y, there in seen.truth.keypoints.flatten(0, 1).tolist():
        if there == 0:
            assert (x, y) == (0, 0)
        elif x % 1 == 0.5 and y % 1 == 0.5:  # at the centre of a pixel
            assert tuple(seen.image[:2, int(y), int(x)].tolist()) in before
    assert seen.truth.keypoints.shape == (len(seen.truth.boxes), 3, 3)


@settings(max_examples=30, deadline=None)
@given(scenes())
def test_mirroring_twice_is_the_identity(scene):
    width, height = scene.image.shape[2], scene.image.shape[1]
    for orientation, (mirror, quarters) in ORIENTATIONS.items():
        image = turned(scene.image, mirror, quarters)
        truth = turned_truth(scene.truth, KINDS, width, height, mirror, quarters)
        back = -quarters % 4 if not mirror else quarters  # a mirror with a turn is its own way back
        again = turned(image, mirror, back)
        once = turned_truth(truth, KINDS, image.shape[2], image.shape[1], mirror, back)
        assert torch.equal(again, scene.image), orientation
        for a, b in zip(once, scene.truth, strict=True):
            assert torch.equal(a, b), orientation


@pytest.mark.parametrize("target", ["flow", "normals"])
@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
def test_vectors_turn_as_the_places_they_point_to(target, orientation):
    """A vector from a place is what leads from where the place lies afterwards to where its tip lies."""
    mirror, quarters = ORIENTATIONS[orientation]
    truth = torch.randn(2 if target == "flow" else 3, 6, 9, generator=torch.Generator().manual_seed(0))
    sign = torch.tensor([1.0, 1.0 if target == "flow" else -1.0])
    moved = turned_truth(truth, TARGETS[target], 9, 6, mirror, quarters)
    ids = turned(torch.arange(54).view(6, 9), mirror, quarters)
    no = torch.zeros(54, dtype=torch.bool)
    start = torch.stack([torch.arange(54) % 9 + 0.5, torch.arange(54) // 9 + 0.5], -1)
    tip = start + truth[:2].flatten(1).T * sign
    points = torch.cat([torch.stack([start, tip], 1), torch.ones(54, 2, 1)], -1)
    held = Objects(torch.zeros(54, 4), no.long(), no, no, torch.zeros(54), None, points)
    after = turned_truth(held, Boxes(names=("a",)), 9, 6, mirror, quarters).keypoints[..., :2]
    led = (after[:, 1] - after[:, 0]) * sign  # (54, 2)
    assert torch.allclose(moved[:2].flatten(1).T, led[ids.flatten()], atol=1e-5)
    assert torch.equal(moved[2:], turned(truth[2:], mirror, quarters))


@pytest.mark.parametrize(
    "how",
    [
        SceneAugment(),
        SceneAugment(rot90=True),
        SceneAugment(zoom=0.4, rot90=True),
        SceneAugment(random_crop=0.4, zoom=0.3),
    ],
)
def test_flow_still_brings_one_frame_onto_the_other(how):
    """Flow is checked on the pictures themselves: warped by it, and not against it, the second frame is the first."""
    drawn, target = Drawn(0, "flow"), TARGETS["flow"]
    for id in range(6):
        scene = varied(Scene(*drawn.drawn(id), id), 1, how, 0, target)
        first, second = scene.image.double().view(2, 3, *scene.image.shape[1:])
        height, width = first.shape[1:]
        error = {}
        for sign in (1, -1):
            u, v = sign * scene.truth.double()
            x, y = torch.arange(width) + 0.5 + u, (torch.arange(height) + 0.5)[:, None] + v
            grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
            inside = (grid.abs() < 1).all(-1)  # never where there is no truth
            warped = torch.nn.functional.grid_sample(second[None], grid.nan_to_num()[None], align_corners=False)[0]
            error[sign] = float((warped - first)[:, inside].abs().mean())
        assert error[1] < error[-1]


def test_normals_still_are_the_slope_of_depth():
    """On the plane of the world depth and normal go together: n · ray is the same, up to the distance, everywhere."""
    for id in range(8):
        depth, normals = (Drawn(0, kind).drawn(id)[1] for kind in ("depth", "normals"))
        image = Drawn(0, "depth").drawn(id)[0]
        how = SceneAugment(rot90=True)
        one, other = (
            varied(Scene(image, truth, id), 2, how, 0, TARGETS[kind]).truth.double()
            for kind, truth in (("depth", depth), ("normals", normals))
        )
        centre = (torch.arange(SIDE, dtype=torch.float64) + 0.5 - SIDE / 2) / 120
        ray = torch.stack([centre.expand(SIDE, -1), -centre[:, None].expand(-1, SIDE), -torch.ones(SIDE, SIDE)])
        plane = (other * ray).sum(0) * one[0]  # the distance of the surface's tangent plane
        flat = (other[:, 2:, 1:-1] == other[:, 1:-1, 1:-1]).all(0) & (other[:, 1:-1, 2:] == other[:, 1:-1, 1:-1]).all(0)
        here = plane[1:-1, 1:-1]
        assert float((plane[2:, 1:-1] - here)[flat].abs().median()) < 1e-5  # but where one flat thing hides another
        assert float((plane[1:-1, 2:] - here)[flat].abs().median()) < 1e-5


def test_maps_follow_the_picture_and_have_no_truth_beyond_it():
    y, x = torch.meshgrid(torch.arange(10), torch.arange(8), indexing="ij")
    image = (8 * y + x + 1).to(torch.uint8)[None]
    for epoch in range(20):
        for target, truth, none in (
            (PixelClasses(names=("a", "b")), image[0].long(), -1),
            (PixelNumbers(kind="depth", names=("d",)), image.float(), math.nan),
        ):
            seen = varied(Scene(image, truth, 3), epoch, SceneAugment(rot90=True), 0, target, (13, 12))
            told = seen.truth if isinstance(target, PixelClasses) else seen.truth[0]
            there = seen.image[0] > 0
            assert int(there.sum()) == 80
            assert torch.equal(told[there].long(), seen.image[0][there].long())
            assert bool((told[~there] == none).all()) or bool(told[~there].isnan().all())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-3, 6),
    st.integers(-3, 6),
    st.integers(4, 12),
    st.integers(4, 12),
    st.integers(3, 20),
    st.integers(3, 20),
)
def test_a_window_is_what_torchvision_cuts_and_resizes(top, left, height, width, to_height, to_width):
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 10, 11), generator=draw, dtype=torch.uint8)
    window = Window(top, left, height, width, to_height, to_width)
    cut = v2.crop_image(image, top, left, height, width)
    expected = v2.resize_image(cut.float(), [to_height, to_width], antialias=True).round().to(torch.uint8)
    assert torch.equal(window.of_picture(image), expected)
    boxes = torch.tensor([[1.0, 2.0, 6.0, 9.0], [0.0, 0.0, 11.0, 10.0], [8.0, 8.0, 9.0, 9.5]])
    no = torch.zeros(3, dtype=torch.bool)
    held = window.of_truth(Objects(boxes, no.long(), no, no, torch.ones(3)), KINDS)
    known = BoundingBoxes(boxes, format="XYXY", canvas_size=(10, 11))
    moved = v2.resize(v2.crop(known, top, left, height, width), [to_height, to_width])
    kept = torch.Tensor(v2.clamp_bounding_boxes(moved))
    kept = kept[(kept[:, 2] > kept[:, 0]) & (kept[:, 3] > kept[:, 1])]
    assert torch.allclose(held.boxes, kept, atol=1e-4)


def test_of_an_object_that_is_cut_the_visible_share_decides():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [7.5, 0, 17.5, 10], [12, 0, 15, 9]])
    no = torch.zeros(4, dtype=torch.bool)
    truth = Objects(boxes, torch.arange(4), no, no, torch.full((4,), 50.0))
    held = Window(0, 0, 10, 10, 10, 10).of_truth(truth, KINDS)
    assert held.labels.tolist() == [0, 1, 2]
    assert held.boxes[:, 2].tolist() == [10, 10, 10]
    assert held.ignored.tolist() == [False, False, True]
    assert held.areas.tolist() == [50, 25, 12.5]


def test_what_happens_is_a_function_of_seed_epoch_and_sample():
    how = SceneAugment(rot90=True, zoom=0.3, random_crop=0.3, brightness=0.3, channel_scale=0.2, noise_std=0.05)
    drawn, target = Drawn(0, "keypoints"), TARGETS["keypoints"]
    first = [varied(Scene(*drawn.drawn(id), id), 2, how, 5, target) for id in range(4)]
    torch.manual_seed(123)
    again = [varied(Scene(*drawn.drawn(id), id), 2, how, 5, target) for id in reversed(range(4))][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.image, b.image)
        assert a.image.dtype == torch.uint8
        assert all(torch.equal(p, q) for p, q in zip(a.truth, b.truth, strict=True) if p is not None)
    for seed, epoch in ((6, 2), (5, 3)):
        other = [varied(Scene(*drawn.drawn(id), id), epoch, how, seed, target) for id in range(4)]
        assert any(
            a.image.shape != b.image.shape or not torch.equal(a.image, b.image)
            for a, b in zip(first, other, strict=True)
        )


def test_nothing_asked_changes_nothing():
    drawn = Drawn(0, "masks")
    scene = Scene(*drawn.drawn(0), 0)
    seen = varied(scene, 0, STILL, 0, TARGETS["masks"])
    assert seen.image is scene.image
    assert seen.truth is scene.truth


@pytest.mark.parametrize(
    "how",
    [
        SceneAugment(hflip=False, brightness=0.5),
        SceneAugment(hflip=False, channel_scale=0.5),
        SceneAugment(hflip=False, noise_std=0.1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_light_changes_the_picture_only_and_keeps_its_depth(how, dtype):
    image = (torch.arange(6 * 5 * 4).view(6, 5, 4) * 2).to(dtype)
    truth = torch.zeros(5, 4, dtype=torch.int64)
    for epoch in range(5):
        seen = varied(Scene(image, truth, 1), epoch, how, 0, PixelClasses(names=("a", "b")))
        assert seen.image.dtype == dtype
        assert seen.truth is truth
        assert not torch.equal(seen.image.double(), image.double())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
def test_pictures_of_any_depth_are_cut_turned_and_scaled(dtype):
    image = (torch.arange(120).view(2, 10, 6) * 2).to(dtype)
    how = SceneAugment(rot90=True, zoom=0.3, random_crop=0.3)
    for epoch in range(12):
        for tile in (None, (14, 5)):
            seen = varied(Scene(image, image[0].long(), 1), epoch, how, 0, PixelClasses(names=("a", "b")), tile)
            assert seen.image.dtype == dtype
            assert seen.image.shape[1:] == seen.truth.shape


def test_mirrors_and_turns_come_about_as_often_as_they_should():
    image = torch.arange(4, dtype=torch.uint8).view(1, 2, 2)
    truth = torch.zeros(2, 2, dtype=torch.int64)
    seen = [
        tuple(varied(Scene(image, truth, id), 0, SceneAugment(rot90=True), 0, None).image.flatten().tolist())
        for id in range(800)
    ]
    counts = {way: seen.count(way) for way in set(seen)}
    assert len(counts) == 8
    assert all(60 <= count <= 140 for count in counts.values())  # 100 each, ± 4 standard deviations


def test_batches_see_the_same_whenever_they_are_asked():
    from snellen.data.open_dataset import dataset

    data = dataset("shapes")
    how = SceneAugment(zoom=0.2)
    made = [
        SceneBatches(data.scenes("train"), 4, 0, lambda s, e: varied(s, e, how, 0, data.spec.target)).at(60)
        for _ in range(2)
    ]
    for a, b in zip(*made, strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.truth.boxes, b.truth.boxes)
