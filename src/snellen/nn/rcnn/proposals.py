"""Where something may be: the region proposal network, and how anchors and regions are matched with what is there.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from snellen.core.objects import Objects
from snellen.nn.rcnn.anchors import Anchors
from snellen.nn.rcnn.boxes import clipped, covered, decoded, encoded, survivors
from snellen.nn.rcnn.pictures import Batch

NEUTRAL = -2  # matched with nothing, and not counted as background either
BACKGROUND = -1


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which boxes are learned from: `count` a picture, of them at most the share `positive` with an object.

    A box with an overlap of at least `high` is of the object that it overlaps most; below `low` it is background.
    """

    count: int
    positive: float
    high: float
    low: float
    every: bool = False  # each object has its best boxes, however little they overlap


ANCHORS = Share(count=256, positive=0.5, high=0.7, low=0.3, every=True)
REGIONS = Share(count=512, positive=0.25, high=0.5, low=0.5)


class Matched(NamedTuple):
    """Boxes of one picture that are learned from.

    places: (S,) of the boxes. objects: (S,) int64, which object each is of, or `BACKGROUND`.
    """

    places: Tensor
    objects: Tensor


def matched(boxes: Tensor, truth: Objects, share: Share) -> Matched:
    """Chooses boxes to learn from, at random within their share.

    What lies for its greater part in a crowd, or on an object that is ignored, is no background.

    Args:
        boxes: (N, 4). truth: in the same pixels.
    """
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
    from torchvision.ops import box_iou

    learned = truth.learned
    if len(learned.boxes):
        match = Matcher(share.high, share.low, allow_low_quality_matches=share.every)
        of = match(box_iou(learned.boxes, boxes))  # (N,) an object, -1 background, -2 between
    else:
        of = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    left_out = truth.boxes[truth.crowd | truth.ignored]
    if len(left_out):
        of = torch.where((of == BACKGROUND) & (covered(boxes, left_out) > 0.5), NEUTRAL, of)
    labels = (of >= 0).to(torch.int64) - (of == NEUTRAL).to(torch.int64)  # 1 object, 0 background, -1 neither
    positive, negative = BalancedPositiveNegativeSampler(share.count, share.positive)([labels])
    places = torch.nonzero(positive[0] | negative[0])[:, 0]
    return Matched(places, of[places])


class Proposals(nn.Module):
    """At every anchor: is something there, and where does its box really lie?

    Args:
        head: torchvision's `RPNHead`: a map to (B, A, h, w) logits and (B, 4A, h, w) offsets.
        keep: proposals a picture, before and after those that overlap are suppressed: while learning, and in use.
    """

    OVERLAP = 0.7  # of two proposals, above which one goes
    THINNEST = 1e-3  # pixels of a side

    def __init__(self, anchors: Anchors, head: nn.Module, learning: tuple[int, int] = (2000, 2000),
                 using: tuple[int, int] = (1000, 1000)) -> None:  # fmt: skip
        super().__init__()
        self.anchors = anchors
        self.head = head
        self.learning = learning
        self.using = using

    def forward(self, maps: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """The regions where something may be.

        Returns:
            (B, P, 4) boxes in pixels of the batch, the surest first, and (B, P) how sure, -1 where there are no more.
        """
        said = [self._flat(logits, deltas) for logits, deltas in zip(*self.head(maps), strict=True)]
        return self.chosen(said, self.anchors(maps, batch.x), batch.sizes, self.using)

    def _flat(self, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """(B, A, h, w) and (B, 4A, h, w) to (B, hwA) and (B, hwA, 4), in the order of the anchors."""
        count, per, rows, columns = logits.shape
        told = deltas.view(count, per, 4, rows, columns).permute(0, 3, 4, 1, 2)
        return logits.permute(0, 2, 3, 1).reshape(count, -1).float(), told.reshape(count, -1, 4).float()

    def chosen(self, said: Sequence[tuple[Tensor, Tensor]], anchors: Sequence[Tensor], sizes: Tensor,
               keep: tuple[int, int]) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The best of every map, without those that overlap a better one of their map."""
        boxes, scores, groups = [], [], []
        pictures = len(sizes)
        for place, ((logits, deltas), anchor) in enumerate(zip(said, anchors, strict=True)):
            best, index = logits.topk(torch.sym_min(keep[0], logits.shape[1]), dim=1)  # (B, k)
            told = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            boxes.append(clipped(decoded(told, anchor[index]), sizes))
            scores.append(best.sigmoid())
            groups.append(torch.full_like(index, place))
        box, score, group = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(groups, 1)
        picture = torch.arange(pictures, device=box.device)[:, None] * len(anchors)
        thin = ((box[..., 2:] - box[..., :2]) < self.THINNEST).any(2)
        stay = survivors(box.reshape(-1, 4), score.reshape(-1), (group + picture).reshape(-1), self.OVERLAP)
        score = score.masked_fill(~stay.view(score.shape) | thin, -1.0)
        best, index = score.topk(torch.sym_min(keep[1], score.shape[1]), dim=1)
        return box.gather(1, index[:, :, None].expand(-1, -1, 4)), best

    def learn(self, maps: Sequence[Tensor], batch: Batch, truths: Sequence[Objects]
              ) -> tuple[list[Tensor], dict[str, Tensor]]:  # fmt: skip
        """Proposals of each picture, (P, 4), without gradient; and the losses.

        The losses are binary cross-entropy of "is something there", and the smooth L1 distance of the offsets of those
        anchors that have an object.
        """
        said = [self._flat(logits, deltas) for logits, deltas in zip(*self.head(maps), strict=True)]
        anchors = self.anchors(maps, batch.x)
        with torch.no_grad():
            found, scores = self.chosen([(logits.detach(), deltas.detach()) for logits, deltas in said], anchors,
                                        batch.sizes, self.learning)
        every = torch.cat(anchors)
        logits, deltas = (torch.cat(parts, 1) for parts in zip(*said, strict=True))
        matches = [matched(every, truth, ANCHORS) for truth in truths]
        asked = torch.cat([logits[k, match.places] for k, match in enumerate(matches)])
        there = torch.cat([match.objects for match in matches]) >= 0
        told, wanted = [], []
        for k, (match, truth) in enumerate(zip(matches, truths, strict=True)):
            of = match.objects >= 0
            place = match.places[of]
            told.append(deltas[k, place])
            wanted.append(encoded(truth.learned.boxes[match.objects[of]], every[place]))
        distance = smooth_l1_loss(torch.cat(told), torch.cat(wanted), beta=1 / 9, reduction="sum")
        losses = {"objectness": binary_cross_entropy_with_logits(asked, there.float()),
                  "proposals": distance / max(len(asked), 1)}
        return [boxes[score >= 0] for boxes, score in zip(found, scores, strict=True)], losses
