"""Our detectors with torchvision's weights: the same losses and gradients, and the same finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from snellen.core.detections import Objects
from snellen.core.spec import Input
from snellen.detection.pretrained import renamed
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import pyramid
from snellen.nn.detection.builders import Plan, two_stage
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.rpn import Share
from snellen.nn.layers import Standardize

SIZES, CLASSES = (16, 32, 64, 96, 128), 3


def theirs(kind: str) -> nn.Module:
    torch.manual_seed(0)
    how: dict[str, Any] = {
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
    fine = MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
    maps = pyramid("small", 3, "batch")
    if kind == "masks":
        made: nn.Module = MaskRCNN(
            maps, CLASSES + 1, rpn_anchor_generator=anchors, box_roi_pool=pool, mask_roi_pool=fine, **how
        )
    elif kind == "keypoints":
        made = KeypointRCNN(
            maps,
            CLASSES + 1,
            rpn_anchor_generator=anchors,
            box_roi_pool=pool,
            keypoint_roi_pool=fine,
            num_keypoints=5,
            **how,
        )
    else:
        made = FasterRCNN(maps, CLASSES + 1, rpn_anchor_generator=anchors, box_roi_pool=pool, **how)
    for name, parameter in made.named_parameters():  # far from chance, so that no two scores are near each other
        if parameter.ndim > 1 and ("head" in name or "predictor" in name):
            nn.init.kaiming_normal_(parameter)
            parameter.data *= 0.1 if "cls_logits" in name or "bbox_pred" in name else 1
        if parameter.ndim == 1:  # beyond the border of a picture all is 0, the very place where ReLU turns
            nn.init.normal_(parameter, mean=1.0 if "weight" in name else 0.0, std=0.1)
    return made


def ours(kind: str, other: nn.Module) -> Detector:
    plan = Plan(
        classes=CLASSES,
        masks="joint" if kind == "masks" else "none",
        keypoints=5 if kind == "keypoints" else 0,
        aligned=False,
        learning=(200, 100),
        using=(200, 100),
        share=Share(count=64, positive=0.25, high=0.5, low=0.5),
    )
    standardize = Standardize(Input(modality="image", shape=(3, None, None), dtype="float32"))
    standardize.mean.copy_(torch.tensor([0.485, 0.456, 0.406]))
    standardize.std.copy_(torch.tensor([0.229, 0.224, 0.225]))
    standardize.load_state_dict(standardize.state_dict())
    anchors = Anchors([[size] for size in SIZES])
    made = Detector(DetectorTransform(standardize, 96, 160), two_stage(pyramid("small", 3, "batch"), anchors, plan))
    found = {renamed(name): tensor for name, tensor in other.state_dict().items()}
    missing = made.load_state_dict(found, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith(("pictures.", "threshold", "body.proposals.anchors")) for name in missing.missing_keys)
    return made


def scenes() -> tuple[list[Tensor], list[Objects]]:
    drawn = torch.Generator().manual_seed(5)
    # of a size that is not scaled: torchvision scales masks, we read them at their own size
    images = [torch.rand(3, 96, 120, generator=drawn), torch.rand(3, 96, 96, generator=drawn)]
    truths = []
    for image in images:
        corner = torch.rand(4, 2, generator=drawn) * 40
        boxes = torch.cat([corner, corner + 15 + torch.rand(4, 2, generator=drawn) * 35], 1)
        masks = torch.zeros(4, *image.shape[1:], dtype=torch.bool)
        for k, (x1, y1, x2, y2) in enumerate(boxes.long().tolist()):
            masks[k, y1 + 2 : y2, x1 : x2 - 3] = True
        points = torch.cat(
            [boxes[:, None, :2] + torch.rand(4, 5, 2, generator=drawn) * 14, torch.full((4, 5, 1), 2.0)], 2
        )
        none = torch.zeros(4, dtype=torch.bool)
        labels = torch.randint(0, CLASSES, (4,), generator=drawn)
        truths.append(Objects(boxes, labels, none, none, masks.flatten(1).sum(1).float(), masks, points))
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
def test_losses_and_gradients_are_those_of_torchvision(kind: str) -> None:
    other = theirs(kind).train()
    made = ours(kind, other).train()
    for module in (*other.modules(), *made.modules()):
        if isinstance(module, nn.BatchNorm2d):  # over a few cells it would blow rounding up
            module.eval()
    images, truths = scenes()
    targets = [
        {
            "boxes": one.boxes,
            "labels": one.labels + 1,
            "masks": one.masks.to(torch.uint8),  # type: ignore[union-attr]
            "keypoints": one.keypoints,
        }
        for one in truths
    ]
    torch.manual_seed(1)
    wanted = other(images, targets)
    torch.manual_seed(1)
    for _ in images:
        torch.empty(1).uniform_()  # torchvision draws the size of each picture, of one
    found = made.losses(images, truths)
    assert {PAIRS[name] for name in found} == set(wanted)
    for name, loss in found.items():
        torch.testing.assert_close(loss, wanted[PAIRS[name]], rtol=1e-4, atol=1e-6)
    sum(found.values()).backward()  # type: ignore[union-attr]
    sum(wanted.values()).backward()
    gradients = {renamed(name): parameter.grad for name, parameter in other.named_parameters()}
    for name, parameter in made.named_parameters():
        expected = gradients[name]
        assert expected is not None
        assert parameter.grad is not None
        apart = float((parameter.grad - expected).norm())  # rounding turns a ReLU here and there
        assert apart <= 5e-3 * float(expected.norm()) + 1e-6, name


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_finds_are_those_of_torchvision(kind: str) -> None:
    other = theirs(kind)
    made = ours(kind, other).eval()
    other.eval()
    images, _ = scenes()
    with torch.no_grad():
        wanted, found = other(images), made.detect(images)
    for one, two in zip(wanted, found, strict=True):
        assert len(one["boxes"]) > 20
        torch.testing.assert_close(two.boxes, one["boxes"], rtol=0, atol=1e-2)
        torch.testing.assert_close(two.scores, one["scores"], rtol=0, atol=1e-4)
        assert torch.equal(two.labels, one["labels"] - 1)
        if kind == "masks":
            assert two.masks is not None
            for region, mask in zip(two.masks, one["masks"], strict=True):
                full = region.full(*mask.shape[1:])
                assert float((full != (mask[0] > 0.5)).float().mean()) < 0.01


def test_a_batch_of_one_size_says_what_a_list_says() -> None:
    made = ours("boxes", theirs("boxes")).eval()
    image = scenes()[0][0]
    with torch.no_grad():
        padded = made.padded(torch.stack([image, image.flip(2)]))
        listed = made.detect([image, image.flip(2)])
    assert padded["boxes"].shape == (2, 100, 4)
    for k, one in enumerate(listed):
        count = int(padded["count"][k])
        assert count == len(one.boxes)
        torch.testing.assert_close(padded["boxes"][k, :count], one.boxes)
        torch.testing.assert_close(padded["scores"][k, :count], one.scores)
        assert not padded["boxes"][k, count:].any()
