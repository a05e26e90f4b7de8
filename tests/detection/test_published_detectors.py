"""Published weights: every detector that may begin with some says what torchvision's own detector says of them.

The file is made here, of random weights, under the name and with the old names of tensors of the real one; torchvision
reads it by the way that its users take.
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
from snellen.detection.checkpoints import Published
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.keypoint_head import told
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
BACKGROUND = {"retinanet": 0, "fcos": 0}  # classes before the first; these two give it a place of its own, unused
SIDES = (160, 256)  # in place of 800 and 1333, for time
PICTURES = ((120, 200), (250, 140))  # height and width
MOST = 6  # finds whose mask or keypoints are looked at, for time


# -- a file as it is published ---------------------------------------------------------------------------------------


def published(learner: str, backbone: str) -> Published:
    found: Published = MODULES[learner].PUBLISHED[backbone]
    return found


def pictures() -> list[Tensor]:
    """Discs and stripes in noise, uint8."""
    drawn = torch.Generator().manual_seed(4)
    made = []
    for height, width in PICTURES:
        x = torch.randint(0, 120, (3, height, width), generator=drawn)
        for _ in range(6):
            y, z, r = (
                int(torch.randint(low, high, (1,), generator=drawn)) for low, high in ((0, height), (0, width), (8, 40))
            )
            disc = (torch.arange(height)[:, None] - y) ** 2 + (torch.arange(width) - z) ** 2 <= r * r
            x[:, disc] += torch.randint(0, 135, (3, 1), generator=drawn)
        made.append(x.to(torch.uint8))
    return made


def small(name: str) -> dict[str, int]:
    """In place of torchvision's sides and numbers of finds, for time; SSDLite's sides are a part of it."""
    sides = {} if name.startswith("ssdlite") else dict(zip(("min_size", "max_size"), SIDES, strict=True))
    return {**sides, "box_detections_per_img": MOST} if name.startswith(("mask", "keypoint")) else sides


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
}  # deviations of what they say


def drawn(name: str) -> nn.Module:
    """torchvision's detector with weights that are far from those it begins with, and do not blow up."""
    torch.manual_seed(0)
    net: nn.Module = get_model_builder(name)(weights=None, weights_backbone=None, **small(name))
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            part.weight.data *= 0.5 if name.startswith("ssdlite") else 0.02  # variances near to what is added to them
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0.3, 0.2)
    images = [picture / 255 for picture in pictures()]
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
                scaled(net, images[:1], net.get_submodule(last), deviation / (3 if name.startswith("keypoint") else 1))
        if name.startswith("fcos"):
            net.head.regression_head.bbox_reg.bias.fill_(1.5)  # type: ignore[union-attr, operator]
    return net


def scaled(net: nn.Module, images: list[Tensor], last: nn.Module, deviation: float) -> None:
    """Makes what a layer says vary so much over places."""
    seen: list[Tensor] = []
    hook = last.register_forward_hook(lambda part, given, said: seen.append(said.flatten()))
    net(images)
    hook.remove()
    last.weight.mul_(deviation / torch.cat(seen).std())  # type: ignore[operator, union-attr]
    last.bias.normal_(0, 0.3 * deviation)  # type: ignore[operator, union-attr]


OLD = [(r"(rpn\.head\.conv)\.0\.0\.", r"\1."), (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.0\.", r"\1.")]


def aged(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Under the names of the real files, which are older than today's code."""
    found = {}
    for key, tensor in state.items():
        for new, old in OLD:
            key = re.sub(new, old, key)
        if name.startswith("retinanet"):
            key = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", key)
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        found[key] = tensor
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch")


@pytest.fixture
def file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the file of a name into torch's cache, and lets its sum be right."""
    monkeypatch.setenv("TORCH_HOME", str(cache))
    begins = re.compile(r"-([0-9a-f]{8,})\.")
    monkeypatch.setattr("snellen.core.files.sha256", lambda path: begins.search(path.name)[1])  # type: ignore[index]

    def write(name: str) -> Path:
        path = cache / "hub" / "checkpoints" / get_model_weights(name).DEFAULT.url.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            torch.save(aged(drawn(name).state_dict(), name), path)
        return path

    return write


def spec_of(classes: int, learner: str, points: int = 17) -> Spec:
    told = tuple(f"point {k}" for k in range(points)) if learner == "keypoint-rcnn" else ()
    target = Boxes(names=tuple(f"class {k}" for k in range(classes)), masks=learner == "mask-rcnn", keypoints=told)
    image = Input(modality="image", shape=(3, None, None), dtype="uint8")
    return Spec(name="x", inputs={"image": image}, target=target)


def task_of(learner: str) -> str:
    return next(name for name, some in LEARNERS.items() if learner in some)


def ours(learner: str, backbone: str, spec: Spec, tmp_path: Path, **how: Any) -> tuple[Detector, Run]:
    module, run = MODULES[learner], Run(tmp_path / "run")
    task = task_of(learner)
    c = make(LEARNERS[task][learner].settings, {"backbone": backbone, "pretrained": "published", **how})
    model = module.build(c, spec)
    LEARNERS[task][learner].needs(c, spec)
    module.begin(c.sight, module.PUBLISHED, learner, model, run)
    return model.eval(), run


# -- the same finds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_finds_are_those_of_torchvision(
    learner: str, backbone: str, file: Callable[[str], Path], tmp_path: Path
) -> None:
    known = published(learner, backbone)
    file(known.name)
    theirs = get_model_builder(known.name)(weights="DEFAULT", **small(known.name)).eval()
    before = BACKGROUND.get(learner, 1)
    classes = len(get_model_weights(known.name).DEFAULT.meta["categories"]) - before
    sides = {} if learner == "ssdlite" else dict(zip(("min_size", "max_size"), SIDES, strict=True))
    model, run = ours(learner, backbone, spec_of(classes, learner), tmp_path, **sides)
    assert run.notes["pretrained"]["new"] == []
    if "box_detections_per_img" in small(known.name):
        model.body.regions.choice = replace(model.body.regions.choice, most=MOST)  # type: ignore[union-attr, arg-type]
    maps: list[Tensor] = []  # in which keypoints are looked for: theirs, then ours
    if learner == "keypoint-rcnn":
        for predictor in (theirs.roi_heads.keypoint_predictor, model.body.keypoints.predictor):  # type: ignore[union-attr]
            predictor.register_forward_hook(lambda part, given, said: maps.append(said))  # type: ignore[operator]
    with torch.no_grad():
        wanted = [theirs([picture / 255])[0] for picture in pictures()]
        found = [model.detect([picture])[0] for picture in pictures()]
    for number, (picture, one, two) in enumerate(zip(pictures(), wanted, found, strict=True)):
        places = same(one, two, before)
        if two.masks is not None:
            for k, place in places:
                full = two.masks[place].full(*picture.shape[1:])
                assert float((full != (one["masks"][k, 0] > 0.5)).float().mean()) < 1e-3
        if two.keypoints is not None:
            own = maps[len(wanted) + number]
            for k, place in places:
                torch.testing.assert_close(own[place], maps[number][k], rtol=0, atol=5e-3)


def same(one: dict[str, Tensor], two: Detections, before: int) -> list[tuple[int, int]]:
    """Which of torchvision's finds is which of ours. Of equal scores the order is free, and the last may be cut off."""
    wide = ((one["boxes"][:, 2:] - one["boxes"][:, :2]) >= 0.01).all(1)  # ours have an area
    count = min(int(wide.sum()), 100)
    last = float(one["scores"][wide][count - 1])
    assert len(two.scores) >= count
    pairs = []
    for k in torch.nonzero(wide & (one["scores"] > last + 1e-4))[:, 0].tolist():
        alike = (
            (two.labels == one["labels"][k] - before)
            & ((two.scores - one["scores"][k]).abs() < 1e-4)
            & ((two.boxes - one["boxes"][k]).abs().amax(1) < 0.02)
        )
        assert bool(alike.any()), f"{one['labels'][k]} at {one['boxes'][k]}, {one['scores'][k]}"
        pairs.append((k, int(torch.nonzero(alike)[0, 0])))
    assert len(pairs) > 2
    assert len({place for _, place in pairs}) == len(pairs)
    assert float(two.scores[max(place for _, place in pairs) + 1 :].max()) <= last + 2e-4  # nothing comes between
    return pairs


def test_keypoints_lie_where_torchvision_reads_them_from_the_same_maps() -> None:
    """It enlarges a map to the size of its box and takes the best pixel; ours puts a parabola through the best cell."""
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    drawn = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[10.0, 20.0, 122.0, 244.0], [0.0, 0.0, 56.0, 80.0], [5.5, 3.0, 300.0, 215.5]])
    place, wide = torch.rand(3, 17, 2, generator=drawn) * 40 + 8, torch.rand(3, 17, 1, 1, generator=drawn) * 2 + 1.5
    at = torch.arange(56) + 0.5
    far = (at[:, None] - place[..., 1, None, None]) ** 2 + (at - place[..., 0, None, None]) ** 2
    maps = 8 * (-far / (2 * wide**2)).exp()
    wanted, _ = heatmaps_to_keypoints(maps, boxes)
    found = told(maps, boxes)
    half = (boxes[:, 2:] - boxes[:, :2])[:, None] / 56 / 2 + 0.5  # a half of a cell, and of the pixel that theirs is
    assert bool(((found[..., :2] - wanted[..., :2]).abs() <= half).all())
    true = place * (boxes[:, 2:] - boxes[:, :2])[:, None] / 56 + boxes[:, None, :2]
    assert float((found[..., :2] - true).abs().mean()) < float((wanted[..., :2] - true).abs().mean())


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_it_is_used_as_torchvision_uses_it(learner: str, backbone: str) -> None:
    """Sides, and what is proposed, as the recipe has them where the user says nothing."""
    known = published(learner, backbone)
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
        assert proposals.using == (rpn._pre_nms_top_n["testing"], rpn._post_nms_top_n["testing"])
        assert (proposals.least, proposals.OVERLAP) == (rpn.score_thresh, rpn.nms_thresh)
        choice = model.body.regions.choice
        assert (choice.least, choice.overlap, choice.most) == (
            theirs.roi_heads.score_thresh,
            theirs.roi_heads.nms_thresh,
            theirs.roi_heads.detections_per_img,
        )
    else:
        choice = model.body.choice
        assert (choice.overlap, choice.least <= theirs.score_thresh) == (theirs.nms_thresh, True)


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
def test_a_rate_that_does_not_undo_the_weights_is_suggested_only_beside_them(learner: str) -> None:
    one, spec = LEARNERS[task_of(learner)][learner], spec_of(3, learner)

    def rate(**typed: Any) -> Any:
        return values(resolve(one.settings, typed, one.suggest(spec))[0])["lr"]

    usual = rate()
    assert usual == values(one.settings())["lr"]
    assert rate(pretrained="a run") == pytest.approx(usual / 10)
    assert rate(pretrained="a run", from_scratch=True) == usual
    assert rate(pretrained="a run", lr=0.01) == 0.01


@pytest.mark.parametrize(("learner", "backbone"), PAIRS)
def test_with_other_classes_what_tells_of_them_is_new_and_learns(
    learner: str, backbone: str, file: Callable[[str], Path], tmp_path: Path
) -> None:
    file(published(learner, backbone).name)
    sides = {} if learner == "ssdlite" else {"min_size": 64}
    model, run = ours(learner, backbone, spec_of(2, learner, points=2), tmp_path, **sides)
    new = run.notes["pretrained"]["new"]
    assert {name.rpartition(".")[0] for name in new} == HEADS[learner]
    model.train()
    scenes = [blocks.blocks(8, masks=True, keypoints=True).scenes("train").at(k) for k in range(2)]
    losses = model.losses([scene.image.expand(3, -1, -1) for scene in scenes], [scene.truth for scene in scenes])
    torch.stack(list(losses.values())).sum().backward()
    named = dict(model.named_parameters())
    before = {name: named[name].detach().clone() for name in new}
    torch.optim.SGD([one for one in named.values() if one.requires_grad], 0.01).step()
    assert all(bool(torch.isfinite(one).all()) for one in named.values())
    moved = [name for name, old in before.items() if not torch.equal(named[name], old)]
    learned = new[:4] if learner == "ssdlite" else new  # few places of its small maps are learned from
    assert moved[: len(learned)] == learned
