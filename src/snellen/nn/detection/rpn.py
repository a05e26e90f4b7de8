"""Where something may be: the region proposal network, and how anchors and regions are matched with what is there.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, embedding, linear, smooth_l1_loss

from snellen.core.detections import Objects
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.boxes import clipped, covered, decoded, encoded, largest, survivors
from snellen.nn.detection.image_batch import Batch

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
        learning, using: proposals a picture that are kept, before and after those that overlap are suppressed.
        least: how sure of each, in 0 … 1.
    """

    OVERLAP = 0.7  # of two proposals, above which one goes
    THINNEST = 1e-3  # pixels of a side

    def __init__(
        self,
        anchors: Anchors,
        head: nn.Module,
        learning: tuple[int, int] = (2000, 2000),
        using: tuple[int, int] = (1000, 1000),
        least: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.head = head
        self.learning = learning
        self.using = using
        self.least = least

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

    def chosen(
        self, said: Sequence[tuple[Tensor, Tensor]], anchors: Sequence[Tensor], sizes: Tensor, keep: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The best of every map, without those that overlap a better one of their map."""
        boxes, scores, groups = [], [], []
        for place, ((logits, deltas), anchor) in enumerate(zip(said, anchors, strict=True)):
            best, index = largest(logits, keep[0])  # (B, k)
            told = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            boxes.append(clipped(decoded(told, anchor[index]), sizes))
            scores.append(best.sigmoid())
            groups.append(torch.full_like(index, place))
        box, score, group = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(groups, 1)
        picture = torch.arange(box.shape[0], device=box.device)[:, None] * len(anchors)
        thin = ((box[..., 2:] - box[..., :2]) < self.THINNEST).any(2)
        stay = survivors(box.reshape(-1, 4), score.reshape(-1), (group + picture).reshape(-1), self.OVERLAP)
        score = score.masked_fill(~stay.view(score.shape) | thin | (score < self.least), -1.0)
        best, index = score.topk(min(keep[1], score.shape[1]), dim=1)
        return box.gather(1, index[:, :, None].expand(-1, -1, 4)), best

    def learn(
        self, maps: Sequence[Tensor], batch: Batch, truths: Sequence[Objects]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each picture, (P, 4), without gradient; and the losses.

        The losses are binary cross-entropy of "is something there", and the smooth L1 distance of the offsets of those
        anchors that have an object.
        """
        anchors = self.anchors(maps, batch.x)
        with torch.no_grad():
            said = [self._flat(logits, deltas) for logits, deltas in zip(*self.head(maps), strict=True)]
            found, scores = self.chosen(said, anchors, batch.sizes, self.learning)
        every = torch.cat(anchors)
        matches = [matched(every, truth, ANCHORS) for truth in truths]
        logits, deltas = self.at(maps, [match.places for match in matches])
        there = torch.cat([match.objects for match in matches]) >= 0
        wanted = []
        for (place, of), truth in zip(matches, truths, strict=True):
            wanted.append(encoded(truth.learned.boxes[of[of >= 0]], every[place[of >= 0]]))
        distance = smooth_l1_loss(deltas[there], torch.cat(wanted), beta=1 / 9, reduction="sum")
        losses = {
            "objectness": binary_cross_entropy_with_logits(logits, there.float()),
            "proposals": distance / max(len(logits), 1),
        }
        return [boxes[score >= 0] for boxes, score in zip(found, scores, strict=True)], losses

    def at(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the head says at some anchors, with a gradient: what it says elsewhere has none.

        The head sees 3 x 3 cells. Only those about the anchors that are learned from, a few hundred of many thousands,
        are gone through again and back.

        Args:
            places: of each picture, of the anchors of all maps.
        Returns:
            (S,) logits and (S, 4) offsets, of all pictures.
        """
        head: Any = self.head
        conv, logit, delta = head.conv[0][0], head.cls_logits, head.bbox_pred
        per, channels = logit.out_channels, maps[0].shape[1]
        sides = torch.tensor([one.shape[2:] for one in maps], device=maps[0].device)  # (L, 2)
        cells = sides.prod(1)
        ends = cells.cumsum(0)  # of the maps, in cells of one picture
        table = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, channels) for one in maps])  # (Σ B·h·w, C)
        picture = torch.cat([torch.full_like(some, k) for k, some in enumerate(places)])  # (S,)
        place = torch.cat(list(places))
        cell, anchor = place // per, place % per
        level = torch.searchsorted(ends, cell, right=True)
        height, width = sides[level].unbind(1)
        cell = cell - (ends - cells)[level]
        near = torch.arange(-1, 2, device=place.device)
        row = (cell // width)[:, None, None] + near[:, None]  # (S, 3, 1)
        column = (cell % width)[:, None, None] + near  # (S, 1, 3)
        inside = (row >= 0) & (row < height[:, None, None]) & (column >= 0) & (column < width[:, None, None])
        first = (ends - cells)[level] * len(places) + picture * cells[level]
        index = first[:, None, None] + row * width[:, None, None] + column
        seen = embedding(index.where(inside, 0), table) * inside[..., None]  # (S, 3, 3, C)
        hidden = linear(seen.flatten(1), conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias).relu()
        logits = linear(hidden, logit.weight.flatten(1), logit.bias).float()  # (S, A)
        deltas = linear(hidden, delta.weight.flatten(1), delta.bias).float().view(-1, per, 4)
        own = anchor[:, None]
        return logits.gather(1, own)[:, 0], deltas.gather(1, own[..., None].expand(-1, 1, 4))[:, 0]
