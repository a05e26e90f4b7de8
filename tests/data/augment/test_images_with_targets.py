"""Augmentation of images with their masks, maps, boxes and keypoints."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2
from torchvision.tv_tensors import BoundingBoxes

from snellen.core.detections import GroundTruth
from snellen.core.spec import Boxes, PixelClasses, PixelNumbers
from snellen.data.annotations import masks_to_boxes
from snellen.data.augment.dihedral import ORIENTATIONS, dihedral_transform, transform_annotation
from snellen.data.augment.images_with_targets import SceneAugment, Window, augment_scene
from snellen.data.formats.object_datasets import mirrored_pairs
from snellen.data.scenes import Scene, SceneBatches
from snellen.data.synthetic.shapes import SIDE, TARGETS, ShapesSource

KINDS = Boxes(names=("a",), masks=True, keypoints=("left", "middle", "right"), mirrored=((0, 2),))
STILL = SceneAugment(hflip=False)
AUGMENTATIONS = st.builds(
    SceneAugment,
    hflip=st.booleans(),
    rot90=st.booleans(),
    zoom=st.sampled_from([0.0, 0.3, 0.6]),
    random_crop=st.sampled_from([0.0, 0.4]),
)
TILES = st.sampled_from([None, (12, 20), (40, 24)])


@st.composite
def scenes(draw):
    """An image whose three channels are the column, row and object of each pixel, with these objects."""
    height, width = draw(st.integers(8, 30)), draw(st.integers(8, 30))
    masks = []
    object_index = torch.zeros(height, width)
    for k in range(draw(st.integers(0, 3))):
        top, left = draw(st.integers(0, height - 3)), draw(st.integers(0, width - 3))
        bottom, right = draw(st.integers(top + 2, height)), draw(st.integers(left + 2, width))
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[top:bottom, left:right] = True
        mask[top, left] = draw(st.booleans())
        masks.append(mask)
        object_index[mask] = k + 1
    objects = torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.bool)
    boxes = masks_to_boxes(objects)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = torch.stack([boxes[:, :2] + 0.5, middle, boxes[:, 2:] - 0.5], 1)  # (N, 3, 2)
    points = torch.cat([points, torch.full((*points.shape[:2], 1), 2.0)], -1)
    false = torch.zeros(len(objects), dtype=torch.bool)
    truth = GroundTruth(
        boxes,
        torch.zeros(len(objects), dtype=torch.int64),
        false,
        false,
        objects.flatten(1).sum(1).float(),
        objects,
        points,
    )
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return Scene(torch.stack([x, y, object_index]), truth, draw(st.integers(0, 1000)))


@settings(max_examples=60)
@given(scenes(), AUGMENTATIONS, TILES, st.integers(0, 50))
def test_a_box_around_a_mask_stays_around_it(scene, augmentation, tile, epoch):
    augmented = augment_scene(scene, epoch, augmentation, 0, KINDS, tile)
    objects = augmented.truth
    assert objects.masks.shape == (len(objects.boxes), *augmented.image.shape[-2:])
    if tile is not None:
        assert tuple(augmented.image.shape[-2:]) == tile
    assert torch.equal(objects.boxes, masks_to_boxes(objects.masks))
    assert torch.equal(objects.areas, objects.masks.flatten(1).sum(1).float())
    assert bool((objects.areas > 0).all())


@settings(max_examples=60)
@given(scenes(), AUGMENTATIONS, TILES, st.integers(0, 50))
def test_keypoints_stay_on_their_pixel(scene, augmentation, tile, epoch):
    augmentation = dataclasses.replace(
        augmentation, zoom=0.0
    )  # so that every pixel keeps its value, which is its original position
    augmented = augment_scene(scene, epoch, augmentation, 0, KINDS, tile)
    before = {tuple(point[:2].tolist()) for point in scene.truth.keypoints.flatten(0, 1)}
    for x, y, inside_image in augmented.truth.keypoints.flatten(0, 1).tolist():
        if inside_image == 0:
            assert (x, y) == (0, 0)
        elif x % 1 == 0.5 and y % 1 == 0.5:  # at the centre of a pixel
            assert tuple(augmented.image[:2, int(y), int(x)].tolist()) in before
    assert augmented.truth.keypoints.shape == (len(augmented.truth.boxes), 3, 3)


def test_exif_orientations_are_those_of_pillow():
    image = torch.arange(12, dtype=torch.uint8).view(3, 4)
    assert sorted(ORIENTATIONS) == list(range(1, 9))
    for orientation, (mirror, quarters) in ORIENTATIONS.items():
        stored = Image.fromarray(image.numpy())
        stored.getexif()[0x0112] = orientation  # the tag of the orientation
        expected = np.asarray(ImageOps.exif_transpose(stored))
        assert np.array_equal(dihedral_transform(image, mirror, quarters).numpy(), expected), orientation


@settings(max_examples=30)
@given(scenes())
def test_the_inverse_transform_restores_image_and_annotation(scene):
    width, height = scene.image.shape[2], scene.image.shape[1]
    for orientation, (mirror, quarters) in ORIENTATIONS.items():
        image = dihedral_transform(scene.image, mirror, quarters)
        truth = transform_annotation(scene.truth, KINDS, width, height, mirror, quarters)
        back = -quarters % 4 if not mirror else quarters  # a flip with a rotation is its own inverse
        again = dihedral_transform(image, mirror, back)
        once = transform_annotation(truth, KINDS, image.shape[2], image.shape[1], mirror, back)
        assert torch.equal(again, scene.image), orientation
        for a, b in zip(once, scene.truth, strict=True):
            assert torch.equal(a, b), orientation


def test_the_left_eye_of_a_mirrored_face_is_the_image_of_the_right_one():
    """A frontal face in an image of 40 pixels: the left eye of the person is on the right of the image, before a flip
    and after it. Only a flip exchanges the names; a half turn moves the left eye to the left of the image."""
    names = ("nose", "left_eye", "right_eye")
    target = Boxes(names=("person",), keypoints=names, mirrored=mirrored_pairs(names))
    points = torch.tensor([[[21.0, 12, 2], [32, 8, 2], [10, 9, 1]]])
    false = torch.zeros(1, dtype=torch.bool)
    face = GroundTruth(torch.tensor([[8.0, 6, 34, 14]]), false.long(), false, false, torch.ones(1), None, points)
    mirrored = transform_annotation(face, target, 40, 20, True, 0)
    assert mirrored.keypoints.tolist() == [[[19, 12, 2], [30, 9, 1], [8, 8, 2]]]
    assert mirrored.boxes.tolist() == [[6, 6, 32, 14]]
    turned = transform_annotation(face, target, 40, 20, False, 2)
    assert turned.keypoints.tolist() == [[[19, 8, 2], [8, 12, 2], [30, 11, 1]]]


@pytest.mark.parametrize("target", ["flow", "normals"])
@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
def test_vectors_are_transformed_like_the_points_they_connect(target, orientation):
    """A transformed vector connects the transformed start and end points."""
    mirror, quarters = ORIENTATIONS[orientation]
    truth = torch.randn(2 if target == "flow" else 3, 6, 9, generator=torch.Generator().manual_seed(0))
    sign = torch.tensor([1.0, 1.0 if target == "flow" else -1.0])
    moved = transform_annotation(truth, TARGETS[target], 9, 6, mirror, quarters)
    ids = dihedral_transform(torch.arange(54).view(6, 9), mirror, quarters)
    false = torch.zeros(54, dtype=torch.bool)
    start = torch.stack([torch.arange(54) % 9 + 0.5, torch.arange(54) // 9 + 0.5], -1)
    tip = start + truth[:2].flatten(1).T * sign
    points = torch.cat([torch.stack([start, tip], 1), torch.ones(54, 2, 1)], -1)
    objects = GroundTruth(torch.zeros(54, 4), false.long(), false, false, torch.zeros(54), None, points)
    after = transform_annotation(objects, Boxes(names=("a",)), 9, 6, mirror, quarters).keypoints[..., :2]
    expected_vectors = (after[:, 1] - after[:, 0]) * sign  # (54, 2)
    assert torch.allclose(moved[:2].flatten(1).T, expected_vectors[ids.flatten()], atol=1e-5)
    assert torch.equal(moved[2:], dihedral_transform(truth[2:], mirror, quarters))


@pytest.mark.parametrize(
    "augmentation",
    [
        SceneAugment(),
        SceneAugment(rot90=True),
        SceneAugment(zoom=0.4, rot90=True),
        SceneAugment(random_crop=0.4, zoom=0.3),
    ],
)
def test_augmented_flow_warps_one_frame_onto_the_other(augmentation):
    """The second frame warped by the flow, and not by its negative, equals the first."""
    source, target = ShapesSource(0, "flow"), TARGETS["flow"]
    for id in range(6):
        scene = augment_scene(Scene(*source.render_sample(id), id), 1, augmentation, 0, target)
        first, second = scene.image.double().view(2, 3, *scene.image.shape[1:])
        height, width = first.shape[1:]
        error = {}
        for sign in (1, -1):
            u, v = sign * scene.truth.double()
            x, y = torch.arange(width) + 0.5 + u, (torch.arange(height) + 0.5)[:, None] + v
            grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
            inside = (grid.abs() < 1).all(-1)  # without pixels that have no flow
            warped = torch.nn.functional.grid_sample(second[None], grid.nan_to_num()[None], align_corners=False)[0]
            error[sign] = float((warped - first)[:, inside].abs().mean())
        assert error[1] < error[-1]


def test_a_zoomed_flow_vector_connects_the_zoomed_points():
    """A window of 20 x 10 pixels at 10 x 20: half as wide and twice as high. Depth keeps its value."""
    window = Window(2, 4, 10, 20, 20, 10)
    flow = torch.tensor([6.0, -3.0])[:, None, None].expand(2, 16, 30).clone()
    flow[:, 5, 9] = math.nan
    cropped = window.crop_annotation(flow, TARGETS["flow"])
    valid = cropped.isfinite().all(0)
    assert cropped.shape == (2, 20, 10)
    assert 0 < int((~valid).sum()) <= 4  # one pixel without ground truth
    assert cropped[:, valid].unique(dim=1).flatten().tolist() == [3, -6]
    ends = torch.tensor([[[8.0, 9, 1], [14, 6, 1]]])  # keypoints of one object, connected by the vector
    false = torch.zeros(1, dtype=torch.bool)
    truth = GroundTruth(torch.tensor([[4.0, 2, 24, 12]]), false.long(), false, false, torch.ones(1), None, ends)
    after = window.crop_annotation(truth, KINDS).keypoints[0, :, :2]
    assert (after[1] - after[0]).tolist() == [3, -6]
    assert window.crop_annotation(torch.full((1, 16, 30), 7.0), TARGETS["depth"]).unique().tolist() == [7]


def test_augmented_normals_match_augmented_depth():
    """On a plane, depth times n · ray is constant."""
    for id in range(8):
        depth, normals = (ShapesSource(0, kind).render_sample(id)[1] for kind in ("depth", "normals"))
        image = ShapesSource(0, "depth").render_sample(id)[0]
        augmentation = SceneAugment(rot90=True)
        one, other = (
            augment_scene(Scene(image, truth, id), 2, augmentation, 0, TARGETS[kind]).truth.double()
            for kind, truth in (("depth", depth), ("normals", normals))
        )
        centre = (torch.arange(SIDE, dtype=torch.float64) + 0.5 - SIDE / 2) / 120
        ray = torch.stack([centre.expand(SIDE, -1), -centre[:, None].expand(-1, SIDE), -torch.ones(SIDE, SIDE)])
        plane = (other * ray).sum(0) * one[0]  # the distance of the surface's tangent plane
        flat = (other[:, 2:, 1:-1] == other[:, 1:-1, 1:-1]).all(0) & (other[:, 1:-1, 2:] == other[:, 1:-1, 1:-1]).all(0)
        here = plane[1:-1, 1:-1]
        assert float((plane[2:, 1:-1] - here)[flat].abs().median()) < 1e-5  # except at occlusions
        assert float((plane[1:-1, 2:] - here)[flat].abs().median()) < 1e-5


def test_maps_follow_the_image_and_are_ignored_outside():
    y, x = torch.meshgrid(torch.arange(10), torch.arange(8), indexing="ij")
    image = (8 * y + x + 1).to(torch.uint8)[None]
    for epoch in range(20):
        for target, truth, none in (
            (PixelClasses(names=("a", "b")), image[0].long(), -1),
            (PixelNumbers(kind="depth", names=("d",)), image.float(), math.nan),
        ):
            augmented = augment_scene(Scene(image, truth, 3), epoch, SceneAugment(rot90=True), 0, target, (13, 12))
            values_seen = augmented.truth if isinstance(target, PixelClasses) else augmented.truth[0]
            inside_image = augmented.image[0] > 0
            assert int(inside_image.sum()) == 80
            assert torch.equal(values_seen[inside_image].long(), augmented.image[0][inside_image].long())
            assert bool((values_seen[~inside_image] == none).all()) or bool(values_seen[~inside_image].isnan().all())


@settings(max_examples=40)
@given(
    st.integers(-3, 6),
    st.integers(-3, 6),
    st.integers(4, 12),
    st.integers(4, 12),
    st.integers(3, 20),
    st.integers(3, 20),
)
def test_a_window_equals_crop_and_resize_of_torchvision(top, left, height, width, to_height, to_width):
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 10, 11), generator=draw, dtype=torch.uint8)
    window = Window(top, left, height, width, to_height, to_width)
    cut = v2.crop_image(image, top, left, height, width)
    expected = v2.resize_image(cut.float(), [to_height, to_width], antialias=True).round().to(torch.uint8)
    assert torch.equal(window.crop_image(image), expected)
    boxes = torch.tensor([[1.0, 2.0, 6.0, 9.0], [0.0, 0.0, 11.0, 10.0], [8.0, 8.0, 9.0, 9.5]])
    false = torch.zeros(3, dtype=torch.bool)
    objects = window.crop_annotation(GroundTruth(boxes, false.long(), false, false, torch.ones(3)), KINDS)
    known = BoundingBoxes(boxes, format="XYXY", canvas_size=(10, 11))
    moved = v2.resize(v2.crop(known, top, left, height, width), [to_height, to_width])
    expected_boxes = torch.Tensor(v2.clamp_bounding_boxes(moved))
    expected_boxes = expected_boxes[
        (expected_boxes[:, 2] > expected_boxes[:, 0]) & (expected_boxes[:, 3] > expected_boxes[:, 1])
    ]
    assert torch.allclose(objects.boxes, expected_boxes, atol=1e-4)


def test_cropped_objects_are_ignored_below_the_visible_fraction():
    """Visible: all, a half, 30 %, a quarter, none. A crowd and an object that is ignored anyway stay so."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [7, 0, 17, 10], [7.5, 0, 17.5, 10], [12, 0, 15, 9]])
    false = torch.zeros(5, dtype=torch.bool)
    truth = GroundTruth(boxes, torch.arange(5), false, false, torch.full((5,), 50.0))
    window = Window(0, 0, 10, 10, 10, 10)
    objects = window.crop_annotation(truth, KINDS)
    assert objects.labels.tolist() == [0, 1, 2, 3]
    assert objects.boxes[:, 2].tolist() == [10, 10, 10, 10]
    assert objects.ignored.tolist() == [False, False, False, True]
    assert objects.areas.tolist() == pytest.approx([50, 25, 15, 12.5])
    special = torch.tensor([True, False, False, True, False])
    assert window.crop_annotation(truth._replace(ignored=special), KINDS).ignored.tolist() == [True, False, False, True]
    assert window.crop_annotation(truth._replace(crowd=special), KINDS).ignored.tolist() == [False] * 4


def test_windows_lie_in_the_image_and_have_the_sizes_of_the_settings():
    """An image of rows and columns: its values give the position of a crop; the guide's limits hold and are used."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(100.0), indexing="ij")
    truth = torch.zeros(200, 100, dtype=torch.int64)
    target = PixelClasses(names=("a",))
    sizes, factors, starts, ends = [], [], [], []
    for id in range(300):
        scene = Scene(torch.stack([y, x]), truth, id)
        cropped = augment_scene(scene, 0, SceneAugment(hflip=False, random_crop=0.4), 0, target)
        sizes.append(cropped.image.shape[1:])
        assert int(cropped.truth.min()) == 0  # no pixel outside the image
        assert torch.equal(cropped.image[1, 0], cropped.image[1, 0, 0] + torch.arange(cropped.image.shape[2]))
        starts.append((float(cropped.image[0].min()) / 200, float(cropped.image[1].min()) / 100))
        ends.append([float(cropped.image[k].max()) for k in range(2)])
        zoomed = augment_scene(scene, 0, SceneAugment(hflip=False, zoom=0.3), 0, target, (100, 50))
        assert int(zoomed.truth.min()) == 0
        factors.append(float(49 / (zoomed.image[1, 0, -1] - zoomed.image[1, 0, 0])))
    heights, widths = (
        torch.tensor(side) / full for side, full in zip(zip(*sizes, strict=True), (200, 100), strict=True)
    )
    for fractions in (heights, widths):
        assert 0.6 <= float(fractions.min()) < 0.62
        assert 0.98 < float(fractions.max()) <= 1
    assert float(torch.corrcoef(torch.stack([heights, widths]))[0, 1].abs()) < 0.2
    assert min(min(starts)) == 0
    for k, last in enumerate((199, 99)):  # some crops end at the edge without beginning at the other
        assert any(end[k] == last and start[k] for start, end in zip(starts, ends, strict=True))
    assert max(top for top, _ in starts) > 0.3
    assert max(left for _, left in starts) > 0.3
    assert min(factors) == pytest.approx(0.7, abs=0.02)
    assert max(factors) == pytest.approx(1.3, abs=0.02)


def test_noise_is_normal_with_the_deviation_of_the_setting_and_independent_in_every_pixel():
    """As a fraction of the image's own range, here 50 … 250; 1.96 standard deviations hold 95 %."""
    image = torch.linspace(50, 250, 3 * 120 * 120).view(3, 120, 120)
    noise = torch.stack(
        [
            augment_scene(Scene(image, image[0], id), 0, SceneAugment(hflip=False, noise_std=0.1), 0, None).image
            - image
            for id in range(4)
        ]
    )
    count = noise.numel()
    assert float(noise.std()) == pytest.approx(20, rel=4 / math.sqrt(2 * count))
    assert float(noise.mean()) == pytest.approx(0, abs=4 * 20 / math.sqrt(count))
    assert float((noise.abs() < 1.96 * 20).float().mean()) == pytest.approx(
        0.95, abs=4 * math.sqrt(0.05 * 0.95 / count)
    )
    correlation = torch.corrcoef(noise.flatten(0, 1).flatten(1)) - torch.eye(12)
    assert float(correlation.abs().max()) < 5 / 120


def test_an_image_of_one_row_or_column_keeps_it():
    for height, width in ((1, 9), (9, 1), (1, 1)):
        scene = Scene(torch.ones(1, height, width), torch.zeros(height, width, dtype=torch.int64), 0)
        for epoch in range(20):
            augmentation = SceneAugment(random_crop=0.9, zoom=0.9)
            image, truth, _ = augment_scene(scene, epoch, augmentation, 0, PixelClasses(names=("a",)))
            assert image.shape[1:] == truth.shape
            assert min(truth.shape) == 1
            assert truth.shape[0] <= height
            assert truth.shape[1] <= width


def test_brightness_and_channel_scale_stay_within_their_limits_and_reach_them():
    image = torch.full((3, 4, 4), 100.0)
    factors = torch.stack(
        [
            augment_scene(
                Scene(image, torch.zeros(4, 4), id),
                0,
                SceneAugment(hflip=False, brightness=brightness, channel_scale=scale),
                0,
                None,
            )
            .image.flatten(1)
            .mean(1)
            / 100
            for brightness, scale in ((0.3, 0.0), (0.0, 0.2))
            for id in range(200)
        ]
    ).view(2, 200, 3)
    bright, tinted = factors
    assert torch.allclose(bright, bright[:, :1].expand(-1, 3))
    for factor, limit in ((bright, 0.3), (tinted, 0.2)):
        assert 1 - limit <= float(factor.min()) < 1 - 0.95 * limit
        assert 1 + 0.95 * limit < float(factor.max()) <= 1 + limit
    assert float((torch.corrcoef(tinted.T) - torch.eye(3)).abs().max()) < 0.25


def test_augmentation_is_a_function_of_seed_epoch_and_sample():
    augmentation = SceneAugment(
        rot90=True, zoom=0.3, random_crop=0.3, brightness=0.3, channel_scale=0.2, noise_std=0.05
    )
    source, target = ShapesSource(0, "keypoints"), TARGETS["keypoints"]
    first = [augment_scene(Scene(*source.render_sample(id), id), 2, augmentation, 5, target) for id in range(4)]
    torch.manual_seed(123)
    again = [
        augment_scene(Scene(*source.render_sample(id), id), 2, augmentation, 5, target) for id in reversed(range(4))
    ][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.image, b.image)
        assert a.image.dtype == torch.uint8
        assert all(torch.equal(p, q) for p, q in zip(a.truth, b.truth, strict=True) if p is not None)
    for seed, epoch in ((6, 2), (5, 3)):
        other = [
            augment_scene(Scene(*source.render_sample(id), id), epoch, augmentation, seed, target) for id in range(4)
        ]
        assert any(
            a.image.shape != b.image.shape or not torch.equal(a.image, b.image)
            for a, b in zip(first, other, strict=True)
        )


def test_no_augmentation_changes_nothing():
    source = ShapesSource(0, "masks")
    scene = Scene(*source.render_sample(0), 0)
    augmented = augment_scene(scene, 0, STILL, 0, TARGETS["masks"])
    assert augmented.image is scene.image
    assert augmented.truth is scene.truth


@pytest.mark.parametrize(
    "augmentation",
    [
        SceneAugment(hflip=False, brightness=0.5),
        SceneAugment(hflip=False, channel_scale=0.5),
        SceneAugment(hflip=False, noise_std=0.1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_photometric_augmentation_changes_only_the_image_and_keeps_its_depth(augmentation, dtype):
    image = (torch.arange(6 * 5 * 4).view(6, 5, 4) * 2).to(dtype)
    truth = torch.zeros(5, 4, dtype=torch.int64)
    for epoch in range(5):
        augmented = augment_scene(Scene(image, truth, 1), epoch, augmentation, 0, PixelClasses(names=("a", "b")))
        assert augmented.image.dtype == dtype
        assert augmented.truth is truth
        assert not torch.equal(augmented.image.double(), image.double())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
def test_images_of_any_depth_are_cropped_rotated_and_scaled(dtype):
    image = (torch.arange(120).view(2, 10, 6) * 2).to(dtype)
    augmentation = SceneAugment(rot90=True, zoom=0.3, random_crop=0.3)
    for epoch in range(12):
        for tile in (None, (14, 5)):
            augmented = augment_scene(
                Scene(image, image[0].long(), 1), epoch, augmentation, 0, PixelClasses(names=("a", "b")), tile
            )
            assert augmented.image.dtype == dtype
            assert augmented.image.shape[1:] == augmented.truth.shape


def test_flips_and_rotations_are_uniformly_distributed():
    image = torch.arange(4, dtype=torch.uint8).view(1, 2, 2)
    truth = torch.zeros(2, 2, dtype=torch.int64)
    augmented = [
        tuple(augment_scene(Scene(image, truth, id), 0, SceneAugment(rot90=True), 0, None).image.flatten().tolist())
        for id in range(800)
    ]
    counts = {way: augmented.count(way) for way in set(augmented)}
    assert len(counts) == 8
    assert all(60 <= count <= 140 for count in counts.values())  # 100 each, ± 4 standard deviations


def test_batches_repeat_for_the_same_step():
    from snellen.data.open_dataset import dataset

    data = dataset("shapes")
    augmentation = SceneAugment(zoom=0.2)
    batches = [
        SceneBatches(
            data.scenes("train"), 4, 0, list, lambda s, e: augment_scene(s, e, augmentation, 0, data.spec.target)
        ).at(60)
        for _ in range(2)
    ]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.truth.boxes, b.truth.boxes)


@pytest.mark.parametrize(
    "names",
    [
        ("left_eye", "right_eye", "nose"),
        ("leftEye", "rightEye", "nose"),
        ("LEye", "REye", "Nose"),
        ("eyeL", "eyeR", "nose"),
        ("L_Eye", "r_eye", "nose"),
        ("EYE_LEFT", "EYE_RIGHT", "NOSE"),
        ("lefteye", "righteye", "nose"),
        ("Left eye", "Right eye", "nose"),
        ("eye.l", "eye.r", "nose"),
    ],
)
def test_left_and_right_are_recognised_in_every_spelling(names: tuple[str, ...]) -> None:
    assert mirrored_pairs(names) == ((0, 1),)


@pytest.mark.parametrize("names", [("lip", "rip"), ("left_eye", "nose"), ("copyright", "copyleft2")])
def test_other_names_are_no_pairs(names: tuple[str, ...]) -> None:
    assert mirrored_pairs(names) == ()
