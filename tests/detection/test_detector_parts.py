"""What detectors begin with, are given, and read: weights, regions of selective search, masks cut to their box."""

from __future__ import annotations

from pathlib import Path

import blocks
import pytest
import torch
from torchvision.models.detection._utils import BoxLinearCoder
from torchvision.ops import box_iou, roi_align

from snellen.core.detections import Objects
from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.detection import one_stage
from snellen.detection.checkpoints import Published
from snellen.detection.pretrained import there
from snellen.detection.selective_search import SelectiveSearch
from snellen.detection.settings import Sight
from snellen.nn.detection.anchors import Anchors, octaves, suited
from snellen.nn.detection.box_head import Finds
from snellen.nn.detection.builders import Plan, keypoint_branch
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.keypoint_head import places, told
from snellen.nn.detection.mask_head import wanted
from snellen.nn.detection.one_stage import decoded_from_sides

KNOWN = {"resnet50": Published(name="fasterrcnn_resnet50_fpn")}


def test_published_weights_that_are_not_here_end_with_both_remedies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(EnvironmentProblem) as problem:
        there(Sight(backbone="resnet50", pretrained="published"), KNOWN, "faster-rcnn")
    assert "snellen get fasterrcnn_resnet50_fpn" in str(problem.value)
    assert "--from-scratch" in str(problem.value)
    with pytest.raises(UsageError, match="--backbone resnet50"):
        there(Sight(pretrained="published"), KNOWN, "faster-rcnn")
    there(Sight(pretrained="published", from_scratch=True), KNOWN, "faster-rcnn")
    with pytest.raises(UsageError, match="there is no"):
        there(Sight(pretrained=str(tmp_path / "nothing.safetensors")), KNOWN, "faster-rcnn")


def test_pictures_without_and_with_finds_are_told_with_as_many_keypoints() -> None:
    branch = keypoint_branch(8, Plan(classes=1, keypoints=5, width=32, depth=1))
    maps = [torch.zeros(2, 8, 8, 8)]
    batch = Batch(torch.zeros(2, 3, 32, 32), torch.full((2, 2), 32.0), torch.ones(2, 2))
    for many in (0, 1):
        finds = Finds(
            torch.tensor([[[4.0, 4.0, 20.0, 20.0]]] * 2)[:, :many],
            torch.ones(2, many),
            torch.zeros(2, many, dtype=torch.int64),
        )
        assert branch(maps, batch, finds).shape == (2, many, 5, 3)


def test_ssdlite_learns_from_one_picture_alone() -> None:
    """The last batch of an epoch may have no more."""
    torch.manual_seed(0)
    held = blocks.boxes()
    model = one_stage.detector("ssdlite", Sight(backbone="mobilenet", min_size=96), held.spec, {}).train()
    scene = held.scenes("train").at(0)
    image = scene.image.expand(3, -1, -1)
    assert isinstance(scene.truth, Objects)
    alone = model.losses([image], [scene.truth])
    sum(alone.values()).backward()  # type: ignore[union-attr]
    twice = model.losses([image, image], [scene.truth, scene.truth])
    for name, loss in alone.items():
        torch.testing.assert_close(loss, twice[name], rtol=1e-4, atol=1e-5)


def test_what_ssdlite_knows_of_its_values_is_of_the_last_steps() -> None:
    """A run of few pictures has some hundred steps: in use its maps are scaled as they were while it learned."""
    held = blocks.boxes()
    net = one_stage.detector("ssdlite", Sight(backbone="mobilenet", min_size=64), held.spec, {}).train().body
    norm = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    x = torch.randn(4, norm.num_features, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 2
    for _ in range(30):
        norm(x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)), rtol=0.1, atol=0.0)
    torch.testing.assert_close(norm.running_var, x.var((0, 2, 3)), rtol=0.1, atol=0.0)
    assert norm.eps == 0.001  # as the published weights have it


def test_objects_of_all_sizes_have_anchors_about_them_where_answers_are_told_at_every_place() -> None:
    drawn = torch.Generator().manual_seed(7)
    side = 20 * 3 ** torch.rand(400, 1, generator=drawn)  # 20 to 60 pixels
    shape = 1.7 ** (torch.rand(400, 1, generator=drawn) - 0.5)
    size = torch.cat([side * shape, side / shape], 1)
    corner = torch.rand(400, 2, generator=drawn) * (torch.tensor([352.0, 256.0]) - size)
    boxes = torch.cat([corner, corner + size], 1)
    maps = [torch.empty(1, 1, 256 // stride, 352 // stride) for stride in (8, 16, 32, 64, 128)]
    scales = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    anchors = Anchors([[1.0] * 3] * 5, (0.5, 1.0, 2.0), scales)
    several = []
    for sizes in (octaves(boxes, 5), suited(boxes, 5)):
        anchors.fit(sizes)
        overlap = box_iou(boxes, torch.cat(anchors(maps, torch.empty(1, 3, 256, 352))))
        several.append(float(((overlap >= 0.5).sum(1) >= 3).float().mean()))
    assert several[0] > 0.95
    assert several[1] < 0.85  # spread evenly over all maps, the coarse ones have small anchors far apart


def picture() -> torch.Tensor:
    x = torch.full((3, 80, 120), -1.0)
    x[:, 20:60, 30:90] = torch.tensor([1.5, 0.0, 0.5])[:, None, None]
    return x + 0.02 * torch.randn(3, 80, 120, generator=torch.Generator().manual_seed(0))


def test_selective_search_reaches_a_block_and_says_the_same_each_time() -> None:
    pytest.importorskip("cv2")
    one, other = SelectiveSearch(80, 300), SelectiveSearch(80, 300)
    found = one(picture())
    assert torch.equal(found, other(picture()))  # OpenCV's order is drawn, ours is not
    assert float(box_iou(torch.tensor([[30.0, 20, 90, 60]]), found).max()) > 0.8
    assert (found[:, 2:] > found[:, :2]).all()
    assert found[:, 2].max() <= 120
    small = SelectiveSearch(40, 5)(picture())
    assert len(small) <= 6
    assert float(small[-1, 2]) == 120  # the whole picture, in its own pixels


def test_what_was_searched_comes_back_with_a_resumed_run() -> None:
    pytest.importorskip("cv2")
    one, other = SelectiveSearch(80, 300), SelectiveSearch(80, 300)
    first, second = one(picture()), one(picture().flip(2))
    other.load_state_dict(one.state_dict())
    assert other.found.keys() == one.found.keys()
    assert torch.equal(other(picture()), first)
    assert torch.equal(other(picture().flip(2)), second)


def test_the_true_mask_of_a_box_is_that_of_the_whole_picture_read_by_torchvision() -> None:
    drawn = torch.Generator().manual_seed(1)
    masks = torch.rand(3, 40, 50, generator=drawn) > 0.5
    corner = torch.rand(20, 2, generator=drawn) * 40 - 6  # some lie outside
    boxes = torch.cat([corner, corner + 3 + torch.rand(20, 2, generator=drawn) * 30], 1)
    of = torch.randint(0, 3, (20,), generator=drawn)
    rois = torch.cat([of[:, None], boxes], 1)
    whole = roi_align(masks[:, None].float(), rois, (28, 28), 1.0, aligned=True)[:, 0]
    inside = ((boxes >= 0) & (boxes <= torch.tensor([50.0, 40, 50, 40]))).all(1)
    assert 3 < int(inside.sum()) < 20
    torch.testing.assert_close(wanted(masks, of, boxes, 28)[inside], whole[inside], rtol=0, atol=1e-5)


def test_sides_are_decoded_as_by_torchvision() -> None:
    drawn = torch.Generator().manual_seed(2)
    anchors = torch.rand(30, 2, generator=drawn).repeat(1, 2) * 50 + torch.tensor([-4.0, -4, 4, 4])
    sides = torch.rand(30, 4, generator=drawn) * 3
    torch.testing.assert_close(decoded_from_sides(sides, anchors), BoxLinearCoder().decode(sides, anchors))


def test_a_keypoint_is_found_where_it_was_learned() -> None:
    boxes = torch.tensor([[10.0, 20, 66, 76]])
    points = torch.tensor([[[31.0, 45.0, 2], [66.0, 76.0, 1], [5.0, 30.0, 2], [30.0, 30.0, 0]]])
    place, inside = places(points, boxes, 56)
    assert inside.tolist() == [[True, True, False, False]]  # on the border; outside; not labelled
    maps = torch.full((1, 4, 56 * 56), -9.0).scatter(2, place[..., None], 9.0).view(1, 4, 56, 56)
    found = told(maps, boxes)
    assert float((found[0, :2, :2] - points[0, :2, :2]).abs().max()) <= 1.0  # a cell is a pixel here
    assert (found[..., 2] > 0.9).all()
