"""Selective search: regions that are alike in colour and texture, joined step by step, are where objects may be.

Source: Uijlings, van de Sande, Gevers and Smeulders 2013, "Selective search for object recognition"; lecture 003.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Objects
from snellen.core.errors import EnvironmentProblem
from snellen.core.run import Run
from snellen.data.scenes import Scenes
from snellen.nn.detection.detector import Detector

LEAST = 1  # region a picture: the whole of it


def needed() -> None:
    """Raises EnvironmentProblem where OpenCV's extra modules are missing."""
    try:
        import cv2

        cv2.ximgproc.segmentation  # noqa: B018
    except (ImportError, AttributeError):
        raise EnvironmentProblem(
            "Selective search needs OpenCV's extra modules, which are not installed",
            'Type: pip install "snellen[proposals]"',
        ) from None


class SelectiveSearch:
    """Finds regions, and remembers those of each picture that it was given.

    What is found follows from the picture alone; so it does not matter to a resumed run which were remembered.

    Args:
        side: pixels of the shorter side at which a picture is searched.
        most: regions a picture; of more, those that begin every so often in their order are kept.
    """

    def __init__(self, side: int, most: int) -> None:
        self.side = side
        self.most = most
        self.found: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> SelectiveSearch:
        return self  # an average of the weights shares what was found

    def __call__(self, x: Tensor) -> Tensor:
        """(C, H, W) standardised to (P, 4) float32 on the CPU."""
        pixels = (x.detach().float() * 50 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        pixels = np.ascontiguousarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, 2))
        name = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode(), digest_size=16).hexdigest()
        if name not in self.found:
            self.found[name] = self.searched(pixels)
        return self.found[name]

    def searched(self, pixels: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 to (P, 4), in an order of their own: OpenCV's is drawn at random."""
        needed()
        import cv2

        height, width = pixels.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        made = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        made.setBaseImage(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA))
        made.switchToSelectiveSearchFast()
        corners = np.unique(np.asarray(made.process(), np.int64).reshape(-1, 4), axis=0)  # x, y, width, height
        corners = corners[(corners[:, 2:] > 1).all(1)]
        if len(corners) > self.most:
            corners = corners[np.linspace(0, len(corners) - 1, self.most).round().astype(np.int64)]
        boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1).astype(np.float32)
        boxes = np.concatenate([boxes, [[0, 0, *small]]]).astype(np.float32)
        ratio = np.array([width / small[0], height / small[1]] * 2, np.float32)
        return torch.from_numpy(boxes * ratio)

    def state_dict(self) -> dict[str, Any]:
        empty = torch.zeros(0, 4)
        return {
            "names": ",".join(self.found),
            "counts": torch.tensor([len(one) for one in self.found.values()]),
            "boxes": torch.cat([empty, *self.found.values()]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        names = [name for name in str(state["names"]).split(",") if name]
        parts = state["boxes"].split(state["counts"].long().tolist()) if names else ()
        self.found = dict(zip(names, parts, strict=True))


def search(model: Detector, finder: SelectiveSearch, scenes: list[Scenes], run: Run) -> None:
    """The first stage: regions of every picture, kept with the run; and how many objects they reach.

    Reported is the share of the objects that a region overlaps by at least one half.
    """
    run.keep(proposals=finder)
    pictures = [(split, position) for split in scenes for position in range(len(split))]
    for step in run.steps(len(pictures), "proposals"):
        split, position = pictures[step]
        regions(model, finder, split, position)
    reached = [reach(model, finder, split) for split in scenes if len(split)]
    told = run.once("recall", lambda: {"recall": reached[-1][0], "regions": reached[-1][1]})
    run.notes["proposals"] = {"recall at 0.5": round(told["recall"], 4), "regions a picture": round(told["regions"], 1)}
    run.say(
        f"Selective search: {told['regions']:.0f} regions a picture reach {100 * told['recall']:.1f} % of the "
        "objects of the validation split (overlap of at least one half)."
    )


def regions(model: Detector, finder: SelectiveSearch, scenes: Scenes, position: int) -> Tensor:
    """(P, 4) of one picture, in pixels of the network."""
    batch = model.pictures([scenes.image(int(scenes.ids[position])).to(scenes.device)])
    height, width = (int(side) for side in batch.sizes[0])
    return finder(batch.x[0, :, :height, :width])


def reach(model: Detector, finder: SelectiveSearch, scenes: Scenes) -> tuple[float, float]:
    """The share of the objects that are reached, and the mean number of regions."""
    from torchvision.ops import box_iou

    hit = objects = found = 0
    for position in range(len(scenes)):
        boxes = regions(model, finder, scenes, position)
        scene = scenes.at(position)
        assert isinstance(scene.truth, Objects)
        batch = model.pictures([scene.image])
        true = batch.inwards(0, scene.truth).learned.boxes.cpu()
        found += len(boxes)
        objects += len(true)
        hit += int((box_iou(true, boxes).amax(1) >= 0.5).sum()) if len(true) else 0
    return hit / max(objects, 1), found / max(len(scenes), 1)
