"""Box encoding and decoding, clipping, non-maximum suppression.

Source: Girshick, Donahue, Darrell and Malik 2014, appendix C; Ren, He, Girshick and Sun 2015; lecture 003.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OffsetWeights = tuple[float, float, float, float]

ANCHOR_WEIGHTS: OffsetWeights = (1.0, 1.0, 1.0, 1.0)
REGION_WEIGHTS: OffsetWeights = (10.0, 10.0, 5.0, 5.0)  # a region is near its object: its small offsets are scaled up
MAX_LOG_SCALE = math.log(1000 / 16)  # so that the exponential stays finite


def encode_boxes(boxes: Tensor, anchors: Tensor, weights: OffsetWeights = ANCHOR_WEIGHTS) -> Tensor:
    """Offsets from anchors to boxes: t_x = (x − x_a)/w_a, t_y likewise, t_w = log(w/w_a), t_h likewise.

    Args:
        boxes, anchors: (..., 4) float, pixels, x1 y1 x2 y2, with an area.
    Returns:
        (..., 4), each times its weight.
    """
    x, y, w, h = centre_and_size(boxes)
    xa, ya, wa, ha = centre_and_size(anchors)
    wx, wy, ww, wh = weights
    return torch.stack([wx * (x - xa) / wa, wy * (y - ya) / ha, ww * (w / wa).log(), wh * (h / ha).log()], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor, weights: OffsetWeights = ANCHOR_WEIGHTS) -> Tensor:
    """Boxes from anchors and offsets, the inverse of `encode_boxes`: x = w_a t_x + x_a, w = w_a exp(t_w).

    Args:
        deltas, anchors: (..., 4).
    Returns:
        (..., 4) pixels, x1 y1 x2 y2.
    """
    xa, ya, wa, ha = centre_and_size(anchors)
    tx, ty, tw, th = (deltas / deltas.new_tensor(weights)).unbind(-1)
    x, y = wa * tx + xa, ha * ty + ya
    w, h = wa * tw.clamp(max=MAX_LOG_SCALE).exp(), ha * th.clamp(max=MAX_LOG_SCALE).exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)


def centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., 4) corners to centre x, centre y, width and height, each (...)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + w / 2, y1 + h / 2, w, h


def clip_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Clip boxes to their image.

    Args:
        boxes: (B, N, 4). sizes: (B, 2) height and width.
    """
    height, width = sizes[:, 0, None], sizes[:, 1, None]
    x1, y1, x2, y2 = boxes.clamp(min=0).unbind(-1)
    return torch.stack(
        [torch.minimum(x1, width), torch.minimum(y1, height), torch.minimum(x2, width), torch.minimum(y2, height)],
        dim=-1,
    )


def top_k(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row, in descending order, and their indices; all values if there are fewer.

    While exporting always `count`, padded with -inf: a number that depends on the image size would appear in all later
    shapes.

    Args:
        values: (B, N).
    Returns:
        (B, M) and (B, M) int64.
    """
    if not torch.compiler.is_exporting():
        return values.topk(min(count, values.shape[1]), dim=1)
    best, index = torch.nn.functional.pad(values, (0, count), value=-torch.inf).topk(count, dim=1)
    return best, index.clamp(max=values.shape[1] - 1)


def nms_mask(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression: a box survives if no higher-scoring box of its group has an IoU above `threshold`.

    Args:
        boxes: (M, 4). scores: (M,). groups: (M,) int64: only boxes of the same group suppress each other.
    Returns:
        (M,) bool.
    """
    from torchvision.ops import batched_nms, nms

    if torch.compiler.is_exporting():  # all groups at once: each group is shifted to an area of its own
        shifted = boxes + (groups * (boxes.detach().max() + 1)).unsqueeze(1)
        padding = boxes.new_zeros(2, 4)  # torch.export assumes two survivors: boxes without area always survive
        selected = nms(torch.cat([shifted, padding]), torch.cat([scores, padding[:, 0]]), threshold)
        return scores.new_zeros(scores.shape[0] + 2, dtype=torch.bool).index_fill(0, selected, True)[:-2]
    selected = batched_nms(boxes, scores, groups, threshold)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, selected, True)


def max_coverage(boxes: Tensor, regions: Tensor) -> Tensor:
    """Largest fraction of each box that lies inside one region; 0 without regions.

    Args:
        boxes: (N, 4). regions: (M, 4).
    Returns:
        (N,)
    """
    if not len(regions):
        return boxes.new_zeros(len(boxes))
    first = torch.maximum(boxes[:, None, :2], regions[None, :, :2])  # (N, M, 2)
    last = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    intersection = (last - first).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return intersection.amax(1) / area.clamp(min=1e-6)
