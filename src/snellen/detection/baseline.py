"""The baseline of finding objects: it knows where boxes usually are, and looks at no picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, Objects
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Boxes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import target_of
from snellen.detection.protocol import MOST, Part
from snellen.detection.score_threshold import choose, some_of
from snellen.nn.detection.mask_pasting import regions

MOST_PICTURES = 1000  # whose boxes are looked at
SIDE = 28  # of a mean mask
IN_A_GROUP = 4  # boxes on average: one alone says nothing of where boxes usually are
HIT = 0.5  # overlap from which a usual box counts as one that is there

Seen = tuple[Objects, Tensor]  # what is true of a picture, and its (2,) width and height


@settings
class BaselineSettings:
    """There is nothing to set."""


class Usual(nn.Module):
    """The same boxes in every picture, in shares of its width and height, each with how often it is right.

    Args:
        classes, keypoints: how many there are.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    threshold: Tensor
    masks: Tensor
    pose: Tensor

    def __init__(self, classes: int, masks: bool, keypoints: int) -> None:
        super().__init__()
        self.with_masks = masks
        self.register_buffer("boxes", torch.zeros(MOST, 4))
        self.register_buffer("scores", torch.zeros(MOST))
        self.register_buffer("labels", torch.zeros(MOST, dtype=torch.int64))
        self.register_buffer("threshold", torch.tensor(0.5))
        self.register_buffer("masks", torch.zeros(classes, SIDE, SIDE) if masks else torch.zeros(0, SIDE, SIDE))
        self.register_buffer("pose", torch.zeros(classes, keypoints, 2))  # in shares of the box

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        return [self._in(*image.shape[-2:]) for image in images]

    def padded(self, x: Tensor) -> dict[str, Tensor]:
        """The same for (B, C, H, W), with masks as they lie in their boxes; see `protocol.Padded`."""
        across = torch.scalar_tensor(x.shape[3]), torch.scalar_tensor(x.shape[2])
        boxes = self.boxes * torch.stack(across * 2).to(x.device)
        said = {"boxes": boxes, "scores": self.scores, "labels": self.labels, "count": (self.scores > 0).sum()}
        if self.with_masks:
            said["masks"] = self.masks[self.labels] * (self.scores > 0)[:, None, None]
        if self.pose.shape[1]:
            corner, side = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
            points = corner + self.pose[self.labels] * side * (self.scores > 0)[:, None, None]
            said["keypoints"] = torch.cat([points, self.scores[:, None, None].expand(-1, points.shape[1], 1)], 2)
        return {name: value.expand(x.shape[0], *value.shape) for name, value in said.items()}

    def _in(self, height: int, width: int) -> Detections:
        there = self.scores > 0
        scores, labels = self.scores[there], self.labels[there]
        boxes = self.boxes[there] * self.boxes.new_tensor([width, height, width, height])  # (D, 4)
        masks = regions(self.masks[labels], boxes, (height, width)) if self.with_masks else None
        points = None
        if self.pose.shape[1]:
            corner, side = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
            points = torch.cat(
                [corner + self.pose[labels] * side, scores[:, None, None].expand(-1, self.pose.shape[1], 1)], 2
            )
        return Detections(boxes, scores, labels, masks, points)


def build(parts: Sequence[Part], spec: Spec) -> Usual:
    target = target_of(spec)
    return Usual(len(target.names), "masks" in parts, len(target.keypoints) if "keypoints" in parts else 0)


def fit(part: Part, data: Dataset[Labelled], model: Usual, run: Run) -> None:
    """Boxes of each class are put into groups; the middle of a group is a usual box, its score how often it is right.

    A class has as many of the hundred boxes as it has of the objects, but at least one.
    """
    seen = list(_seen(data))
    target = target_of(data.spec)
    boxes = torch.cat([objects.boxes / size.repeat(2) for objects, size in seen])  # (M, 4) in shares
    labels = torch.cat([objects.labels for objects, _ in seen])
    found = [
        (usual, label)
        for label, most in enumerate(_shares(labels, target))
        if most
        for usual in _middles(boxes[labels == label], most)
    ]
    if found:
        usual, of = torch.stack([box for box, _ in found]), torch.tensor([label for _, label in found])
        scores = _how_often(usual, of, seen)
        order = torch.argsort(scores, descending=True, stable=True)[:MOST]
        model.boxes[: len(order)] = usual[order]
        model.labels[: len(order)], model.scores[: len(order)] = of[order], scores[order]
    _shapes(model, seen)
    model.to(run.device)
    choose(part, model, data, run)


def _seen(data: Dataset[Labelled]) -> Iterator[Seen]:
    for scene in some_of(data, "train", MOST_PICTURES).scenes("train").in_order():
        assert isinstance(scene.truth, Objects)
        height, width = scene.image.shape[-2:]
        yield scene.truth.learned, torch.tensor([width, height])


def _shares(labels: Tensor, target: Boxes) -> list[int]:
    """How many usual boxes each class has."""
    counts = torch.bincount(labels, minlength=len(target.names)).double()
    return [max(1, int(MOST * count / counts.sum())) if count else 0 for count in counts.tolist()]


def _middles(boxes: Tensor, most: int) -> Tensor:
    """(k, 4) middles of groups of alike boxes, at most `most` of them, and of a few boxes each."""
    from sklearn.cluster import KMeans

    count = min(most, -(-len(boxes) // IN_A_GROUP), len(torch.unique(boxes, dim=0)))
    groups = KMeans(count, n_init=1, random_state=0).fit(boxes.double().numpy())
    return torch.from_numpy(groups.cluster_centers_).float()


def _how_often(usual: Tensor, of: Tensor, seen: Sequence[Seen]) -> Tensor:
    """(k,) the share of pictures in which a usual box lies on an object of its class."""
    hits = torch.zeros(len(usual))
    for objects, size in seen:
        true = (objects.boxes / size.repeat(2))[None]  # (1, n, 4)
        sides = torch.minimum(usual[:, None, 2:], true[..., 2:]) - torch.maximum(usual[:, None, :2], true[..., :2])
        both = sides.clamp(min=0).prod(-1)  # (k, n)
        areas = (usual[:, 2:] - usual[:, :2]).prod(1)[:, None] + (true[..., 2:] - true[..., :2]).prod(-1)
        right = (both >= HIT * (areas - both)) & (of[:, None] == objects.labels)
        hits += right.any(1)
    return (hits + 0.5) / (len(seen) + 1)


def _shapes(model: Usual, seen: Sequence[Seen]) -> None:
    """The mean mask and the mean pose of each class, within the box."""
    masks, count = torch.zeros_like(model.masks), torch.zeros(len(model.pose))
    points, marked = torch.zeros_like(model.pose), torch.zeros(model.pose.shape[:2])
    for objects, _ in seen:
        for k, label in enumerate(objects.labels.tolist()):
            count[label] += 1
            if model.with_masks and objects.masks is not None:
                masks[label] += _within(objects.masks[k], objects.boxes[k])
            if model.pose.shape[1] and objects.keypoints is not None:
                there = objects.keypoints[k, :, 2] > 0
                corner, end = objects.boxes[k].view(2, 2).unbind(0)
                points[label] += torch.where(there[:, None], (objects.keypoints[k, :, :2] - corner) / (end - corner), 0)
                marked[label] += there
    if model.with_masks:
        model.masks.copy_(masks / count.clamp(min=1)[:, None, None])
    model.pose.copy_(torch.where(marked[..., None] > 0, points / marked.clamp(min=1)[..., None], 0.5))


def _within(mask: Tensor, box: Tensor) -> Tensor:
    """(SIDE, SIDE) zeros and ones, the mask at places spread evenly over its box."""
    step = (torch.arange(SIDE) + 0.5) / SIDE
    rows, columns = (
        ((start + step * (end - start)).long().clamp(0, most - 1)).numpy()
        for start, end, most in ((box[1], box[3], mask.shape[0]), (box[0], box[2], mask.shape[1]))
    )
    return mask[np.ix_(rows, columns)].float()
