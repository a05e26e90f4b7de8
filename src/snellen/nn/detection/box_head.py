"""What is in a region: its class, and where the object's box really lies.

Source: Girshick 2015, "Fast R-CNN"; Ren, He, Girshick and Sun 2015; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss

from snellen.core.detections import Objects
from snellen.nn.detection.boxes import OF_REGIONS, clipped, decoded, encoded, survivors
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.rpn import REGIONS, Share, matched

CANDIDATES = 1000  # pairs of region and class a picture that are looked at


class Finds(NamedTuple):
    """What was found in every picture of a batch, in pixels of the network, the surest first.

    boxes: (B, D, 4). scores: (B, D), 0 where there are no more. labels: (B, D) int64.
    masks: (B, D, M, M), how surely each part of the box is the object's; or None.
    keypoints: (B, D, K, 3) x, y and how sure; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None


class Sampled(NamedTuple):
    """Regions that have an object, of all pictures: what masks and keypoints are learned from.

    regions: (P, 5): which picture, and its box. objects: (P,) int64, which learned object of that picture.
    """

    regions: Tensor
    objects: Tensor


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which finds are kept: at least so sure, none that overlaps a surer one of its class by more, at most so many."""

    least: float = 0.05
    overlap: float = 0.5
    most: int = 100


class Regions(nn.Module):
    """Class and box of every region.

    Args:
        pool: reads a region: `Pool`, or `Crops`.
        head: (R, C, size, size) to (R, F).
        predictor: torchvision's `FastRCNNPredictor`: (R, F) to (R, 1 + K) logits, of background first, and
            (R, 4 (1 + K)) offsets.
        share: which regions are learned from.
        choice: which finds are kept.
    """

    def __init__(
        self, pool: nn.Module, head: nn.Module, predictor: nn.Module, share: Share = REGIONS, choice: Choice = Choice()
    ) -> None:
        super().__init__()
        self.pool = pool
        self.head = head
        self.predictor = predictor
        self.share = share
        self.choice = choice

    def told(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, 5) regions to (R, 1 + K) logits and (R, 1 + K, 4) offsets, in float32."""
        logits, deltas = self.predictor(self.head(self.pool(maps, x, regions)))
        return logits.float(), deltas.float().view(regions.shape[0], -1, 4)

    def learn(
        self, maps: Sequence[Tensor], batch: Batch, proposals: Sequence[Tensor], truths: Sequence[Objects]
    ) -> tuple[dict[str, Tensor], Sampled]:
        """Cross-entropy of the class, and the smooth L1 distance of the offsets for the true class.

        Args:
            proposals: (P, 4) of each picture; the true boxes are added to them.
        """
        regions, classes, of, wanted = [], [], [], []
        for k, (boxes, truth) in enumerate(zip(proposals, truths, strict=True)):
            learned = truth.learned
            boxes = torch.cat([boxes, learned.boxes])
            match = matched(boxes, truth, self.share)
            place = match.objects.clamp(min=0)
            chosen = boxes[match.places]
            there = match.objects >= 0
            label = learned.labels[place] + 1 if len(learned.labels) else torch.zeros_like(place)
            goal = learned.boxes[place] if len(learned.boxes) else chosen
            regions.append(torch.cat([torch.full_like(chosen[:, :1], k), chosen], 1))
            classes.append(torch.where(there, label, 0))
            of.append(match.objects)
            wanted.append(encoded(goal[there], chosen[there], OF_REGIONS))
        region, label, objects = torch.cat(regions), torch.cat(classes), torch.cat(of)
        logits, deltas = self.told(maps, batch.x, region)
        there = torch.nonzero(objects >= 0)[:, 0]
        distance = smooth_l1_loss(deltas[there, label[there]], torch.cat(wanted), beta=1 / 9, reduction="sum")
        losses = {"class": cross_entropy(logits, label), "box": distance / max(len(label), 1)}
        return losses, Sampled(region[there], objects[there])

    def forward(self, maps: Sequence[Tensor], batch: Batch, proposals: Tensor, there: Tensor) -> Finds:
        """Finds in (B, P, 4) proposals; `there` (B, P) is negative where there is none."""
        count, per = there.shape
        logits, deltas = self.told(maps, batch.x, rows_of(proposals))
        shares = logits.softmax(1)[:, 1:].masked_fill((there < 0).reshape(-1, 1), 0.0)  # (B P, K)
        classes = shares.shape[1]
        best, index = shares.view(count, per * classes).topk(min(CANDIDATES, per * classes), dim=1)
        region, label = index // classes, index % classes
        flat = deltas[:, 1:].reshape(count, per * classes, 4).gather(1, index[:, :, None].expand(-1, -1, 4))
        boxes = decoded(flat, proposals.gather(1, region[:, :, None].expand(-1, -1, 4)), OF_REGIONS)
        return kept(clipped(boxes, batch.sizes), best, label, classes, self.choice)


def kept(boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, choice: Choice) -> Finds:
    """The finds that remain of (B, N) candidates."""
    count = scores.shape[0]
    thin = ((boxes[..., 2:] - boxes[..., :2]) < 1e-2).any(2)
    scores = scores.masked_fill(thin | (scores <= choice.least), 0.0)
    picture = torch.arange(count, device=boxes.device)[:, None] * classes
    if torch.compiler.is_exporting():
        stay = survivors(boxes.reshape(-1, 4), scores.reshape(-1), (labels + picture).reshape(-1), choice.overlap)
    else:
        stay = torch.zeros_like(scores, dtype=torch.bool).view(-1)
        some = torch.nonzero(scores.view(-1))[:, 0]
        stay[some] = survivors(
            boxes.view(-1, 4)[some], scores.view(-1)[some], (labels + picture).view(-1)[some], choice.overlap
        )
    scores = scores.masked_fill(~stay.view(scores.shape), 0.0)
    best, index = scores.topk(min(choice.most, scores.shape[1]), dim=1)
    if not torch.compiler.is_exporting():  # what none of the pictures has need not be carried on
        full = int((best > 0).sum(1).max())
        best, index = best[:, :full], index[:, :full]
    return Finds(boxes.gather(1, index[:, :, None].expand(-1, -1, 4)), best, labels.gather(1, index))


def rows_of(boxes: Tensor) -> Tensor:
    """(B, N, 4) to (B N, 5): which picture, and the box."""
    picture = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat([picture[:, None, None].expand(-1, boxes.shape[1], 1), boxes], 2).reshape(-1, 5)
