"""Selective search: region proposals by hierarchical grouping of regions of similar colour and texture.

Source: Uijlings, van de Sande, Gevers and Smeulders 2013, "Selective search for object recognition"; lecture 003.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.errors import EnvironmentProblem
from snellen.core.run import Run
from snellen.data.scenes import Scenes
from snellen.nn.detection.detector import DetectionNetwork


def check_opencv() -> None:
    """Raise EnvironmentProblem if OpenCV's extra modules are missing."""
    try:
        import cv2

        cv2.ximgproc.segmentation  # noqa: B018
    except (ImportError, AttributeError):
        raise EnvironmentProblem(
            "Selective search needs OpenCV's extra modules, which are not installed",
            'Run: pip install "snellen[proposals]"',
        ) from None


class SelectiveSearch:
    """Region proposals of images, cached by image content.

    Proposals depend on the image alone, so a resumed run gets the same ones whether they were cached or not.

    Args:
        side: pixels of the shorter side to which an image is reduced first.
        max_proposals: maximum per image; more are thinned at even steps of their sorted order.
    """

    def __init__(self, side: int, max_proposals: int) -> None:
        self.side = side
        self.max_proposals = max_proposals
        self.cache: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> SelectiveSearch:
        return self  # the averaged copy of the weights shares the cache

    def __call__(self, x: Tensor) -> Tensor:
        """Proposals of a standardised image, (C, H, W) to (P, 4) float32 on the CPU."""
        pixels = (x.detach().float() * 50 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        pixels = np.ascontiguousarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, 2))
        name = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode(), digest_size=16).hexdigest()
        if name not in self.cache:
            self.cache[name] = self.compute(pixels)
        return self.cache[name]

    def compute(self, pixels: np.ndarray) -> Tensor:
        """Proposals of an image, (H, W, 3) uint8 to (P, 4), sorted: OpenCV's order is random."""
        check_opencv()
        import cv2

        height, width = pixels.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        segmentation = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        segmentation.setBaseImage(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA))
        segmentation.switchToSelectiveSearchFast()
        corners = np.unique(np.asarray(segmentation.process(), np.int64).reshape(-1, 4), axis=0)  # x, y, width, height
        corners = corners[(corners[:, 2:] > 1).all(1)]
        if len(corners) > self.max_proposals:
            corners = corners[np.linspace(0, len(corners) - 1, self.max_proposals).round().astype(np.int64)]
        boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1).astype(np.float32)
        boxes = np.concatenate([boxes, [[0, 0, *small]]]).astype(np.float32)
        ratio = np.array([width / small[0], height / small[1]] * 2, np.float32)
        return torch.from_numpy(boxes * ratio)

    def state_dict(self) -> dict[str, Any]:
        empty = torch.zeros(0, 4)
        return {
            "names": ",".join(self.cache),
            "counts": torch.tensor([len(boxes) for boxes in self.cache.values()]),
            "boxes": torch.cat([empty, *self.cache.values()]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        names = [name for name in str(state["names"]).split(",") if name]
        boxes = state["boxes"].split(state["counts"].long().tolist()) if names else ()
        self.cache = dict(zip(names, boxes, strict=True))


def cache_proposals(model: DetectionNetwork, proposer: SelectiveSearch, scenes: list[Scenes], run: Run) -> None:
    """First training stage: compute and store the proposals of every image, and report their recall.

    Recall is the fraction of objects that a proposal covers with an IoU of at least 0.5.
    """
    run.keep(proposals=proposer)
    images = [(split, position) for split in scenes for position in range(len(split))]
    for step in run.steps(len(images), "proposals"):
        split, position = images[step]
        image_proposals(model, proposer, split, position)
    by_split = [proposal_recall(model, proposer, split) for split in scenes if len(split)]
    stored = run.once("recall", lambda: {"recall": by_split[-1][0], "regions": by_split[-1][1]})
    run.notes["proposals"] = {
        "recall at 0.5": round(stored["recall"], 4),
        "regions a picture": round(stored["regions"], 1),
    }
    run.message(
        f"Selective search: {stored['regions']:.0f} region proposals per image, recall "
        f"{100 * stored['recall']:.1f} % of the objects of the validation split (IoU ≥ 0.5)."
    )


def image_proposals(model: DetectionNetwork, proposer: SelectiveSearch, scenes: Scenes, position: int) -> Tensor:
    """Proposals of one image, (P, 4) in pixels of the resized network input."""
    batch = model.pictures([scenes.image(int(scenes.ids[position])).to(scenes.device)])
    height, width = (int(side) for side in batch.sizes[0])
    return proposer(batch.x[0, :, :height, :width])


def proposal_recall(model: DetectionNetwork, proposer: SelectiveSearch, scenes: Scenes) -> tuple[float, float]:
    """Recall of the proposals at IoU 0.5, and their mean number per image."""
    from torchvision.ops import box_iou

    hits = num_objects = num_proposals = 0
    for position in range(len(scenes)):
        boxes = image_proposals(model, proposer, scenes, position)
        scene = scenes.at(position)
        assert isinstance(scene.truth, GroundTruth)
        batch = model.pictures([scene.image])
        true = batch.to_network_pixels(0, scene.truth).trainable.boxes.cpu()
        num_proposals += len(boxes)
        num_objects += len(true)
        hits += int((box_iou(true, boxes).amax(1) >= 0.5).sum()) if len(true) else 0
    return hits / max(num_objects, 1), num_proposals / max(len(scenes), 1)
