"""From the small soft mask of a box to the pixels it covers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from snellen.core.detections import Region

INSIDE = 0.5  # probability above which a pixel belongs to the object


def regions(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[Region]:
    """Each mask laid into its box, as pixels inside or outside, and never larger than the box.

    A border of zeros is put around the mask and the box grown by as much, so that the outermost cells fade out;
    the grown box is cut to whole pixels, and the mask is sampled bilinearly at each of them. Only pixels of the box
    are computed, and a pixel takes a byte: pasting into whole pictures of float32 costs a hundred times as much.

    Args:
        masks: (D, S, S) float, probabilities.
        boxes: (D, 4) float, pixels, x1 y1 x2 y2.
        size: height and width of the picture, in which what lies outside is cut off.
    Returns:
        D regions; one without pixels where the box lies outside.
    Source: He, Gkioxari, Dollár and Girshick 2017; the same pixels as torchvision's `paste_masks_in_image`.
    """
    if not len(boxes):
        return []
    side = masks.shape[-1]
    padded = functional.pad(masks.float(), (1, 1, 1, 1))[:, None]  # (D, 1, S + 2, S + 2)
    grown = _grown(boxes.float(), (side + 2) / side).to(torch.int64)  # (D, 4)
    return [_region(mask[None], box, size) for mask, box in zip(padded, grown.tolist(), strict=True)]


def _grown(boxes: Tensor, scale: float) -> Tensor:
    """(D, 4) boxes larger by a factor about their centres."""
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * scale
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], 1)


def _region(mask: Tensor, box: Sequence[int], size: tuple[int, int]) -> Region:
    """(1, 1, S, S) sampled at the pixels of a box whose ends are whole and inside it."""
    x1, y1, x2, y2 = box
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    top, left = max(y1, 0), max(x1, 0)
    bottom, right = min(y2 + 1, size[0]), min(x2 + 1, size[1])
    if bottom <= top or right <= left:
        return Region(0, 0, torch.zeros(0, 0, dtype=torch.bool, device=mask.device))
    drawn = functional.interpolate(mask, size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    return Region(top, left, drawn[top - y1 : bottom - y1, left - x1 : right - x1] > INSIDE)
