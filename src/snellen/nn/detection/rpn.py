"""Region proposal network (RPN): anchors, matching, losses.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from snellen.core.detections import GroundTruth
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.boxes import clip_boxes, decode_boxes, encode_boxes, max_coverage, nms_mask, top_k
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.losses import rpn_losses

IGNORED = -2  # neither object nor background
BACKGROUND = -1


@dataclass(frozen=True, kw_only=True)
class BoxSampling:
    """Sampling of boxes for the loss: at most `batch_size_per_image`, of them at most `positive_fraction` positive.

    A box with an IoU of at least `foreground_iou` matches its best object; below `background_iou` it is background.
    """

    batch_size_per_image: int
    positive_fraction: float
    foreground_iou: float
    background_iou: float
    allow_low_quality: bool = False  # each object also matches its best boxes below the threshold


ANCHOR_SAMPLING = BoxSampling(
    batch_size_per_image=256, positive_fraction=0.5, foreground_iou=0.7, background_iou=0.3, allow_low_quality=True
)
REGION_SAMPLING = BoxSampling(batch_size_per_image=512, positive_fraction=0.25, foreground_iou=0.5, background_iou=0.5)


class SampledBoxes(NamedTuple):
    """Boxes of one image that were sampled for the loss.

    indices: (S,) of the boxes. objects: (S,) int64, matched object of each box, or `BACKGROUND`.
    """

    indices: Tensor
    objects: Tensor


def match_and_sample(boxes: Tensor, truth: GroundTruth, sampling: BoxSampling) -> SampledBoxes:
    """Match boxes to objects and sample boxes for the loss at random.

    A box that lies by more than half in a crowd or an ignored object is not background.

    Args:
        boxes: (N, 4). truth: in the same pixels.
    """
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
    from torchvision.ops import box_iou

    trainable = truth.trainable
    if len(trainable.boxes):
        matcher = Matcher(
            sampling.foreground_iou, sampling.background_iou, allow_low_quality_matches=sampling.allow_low_quality
        )
        objects = matcher(box_iou(trainable.boxes, boxes))  # (N,) an object, -1 background, -2 between
    else:
        objects = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    excluded = truth.boxes[truth.crowd | truth.ignored]
    if len(excluded):
        objects = torch.where((objects == BACKGROUND) & (max_coverage(boxes, excluded) > 0.5), IGNORED, objects)
    labels = (objects >= 0).to(torch.int64) - (objects == IGNORED).to(torch.int64)  # 1 object, 0 background, -1 neither
    positive, negative = BalancedPositiveNegativeSampler(sampling.batch_size_per_image, sampling.positive_fraction)(
        [labels]
    )
    indices = torch.nonzero(positive[0] | negative[0])[:, 0]
    return SampledBoxes(indices, objects[indices])


class RegionProposalNetwork(nn.Module):
    """Region proposal network: objectness and box offsets at every anchor.

    Args:
        head: torchvision's `RPNHead`: a feature map to (B, A, h, w) logits and (B, 4A, h, w) offsets.
        train_proposals, test_proposals: maximum numbers of proposals, per feature map before and per image after
            non-maximum suppression.
        min_objectness: score threshold of proposals, in 0 … 1.
    """

    NMS_THRESHOLD = 0.7  # IoU
    MIN_SIDE = 1e-3  # pixels

    def __init__(
        self,
        anchors: Anchors,
        head: nn.Module,
        train_proposals: tuple[int, int] = (2000, 2000),
        test_proposals: tuple[int, int] = (1000, 1000),
        min_objectness: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.head = head
        self.train_proposals = train_proposals
        self.test_proposals = test_proposals
        self.min_objectness = min_objectness

    def forward(self, maps: Sequence[Tensor], batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Region proposals of a batch.

        Returns:
            (B, P, 4) boxes in pixels of the batch, highest score first, and (B, P) scores, -1 for padding.
        """
        outputs = [self._flatten(logits, deltas) for logits, deltas in zip(*self.head(maps), strict=True)]
        return self.select(outputs, self.anchors(maps, batch.x), batch.sizes, self.test_proposals)

    def _flatten(self, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """(B, A, h, w) and (B, 4A, h, w) to (B, hwA) and (B, hwA, 4), in the order of the anchors."""
        count, per, rows, columns = logits.shape
        flat_deltas = deltas.view(count, per, 4, rows, columns).permute(0, 3, 4, 1, 2)
        return logits.permute(0, 2, 3, 1).reshape(count, -1).float(), flat_deltas.reshape(count, -1, 4).float()

    def select(
        self,
        outputs: Sequence[tuple[Tensor, Tensor]],
        anchors: Sequence[Tensor],
        sizes: Tensor,
        limits: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Highest-scoring proposals after non-maximum suppression within each feature map."""
        boxes, scores, groups = [], [], []
        for level, ((logits, deltas), anchor) in enumerate(zip(outputs, anchors, strict=True)):
            best, index = top_k(logits, limits[0])  # (B, k)
            offsets = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            boxes.append(clip_boxes(decode_boxes(offsets, anchor[index]), sizes))
            scores.append(best.sigmoid())
            groups.append(torch.full_like(index, level))
        box, score, group = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(groups, 1)
        image = torch.arange(box.shape[0], device=box.device)[:, None] * len(anchors)
        too_thin = ((box[..., 2:] - box[..., :2]) < self.MIN_SIDE).any(2)
        selected = nms_mask(box.reshape(-1, 4), score.reshape(-1), (group + image).reshape(-1), self.NMS_THRESHOLD)
        score = score.masked_fill(~selected.view(score.shape) | too_thin | (score < self.min_objectness), -1.0)
        best, index = score.topk(min(limits[1], score.shape[1]), dim=1)
        return box.gather(1, index[:, :, None].expand(-1, -1, 4)), best

    def proposals_and_losses(
        self, maps: Sequence[Tensor], batch: ImageBatch, truths: Sequence[GroundTruth]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, (P, 4), without gradient; and the losses.

        The losses are binary cross-entropy of the objectness, and the smooth L1 distance of the offsets of positive
        anchors.
        """
        anchors = self.anchors(maps, batch.x)
        with torch.no_grad():
            outputs = [self._flatten(logits, deltas) for logits, deltas in zip(*self.head(maps), strict=True)]
            proposals, scores = self.select(outputs, anchors, batch.sizes, self.train_proposals)
        all_anchors = torch.cat(anchors)
        samples = [match_and_sample(all_anchors, truth, ANCHOR_SAMPLING) for truth in truths]
        logits, deltas = self.predict_at(maps, [sample.indices for sample in samples])
        positive = torch.cat([sample.objects for sample in samples]) >= 0
        targets = []
        for (index, objects), truth in zip(samples, truths, strict=True):
            targets.append(encode_boxes(truth.trainable.boxes[objects[objects >= 0]], all_anchors[index[objects >= 0]]))
        losses = rpn_losses(logits, deltas, positive, torch.cat(targets))
        return [boxes[score >= 0] for boxes, score in zip(proposals, scores, strict=True)], losses

    def predict_at(self, maps: Sequence[Tensor], indices: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Outputs of the head at selected anchors, with gradient.

        The head has a receptive field of 3 x 3 cells. Only the cells about the sampled anchors, a few hundred of many
        thousands, are computed and differentiated.

        Args:
            indices: of the anchors of all feature maps, per image.
        Returns:
            (S,) logits and (S, 4) offsets, of all images.
        """
        head: Any = self.head
        conv, logit, delta = head.conv[0][0], head.cls_logits, head.bbox_pred
        per, channels = logit.out_channels, maps[0].shape[1]
        sides = torch.tensor([features.shape[2:] for features in maps], device=maps[0].device)  # (L, 2)
        cells = sides.prod(1)
        ends = cells.cumsum(0)  # of the feature maps, in cells of one image
        table = torch.cat([features.permute(0, 2, 3, 1).reshape(-1, channels) for features in maps])  # (Σ B·h·w, C)
        image = torch.cat([torch.full_like(one, k) for k, one in enumerate(indices)])  # (S,)
        index = torch.cat(list(indices))
        cell, anchor = index // per, index % per
        level = torch.searchsorted(ends, cell, right=True)
        height, width = sides[level].unbind(1)
        cell = cell - (ends - cells)[level]
        neighbours = torch.arange(-1, 2, device=index.device)
        row = (cell // width)[:, None, None] + neighbours[:, None]  # (S, 3, 1)
        column = (cell % width)[:, None, None] + neighbours  # (S, 1, 3)
        inside = (row >= 0) & (row < height[:, None, None]) & (column >= 0) & (column < width[:, None, None])
        first = (ends - cells)[level] * len(indices) + image * cells[level]
        source = first[:, None, None] + row * width[:, None, None] + column
        patches = embedding(source.where(inside, 0), table) * inside[..., None]  # (S, 3, 3, C)
        hidden = linear(patches.flatten(1), conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias).relu()
        logits = linear(hidden, logit.weight.flatten(1), logit.bias).float()  # (S, A)
        deltas = linear(hidden, delta.weight.flatten(1), delta.bias).float().view(-1, per, 4)
        column = anchor[:, None]
        return logits.gather(1, column)[:, 0], deltas.gather(1, column[..., None].expand(-1, 1, 4))[:, 0]
