"""Published weights: every detector that supports them has the detections of torchvision's detector.

The weights file is generated with random weights, under the file name and the old tensor names of the real one;
torchvision loads it as for its users.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import blocks
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model_builder, get_model_weights

from snellen.core.detections import Detections
from snellen.core.run import Run
from snellen.core.settings import make, resolve, values
from snellen.core.spec import Boxes, Input, Spec
from snellen.detection.checkpoints import DetectorCheckpoint
from snellen.detection.pretrained import load_pretrained
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.keypoint_head import decode_heatmaps
from snellen.tasks import LEARNERS
from snellen.tasks.detect import faster_rcnn, fcos, retinanet, ssdlite
from snellen.tasks.instances import mask_rcnn
from snellen.tasks.keypoints import keypoint_rcnn

MODULES = {
    "faster-rcnn": faster_rcnn,
    "fcos": fcos,
    "retinanet": retinanet,
    "ssdlite": ssdlite,
    "mask-rcnn": mask_rcnn,
    "keypoint-rcnn": keypoint_rcnn,
}
PAIRS = [(learner, backbone) for learner, module in MODULES.items() for backbone in module.PUBLISHED]
BACKGROUND = {"retinanet": 0, "fcos": 0}  # label offset; torchvision's two have an unused label for the background
SIDES = (160, 256)  # instead of 800 and 1333, for speed
IMAGE_SIZES = ((120, 200), (250, 140))  # height and width
MAX_DETECTIONS = 6  # with masks or keypoints, for speed


# -- weights file as published ---------------------------------------------------------------------------------------


def checkpoint(learner: str, backbone: str) -> DetectorCheckpoint:
    result: DetectorCheckpoint = MODULES[learner].PUBLISHED[backbone]
    return result


def random_images() -> list[Tensor]:
    """Discs in noise, uint8."""
    generator = torch.Generator().manual_seed(4)
    images = []
    for height, width in IMAGE_SIZES:
        x = torch.randint(0, 120, (3, height, width), generator=generator)
        for _ in range(6):
            y, z, r = (
                int(torch.randint(low, high, (1,), generator=generator))
                for low, high in ((0, height), (0, width), (8, 40))
            )
            disc = (torch.arange(height)[:, None] - y) ** 2 + (torch.arange(width) - z) ** 2 <= r * r
            x[:, disc] += torch.randint(0, 135, (3, 1), generator=generator)
        images.append(x.to(torch.uint8))
    return images


def fast_options(name: str) -> dict[str, int]:
    """Options of torchvision's detector for speed: image size and number of detections; SSDLite's size is fixed."""
    sides = {} if name.startswith("ssdlite") else dict(zip(("min_size", "max_size"), SIDES, strict=True))
    return {**sides, "box_detections_per_img": MAX_DETECTIONS} if name.startswith(("mask", "keypoint")) else sides


LAST = {
    "rpn.head.cls_logits": 1.5,
    "rpn.head.bbox_pred": 0.3,
    "roi_heads.box_predictor.cls_score": 3.0,
    "roi_heads.box_predictor.bbox_pred": 1.0,
    "roi_heads.mask_predictor.mask_fcn_logits": 2.0,
    "roi_heads.keypoint_predictor.kps_score_lowres": 2.0,
    "head.classification_head.cls_logits": 0.6,
    "head.regression_head.bbox_reg": 0.3,
    "head.regression_head.bbox_ctrness": 1.0,
    **{f"head.classification_head.module_list.{k}.1": 2.0 for k in range(6)},
    **{f"head.regression_head.module_list.{k}.1": 1.0 for k in range(6)},
}  # standard deviations of the outputs of these layers


def random_detector(name: str) -> nn.Module:
    """torchvision's detector with random weights far from its initialisation and with bounded outputs."""
    torch.manual_seed(0)
    net: nn.Module = get_model_builder(name)(weights=None, weights_backbone=None, **fast_options(name))
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            part.weight.data *= 0.5 if name.startswith("ssdlite") else 0.02  # variances of the order of epsilon
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0.3, 0.2)
    images = [image / 255 for image in random_images()]
    with torch.no_grad():
        net.train()
        maps = net.backbone(net.transform(images)[0].tensors)  # type: ignore[operator, union-attr]
        if name.startswith("ssdlite"):
            net.head(list(maps.values()))  # type: ignore[operator]
        net.eval()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean += 0.3 * part.running_var.sqrt() * torch.randn(len(part.weight))  # type: ignore[operator, union-attr]
                part.running_var *= torch.empty(len(part.weight)).uniform_(0.8, 1.25)  # type: ignore[operator]
        for last, deviation in LAST.items():
            if any(last == own for own, _ in net.named_modules()):
                scale_outputs(
                    net, images[:1], net.get_submodule(last), deviation / (3 if name.startswith("keypoint") else 1)
                )
        if name.startswith("fcos"):
            net.head.regression_head.bbox_reg.bias.fill_(1.5)  # type: ignore[union-attr, operator]
    return net


def scale_outputs(net: nn.Module, images: list[Tensor], last: nn.Module, deviation: float) -> None:
    """Scale the weights of a layer so that its outputs have this standard deviation over locations."""
    outputs: list[Tensor] = []
    hook = last.register_forward_hook(lambda module, inputs, output: outputs.append(output.flatten()))
    net(images)
    hook.remove()
    last.weight.mul_(deviation / torch.cat(outputs).std())  # type: ignore[operator, union-attr]
    last.bias.normal_(0, 0.3 * deviation)  # type: ignore[operator, union-attr]


OLD_NAMES = [(r"(rpn\.head\.conv)\.0\.0\.", r"\1."), (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.0\.", r"\1.")]


def with_old_names(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """State dict under the tensor names of the real files, which are older than today's code."""
    renamed = {}
    for key, tensor in state.items():
        for new, old in OLD_NAMES:
            key = re.sub(new, old, key)
        if name.startswith("retinanet"):
            key = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", key)
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        renamed[key] = tensor
    return renamed


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch")


@pytest.fixture
def file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Function that writes the weights file of a detector into torch's cache and makes its checksum valid."""
    monkeypatch.setenv("TORCH_HOME", str(cache))
    prefix = re.compile(r"-([0-9a-f]{8,})\.")
    monkeypatch.setattr("snellen.core.file_io.sha256", lambda path: prefix.search(path.name)[1])  # type: ignore[index]

    def write(name: str) -> Path:
        path = cache / "hub" / "checkpoints" / get_model_weights(name).DEFAULT.url.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            torch.save(with_old_names(random_detector(name).state_dict(), name), path)
        return path

    return write


def spec_of(classes: int, learner: str, points: int = 17) -> Spec:
    keypoints = tuple(f"point {k}" for k in range(points)) if learner == "keypoint-rcnn" else ()
    target = Boxes(names=tuple(f"class {k}" for k in range(classes)), masks=learner == "mask-rcnn", keypoints=keypoints)
    image = Input(modality="image", shape=(3, None, None), dtype="uint8")
    return Spec(name="x", inputs={"image": image}, target=target)


def task_of(learner: str) -> str:
    return next(name for name, learners in LEARNERS.items() if learner in learners)


def pretrained_model(
    learner: str, backbone: str, spec: Spec, tmp_path: Path, **settings: Any
) -> tuple[DetectionNetwork, Run]:
    module, run = MODULES[learner], Run(tmp_path / "run")
    task = task_of(learner)
    c = make(LEARNERS[task][learner].settings, {"backbone": backbone, "pretrained": "published", **settings})
    model = module.build(c, spec)
    LEARNERS[task][learner].check_requirements(c, spec)
    load_pretrained(c.backbone_settings, module.PUBLISHED, learner, model, run)
    return model.eval(), run


# -- equal detections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_detections_equal_those_of_torchvision(
    learner: str, backbone: str, file: Callable[[str], Path], tmp_path: Path
) -> None:
    known = checkpoint(learner, backbone)
    file(known.name)
    theirs = get_model_builder(known.name)(weights="DEFAULT", **fast_options(known.name)).eval()
    before = BACKGROUND.get(learner, 1)
    classes = len(get_model_weights(known.name).DEFAULT.meta["categories"]) - before
    sides = {} if learner == "ssdlite" else dict(zip(("min_size", "max_size"), SIDES, strict=True))
    model, run = pretrained_model(learner, backbone, spec_of(classes, learner), tmp_path, **sides)
    assert run.notes["pretrained"]["new"] == []
    if "box_detections_per_img" in fast_options(known.name):
        model.body.regions.detection_filter = replace(
            model.body.regions.detection_filter, max_detections=MAX_DETECTIONS
        )  # type: ignore[union-attr, arg-type]
    maps: list[Tensor] = []  # keypoint heatmaps: torchvision's, then ours
    if learner == "keypoint-rcnn":
        for predictor in (theirs.roi_heads.keypoint_predictor, model.body.keypoints.predictor):  # type: ignore[union-attr]
            predictor.register_forward_hook(lambda module, inputs, output: maps.append(output))  # type: ignore[operator]
    with torch.no_grad():
        expected = [theirs([image / 255])[0] for image in random_images()]
        actual = [model.detect([image])[0] for image in random_images()]
    for number, (image, one, two) in enumerate(zip(random_images(), expected, actual, strict=True)):
        pairs = match_detections(one, two, before)
        if two.masks is not None:
            for k, index in pairs:
                full = two.masks[index].full(*image.shape[1:])
                assert float((full != (one["masks"][k, 0] > 0.5)).float().mean()) < 1e-3
        if two.keypoints is not None:
            own = maps[len(expected) + number]
            for k, index in pairs:
                torch.testing.assert_close(own[index], maps[number][k], rtol=0, atol=5e-3)


def match_detections(one: dict[str, Tensor], two: Detections, before: int) -> list[tuple[int, int]]:
    """Index pairs of equal detections of torchvision and ours; equal scores in any order, the last may be missing."""
    has_area = ((one["boxes"][:, 2:] - one["boxes"][:, :2]) >= 0.01).all(1)  # ours all have an area
    count = min(int(has_area.sum()), 100)
    last = float(one["scores"][has_area][count - 1])
    assert len(two.scores) >= count
    pairs = []
    for k in torch.nonzero(has_area & (one["scores"] > last + 1e-4))[:, 0].tolist():
        is_equal = (
            (two.labels == one["labels"][k] - before)
            & ((two.scores - one["scores"][k]).abs() < 1e-4)
            & ((two.boxes - one["boxes"][k]).abs().amax(1) < 0.02)
        )
        assert bool(is_equal.any()), f"{one['labels'][k]} at {one['boxes'][k]}, {one['scores'][k]}"
        pairs.append((k, int(torch.nonzero(is_equal)[0, 0])))
    assert len(pairs) > 2
    assert len({index for _, index in pairs}) == len(pairs)
    assert (
        float(two.scores[max(index for _, index in pairs) + 1 :].max()) <= last + 2e-4
    )  # no other detection in between
    return pairs


def test_decoded_keypoints_equal_those_of_torchvision_within_a_cell() -> None:
    """torchvision resizes a heatmap to its box and takes the maximum; ours fits a parabola around the maximum cell."""
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[10.0, 20.0, 122.0, 244.0], [0.0, 0.0, 56.0, 80.0], [5.5, 3.0, 300.0, 215.5]])
    points, widths = (
        torch.rand(3, 17, 2, generator=generator) * 40 + 8,
        torch.rand(3, 17, 1, 1, generator=generator) * 2 + 1.5,
    )
    at = torch.arange(56) + 0.5
    squared_distance = (at[:, None] - points[..., 1, None, None]) ** 2 + (at - points[..., 0, None, None]) ** 2
    maps = 8 * (-squared_distance / (2 * widths**2)).exp()
    expected, _ = heatmaps_to_keypoints(maps, boxes)
    actual = decode_heatmaps(maps, boxes)
    half = (boxes[:, 2:] - boxes[:, :2])[:, None] / 56 / 2 + 0.5  # half a cell, and half a pixel of torchvision's
    assert bool(((actual[..., :2] - expected[..., :2]).abs() <= half).all())
    true = points * (boxes[:, 2:] - boxes[:, :2])[:, None] / 56 + boxes[:, None, :2]
    assert float((actual[..., :2] - true).abs().mean()) < float((expected[..., :2] - true).abs().mean())


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_configuration_equals_that_of_torchvision(learner: str, backbone: str) -> None:
    """Default image sizes, proposals and thresholds with published weights are those of torchvision."""
    known = checkpoint(learner, backbone)
    with torch.device("meta"):
        theirs: Any = get_model_builder(known.name)(weights=None, weights_backbone=None)
        module, spec = MODULES[learner], spec_of(3, learner)
        c = make(LEARNERS[task_of(learner)][learner].settings, {"backbone": backbone, "pretrained": "published"})
        model: Any = module.build(c, spec)
    theirs.transform.eval()
    for height, width in ((480, 640), (1000, 400), (90, 60)):
        resized, _ = theirs.transform.resize(torch.zeros(3, height, width))
        assert model.pictures.size(height, width) == tuple(resized.shape[1:])
    if learner.endswith("rcnn"):
        rpn, proposals = theirs.rpn, model.body.proposals
        assert proposals.test_proposals == (rpn._pre_nms_top_n["testing"], rpn._post_nms_top_n["testing"])
        assert (proposals.min_objectness, proposals.NMS_THRESHOLD) == (rpn.score_thresh, rpn.nms_thresh)
        choice = model.body.regions.detection_filter
        assert (choice.score_threshold, choice.nms_threshold, choice.max_detections) == (
            theirs.roi_heads.score_thresh,
            theirs.roi_heads.nms_thresh,
            theirs.roi_heads.detections_per_img,
        )
    else:
        choice = model.body.detection_filter
        assert (choice.nms_threshold, choice.score_threshold <= theirs.score_thresh) == (theirs.nms_thresh, True)


# -- other classes ---------------------------------------------------------------------------------------------------


HEADS = {
    "faster-rcnn": {"body.regions.predictor.cls_score", "body.regions.predictor.bbox_pred"},
    "mask-rcnn": {
        "body.regions.predictor.cls_score",
        "body.regions.predictor.bbox_pred",
        "body.masks.predictor.mask_fcn_logits",
    },
    "keypoint-rcnn": {
        "body.regions.predictor.cls_score",
        "body.regions.predictor.bbox_pred",
        "body.keypoints.predictor.kps_score_lowres",
    },
    "retinanet": {"body.head.classification_head.cls_logits"},
    "fcos": {"body.head.classification_head.cls_logits"},
    "ssdlite": {f"body.head.classification_head.module_list.{k}.1" for k in range(6)},
}


@pytest.mark.parametrize("learner", sorted(MODULES))
def test_a_fine_tuning_learning_rate_is_suggested_only_with_pretrained_weights(learner: str) -> None:
    one, spec = LEARNERS[task_of(learner)][learner], spec_of(3, learner)

    def learning_rate(**typed: Any) -> Any:
        return values(resolve(one.settings, typed, one.suggest(spec))[0])["lr"]

    default = learning_rate()
    assert default == values(one.settings())["lr"]
    assert learning_rate(pretrained="a run") == pytest.approx(default / 10)
    assert learning_rate(pretrained="a run", from_scratch=True) == default
    assert learning_rate(pretrained="a run", lr=0.01) == 0.01


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_class_layers_are_new_and_train_for_other_classes(
    learner: str, backbone: str, file: Callable[[str], Path], tmp_path: Path
) -> None:
    file(checkpoint(learner, backbone).name)
    sides = {} if learner == "ssdlite" else {"min_size": 64}
    model, run = pretrained_model(learner, backbone, spec_of(2, learner, points=2), tmp_path, **sides)
    new = run.notes["pretrained"]["new"]
    assert {name.rpartition(".")[0] for name in new} == HEADS[learner]
    model.train()
    scenes = [blocks.block_dataset(8, masks=True, keypoints=True).scenes("train").at(k) for k in range(2)]
    losses = model.losses([scene.image.expand(3, -1, -1) for scene in scenes], [scene.truth for scene in scenes])
    torch.stack(list(losses.values())).sum().backward()
    named = dict(model.named_parameters())
    before = {name: named[name].detach().clone() for name in new}
    torch.optim.SGD([one for one in named.values() if one.requires_grad], 0.01).step()
    assert all(bool(torch.isfinite(one).all()) for one in named.values())
    moved = [name for name, old in before.items() if not torch.equal(named[name], old)]
    learned = new[:4] if learner == "ssdlite" else new  # few locations of its small feature maps are positive
    assert moved[: len(learned)] == learned
