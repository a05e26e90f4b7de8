"""Detectors with torchvision's weights: the same losses, gradients and detections."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from snellen.core.detections import GroundTruth
from snellen.core.spec import Input
from snellen.detection.pretrained import to_snellen_name
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import feature_pyramid
from snellen.nn.detection.builders import DetectorConfig, two_stage
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.rpn import BoxSampling
from snellen.nn.layers import Standardize

SIZES, CLASSES = (16, 32, 64, 96, 128), 3


def torchvision_detector(kind: str) -> nn.Module:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "min_size": 96,
        "max_size": 160,
        "rpn_pre_nms_top_n_train": 200,
        "rpn_post_nms_top_n_train": 100,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 100,
        "box_batch_size_per_image": 64,
    }
    anchors = AnchorGenerator(tuple((size,) for size in SIZES), ((0.5, 1.0, 2.0),) * 5)
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    large_pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
    maps = feature_pyramid("small", 3, "batch")
    if kind == "masks":
        detector: nn.Module = MaskRCNN(
            maps, CLASSES + 1, rpn_anchor_generator=anchors, box_roi_pool=pool, mask_roi_pool=large_pool, **settings
        )
    elif kind == "keypoints":
        detector = KeypointRCNN(
            maps,
            CLASSES + 1,
            rpn_anchor_generator=anchors,
            box_roi_pool=pool,
            keypoint_roi_pool=large_pool,
            num_keypoints=5,
            **settings,
        )
    else:
        detector = FasterRCNN(maps, CLASSES + 1, rpn_anchor_generator=anchors, box_roi_pool=pool, **settings)
    for name, parameter in detector.named_parameters():  # large weights, so that scores are well separated
        if parameter.ndim > 1 and ("head" in name or "predictor" in name):
            nn.init.kaiming_normal_(parameter)
            parameter.data *= 0.1 if "cls_logits" in name or "bbox_pred" in name else 1
        if parameter.ndim == 1:  # the padding of an image is 0, where ReLU is not differentiable
            nn.init.normal_(parameter, mean=1.0 if "weight" in name else 0.0, std=0.1)
    return detector


def snellen_detector(kind: str, other: nn.Module) -> DetectionNetwork:
    config = DetectorConfig(
        classes=CLASSES,
        masks="joint" if kind == "masks" else "none",
        keypoints=5 if kind == "keypoints" else 0,
        aligned=False,
        train_proposals=(200, 100),
        test_proposals=(200, 100),
        sampling=BoxSampling(batch_size_per_image=64, positive_fraction=0.25, foreground_iou=0.5, background_iou=0.5),
    )
    standardize = Standardize(Input(modality="image", shape=(3, None, None), dtype="float32"))
    standardize.mean.copy_(torch.tensor([0.485, 0.456, 0.406]))
    standardize.std.copy_(torch.tensor([0.229, 0.224, 0.225]))
    standardize.load_state_dict(standardize.state_dict())
    anchors = Anchors([[size] for size in SIZES])
    detector = DetectionNetwork(
        DetectorTransform(standardize, 96, 160), two_stage(feature_pyramid("small", 3, "batch"), anchors, config)
    )
    weights = {to_snellen_name(name): tensor for name, tensor in other.state_dict().items()}
    missing = detector.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith(("pictures.", "threshold", "body.proposals.anchors")) for name in missing.missing_keys)
    return detector


def images_and_truths() -> tuple[list[Tensor], list[GroundTruth]]:
    rng = torch.Generator().manual_seed(5)
    # a size that needs no resizing: torchvision resizes masks, snellen does not
    images = [torch.rand(3, 96, 120, generator=rng), torch.rand(3, 96, 96, generator=rng)]
    truths = []
    for image in images:
        corner = torch.rand(4, 2, generator=rng) * 40
        boxes = torch.cat([corner, corner + 15 + torch.rand(4, 2, generator=rng) * 35], 1)
        masks = torch.zeros(4, *image.shape[1:], dtype=torch.bool)
        for k, (x1, y1, x2, y2) in enumerate(boxes.long().tolist()):
            masks[k, y1 + 2 : y2, x1 : x2 - 3] = True
        points = torch.cat(
            [boxes[:, None, :2] + torch.rand(4, 5, 2, generator=rng) * 14, torch.full((4, 5, 1), 2.0)], 2
        )
        all_false = torch.zeros(4, dtype=torch.bool)
        labels = torch.randint(0, CLASSES, (4,), generator=rng)
        truths.append(GroundTruth(boxes, labels, all_false, all_false, masks.flatten(1).sum(1).float(), masks, points))
    return images, truths


PAIRS = {
    "objectness": "loss_objectness",
    "proposals": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
    "keypoint": "loss_keypoint",
}


@pytest.mark.parametrize("kind", ["boxes", "masks", "keypoints"])
def test_losses_and_gradients_equal_torchvisions(kind: str) -> None:
    other = torchvision_detector(kind).train()
    detector = snellen_detector(kind, other).train()
    for module in (*other.modules(), *detector.modules()):
        if isinstance(module, nn.BatchNorm2d):  # over a few cells it amplifies rounding errors
            module.eval()
    images, truths = images_and_truths()
    targets = [
        {
            "boxes": truth.boxes,
            "labels": truth.labels + 1,
            "masks": truth.masks.to(torch.uint8),  # type: ignore[union-attr]
            "keypoints": truth.keypoints,
        }
        for truth in truths
    ]
    torch.manual_seed(1)
    expected_losses = other(images, targets)
    torch.manual_seed(1)
    for _ in images:
        torch.empty(1).uniform_()  # torchvision samples the size of each image among one
    losses = detector.losses(images, truths)
    assert {PAIRS[name] for name in losses} == set(expected_losses)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected_losses[PAIRS[name]], rtol=1e-4, atol=1e-6)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    sum(expected_losses.values()).backward()
    gradients = {to_snellen_name(name): parameter.grad for name, parameter in other.named_parameters()}
    for name, parameter in detector.named_parameters():
        expected = gradients[name]
        assert expected is not None
        assert parameter.grad is not None
        difference = float((parameter.grad - expected).norm())  # rounding changes a few ReLUs
        assert difference <= 5e-3 * float(expected.norm()) + 1e-6, name


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_detections_equal_torchvisions(kind: str) -> None:
    other = torchvision_detector(kind)
    detector = snellen_detector(kind, other).eval()
    other.eval()
    images, _ = images_and_truths()
    with torch.no_grad():
        expected, detections = other(images), detector.detect(images)
    for one, two in zip(expected, detections, strict=True):
        assert len(one["boxes"]) > 20
        torch.testing.assert_close(two.boxes, one["boxes"], rtol=0, atol=1e-2)
        torch.testing.assert_close(two.scores, one["scores"], rtol=0, atol=1e-4)
        assert torch.equal(two.labels, one["labels"] - 1)
        if kind == "masks":
            assert two.masks is not None
            for region, mask in zip(two.masks, one["masks"], strict=True):
                full = region.full(*mask.shape[1:])
                assert float((full != (mask[0] > 0.5)).float().mean()) < 0.01


def test_a_batch_of_images_of_one_size_gives_the_detections_of_a_list() -> None:
    detector = snellen_detector("boxes", torchvision_detector("boxes")).eval()
    image = images_and_truths()[0][0]
    with torch.no_grad():
        padded = detector.detect_padded(torch.stack([image, image.flip(2)]))
        listed = detector.detect([image, image.flip(2)])
    assert padded["boxes"].shape == (2, 100, 4)
    for k, one in enumerate(listed):
        count = int(padded["count"][k])
        assert count == len(one.boxes)
        torch.testing.assert_close(padded["boxes"][k, :count], one.boxes)
        torch.testing.assert_close(padded["scores"][k, :count], one.scores)
        assert not padded["boxes"][k, count:].any()
