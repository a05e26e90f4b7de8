"""Boxes as the offsets from other boxes that a network learns, and the choice among boxes that overlap.

Source: Girshick, Donahue, Darrell and Malik 2014, appendix C; Ren, He, Girshick and Sun 2015; lecture 003.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Weights = tuple[float, float, float, float]

OF_ANCHORS: Weights = (1.0, 1.0, 1.0, 1.0)
OF_REGIONS: Weights = (10.0, 10.0, 5.0, 5.0)  # a region is near its object: its offsets are small, and scaled up
LARGEST = math.log(1000 / 16)  # of the logarithm of a growth, so that its exponential stays finite


def encoded(boxes: Tensor, anchors: Tensor, weights: Weights = OF_ANCHORS) -> Tensor:
    """What leads from anchors to boxes: t_x = (x − x_a)/w_a, t_y likewise, t_w = log(w/w_a), t_h likewise.

    Args:
        boxes, anchors: (..., 4) float, pixels, x1 y1 x2 y2, with an area.
    Returns:
        (..., 4), each times its weight.
    """
    x, y, w, h = centred(boxes)
    xa, ya, wa, ha = centred(anchors)
    wx, wy, ww, wh = weights
    return torch.stack([wx * (x - xa) / wa, wy * (y - ya) / ha, ww * (w / wa).log(), wh * (h / ha).log()], dim=-1)


def decoded(deltas: Tensor, anchors: Tensor, weights: Weights = OF_ANCHORS) -> Tensor:
    """The boxes that `encoded` offsets lead to: x = w_a t_x + x_a, w = w_a exp(t_w).

    Args:
        deltas, anchors: (..., 4).
    Returns:
        (..., 4) pixels, x1 y1 x2 y2.
    """
    xa, ya, wa, ha = centred(anchors)
    tx, ty, tw, th = (deltas / deltas.new_tensor(weights)).unbind(-1)
    x, y = wa * tx + xa, ha * ty + ya
    w, h = wa * tw.clamp(max=LARGEST).exp(), ha * th.clamp(max=LARGEST).exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)


def centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., 4) corners to centre x, centre y, width and height, each (...)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + w / 2, y1 + h / 2, w, h


def clipped(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes cut off at the border of their picture.

    Args:
        boxes: (B, N, 4). sizes: (B, 2) height and width.
    """
    height, width = sizes[:, 0, None], sizes[:, 1, None]
    x1, y1, x2, y2 = boxes.clamp(min=0).unbind(-1)
    return torch.stack(
        [torch.minimum(x1, width), torch.minimum(y1, height), torch.minimum(x2, width), torch.minimum(y2, height)],
        dim=-1,
    )


def largest(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The largest of each row and their places, the largest first: `most`, or all where there are fewer.

    While exporting always `most`, with -inf after the last: a number that follows from the size of a picture would be
    carried on in every later size.

    Args:
        values: (B, N).
    Returns:
        (B, M) and (B, M) int64.
    """
    if not torch.compiler.is_exporting():
        return values.topk(min(most, values.shape[1]), dim=1)
    best, index = torch.nn.functional.pad(values, (0, most), value=-torch.inf).topk(most, dim=1)
    return best, index.clamp(max=values.shape[1] - 1)


def survivors(boxes: Tensor, scores: Tensor, groups: Tensor, most: float) -> Tensor:
    """Non-maximum suppression: of boxes of one group that overlap by more than `most`, the surest stays.

    Args:
        boxes: (M, 4). scores: (M,). groups: (M,) int64: only boxes of the same one suppress each other.
    Returns:
        (M,) bool.
    """
    from torchvision.ops import batched_nms, nms

    if torch.compiler.is_exporting():  # all at once: each group is moved to a place of its own
        apart = boxes + (groups * (boxes.detach().max() + 1)).unsqueeze(1)
        spare = boxes.new_zeros(2, 4)  # torch.export takes it that two survive: these have no area, and always do
        kept = nms(torch.cat([apart, spare]), torch.cat([scores, spare[:, 0]]), most)
        return scores.new_zeros(scores.shape[0] + 2, dtype=torch.bool).index_fill(0, kept, True)[:-2]
    kept = batched_nms(boxes, scores, groups, most)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, kept, True)


def covered(boxes: Tensor, regions: Tensor) -> Tensor:
    """The largest share of each box that lies within one of the regions; 0 where there are none.

    Args:
        boxes: (N, 4). regions: (M, 4).
    Returns:
        (N,)
    """
    if not len(regions):
        return boxes.new_zeros(len(boxes))
    first = torch.maximum(boxes[:, None, :2], regions[None, :, :2])  # (N, M, 2)
    last = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = (last - first).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return inside.amax(1) / area.clamp(min=1e-6)
