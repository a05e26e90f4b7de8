"""Parts of detectors: pretrained weights, selective search, anchors, SSDLite, mask targets, keypoint decoding."""

from __future__ import annotations

from pathlib import Path

import blocks
import pytest
import torch
from torchvision.models.detection._utils import BoxLinearCoder
from torchvision.ops import box_iou, roi_align

from snellen.core.detections import GroundTruth
from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.detection import one_stage
from snellen.detection.checkpoints import DetectorCheckpoint
from snellen.detection.pretrained import check_weights
from snellen.detection.selective_search import SelectiveSearch
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.anchors import Anchors, octave_sizes, quantile_sizes
from snellen.nn.detection.box_head import BoxPredictions
from snellen.nn.detection.builders import DetectorConfig, build_keypoint_head
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.keypoint_head import decode_heatmaps, heatmap_targets
from snellen.nn.detection.mask_head import mask_targets
from snellen.nn.detection.one_stage import decode_side_distances

CHECKPOINTS = {"resnet50": DetectorCheckpoint(name="fasterrcnn_resnet50_fpn")}


def test_missing_published_weights_raise_an_error_with_both_remedies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(EnvironmentProblem) as problem:
        check_weights(BackboneSettings(backbone="resnet50", pretrained="published"), CHECKPOINTS, "faster-rcnn")
    assert "snellen get fasterrcnn_resnet50_fpn" in str(problem.value)
    assert "--from-scratch" in str(problem.value)
    with pytest.raises(UsageError, match="--backbone efficientnet-lite0 or resnet50"):
        check_weights(BackboneSettings(pretrained="published"), CHECKPOINTS, "faster-rcnn")
    check_weights(BackboneSettings(pretrained="published", from_scratch=True), CHECKPOINTS, "faster-rcnn")
    with pytest.raises(UsageError, match="does not exist"):
        check_weights(BackboneSettings(pretrained=str(tmp_path / "nothing.safetensors")), CHECKPOINTS, "faster-rcnn")


def test_keypoint_head_with_and_without_detections() -> None:
    branch = build_keypoint_head(8, DetectorConfig(classes=1, keypoints=5, width=32, depth=1))
    maps = [torch.zeros(2, 8, 8, 8)]
    batch = ImageBatch(torch.zeros(2, 3, 32, 32), torch.full((2, 2), 32.0), torch.ones(2, 2))
    for count in (0, 1):
        detections = BoxPredictions(
            torch.tensor([[[4.0, 4.0, 20.0, 20.0]]] * 2)[:, :count],
            torch.ones(2, count),
            torch.zeros(2, count, dtype=torch.int64),
        )
        assert branch(maps, batch, detections).shape == (2, count, 5, 3)


def test_ssdlite_trains_on_a_batch_of_one_image() -> None:
    """The last batch of an epoch may have a single image."""
    torch.manual_seed(0)
    data = blocks.box_dataset()
    settings = BackboneSettings(backbone="mobilenet", min_size=96)
    model = one_stage.one_stage_detector("ssdlite", settings, data.spec, {}).train()
    scene = data.scenes("train").at(0)
    image = scene.image.expand(3, -1, -1)
    assert isinstance(scene.truth, GroundTruth)
    single = model.losses([image], [scene.truth])
    sum(single.values()).backward()  # type: ignore[union-attr]
    double = model.losses([image, image], [scene.truth, scene.truth])
    for name, loss in single.items():
        torch.testing.assert_close(loss, double[name], rtol=1e-4, atol=1e-5)


def test_running_statistics_of_ssdlite_follow_the_last_steps() -> None:
    """Short runs of some hundred steps: batch normalisation in evaluation mode must match training mode."""
    data = blocks.box_dataset()
    settings = BackboneSettings(backbone="mobilenet", min_size=64)
    net = one_stage.one_stage_detector("ssdlite", settings, data.spec, {}).train().body
    norm = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    x = torch.randn(4, norm.num_features, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 2
    for _ in range(30):
        norm(x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)), rtol=0.1, atol=0.0)
    torch.testing.assert_close(norm.running_var, x.var((0, 2, 3)), rtol=0.1, atol=0.0)
    assert norm.eps == 0.001  # as the published weights have it


def test_octave_anchors_cover_objects_of_all_sizes() -> None:
    generator = torch.Generator().manual_seed(7)
    side = 20 * 3 ** torch.rand(400, 1, generator=generator)  # 20 to 60 pixels
    shape = 1.7 ** (torch.rand(400, 1, generator=generator) - 0.5)
    size = torch.cat([side * shape, side / shape], 1)
    corner = torch.rand(400, 2, generator=generator) * (torch.tensor([352.0, 256.0]) - size)
    boxes = torch.cat([corner, corner + size], 1)
    maps = [torch.empty(1, 1, 256 // stride, 352 // stride) for stride in (8, 16, 32, 64, 128)]
    scales = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    anchors = Anchors([[1.0] * 3] * 5, (0.5, 1.0, 2.0), scales)
    fractions = []
    for sizes in (octave_sizes(boxes, 5), quantile_sizes(boxes, 5)):
        anchors.fit(sizes)
        overlap = box_iou(boxes, torch.cat(anchors(maps, torch.empty(1, 3, 256, 352))))
        fractions.append(float(((overlap >= 0.5).sum(1) >= 3).float().mean()))
    assert fractions[0] > 0.95
    assert fractions[1] < 0.85  # quantile sizes put small, widely spaced anchors on coarse feature maps


def image_with_block() -> torch.Tensor:
    x = torch.full((3, 80, 120), -1.0)
    x[:, 20:60, 30:90] = torch.tensor([1.5, 0.0, 0.5])[:, None, None]
    return x + 0.02 * torch.randn(3, 80, 120, generator=torch.Generator().manual_seed(0))


def test_selective_search_covers_a_block_and_is_deterministic() -> None:
    pytest.importorskip("cv2")
    first_search, second_search = SelectiveSearch(80, 300), SelectiveSearch(80, 300)
    proposals = first_search(image_with_block())
    assert torch.equal(proposals, second_search(image_with_block()))  # OpenCV's order is random, ours is sorted
    assert float(box_iou(torch.tensor([[30.0, 20, 90, 60]]), proposals).max()) > 0.8
    assert (proposals[:, 2:] > proposals[:, :2]).all()
    assert proposals[:, 2].max() <= 120
    small = SelectiveSearch(40, 5)(image_with_block())
    assert len(small) <= 6
    assert float(small[-1, 2]) == 120  # the whole image, in its own pixels


def test_cached_proposals_are_restored_with_a_resumed_run() -> None:
    pytest.importorskip("cv2")
    first_search, second_search = SelectiveSearch(80, 300), SelectiveSearch(80, 300)
    first, second = first_search(image_with_block()), first_search(image_with_block().flip(2))
    second_search.load_state_dict(first_search.state_dict())
    assert second_search.cache.keys() == first_search.cache.keys()
    assert torch.equal(second_search(image_with_block()), first)
    assert torch.equal(second_search(image_with_block().flip(2)), second)


def test_mask_targets_equal_roi_align_of_torchvision() -> None:
    generator = torch.Generator().manual_seed(1)
    masks = torch.rand(3, 40, 50, generator=generator) > 0.5
    corner = torch.rand(20, 2, generator=generator) * 40 - 6  # some reach outside the image
    boxes = torch.cat([corner, corner + 3 + torch.rand(20, 2, generator=generator) * 30], 1)
    of = torch.randint(0, 3, (20,), generator=generator)
    rois = torch.cat([of[:, None], boxes], 1)
    whole = roi_align(masks[:, None].float(), rois, (28, 28), 1.0, aligned=True)[:, 0]
    inside = ((boxes >= 0) & (boxes <= torch.tensor([50.0, 40, 50, 40]))).all(1)
    assert 3 < int(inside.sum()) < 20
    torch.testing.assert_close(mask_targets(masks, of, boxes, 28)[inside], whole[inside], rtol=0, atol=1e-5)


def test_side_distances_are_decoded_as_by_torchvision() -> None:
    generator = torch.Generator().manual_seed(2)
    anchors = torch.rand(30, 2, generator=generator).repeat(1, 2) * 50 + torch.tensor([-4.0, -4, 4, 4])
    sides = torch.rand(30, 4, generator=generator) * 3
    torch.testing.assert_close(decode_side_distances(sides, anchors), BoxLinearCoder().decode(sides, anchors))


def test_keypoint_decoding_inverts_keypoint_targets() -> None:
    boxes = torch.tensor([[10.0, 20, 66, 76]])
    points = torch.tensor([[[31.0, 45.0, 2], [66.0, 76.0, 1], [5.0, 30.0, 2], [30.0, 30.0, 0]]])
    place, inside = heatmap_targets(points, boxes, 56)
    assert inside.tolist() == [[True, True, False, False]]  # on the border; outside; not labelled
    maps = torch.full((1, 4, 56 * 56), -9.0).scatter(2, place[..., None], 9.0).view(1, 4, 56, 56)
    decoded = decode_heatmaps(maps, boxes)
    assert float((decoded[0, :2, :2] - points[0, :2, :2]).abs().max()) <= 1.0  # a cell is a pixel here
    assert (decoded[..., 2] > 0.9).all()
