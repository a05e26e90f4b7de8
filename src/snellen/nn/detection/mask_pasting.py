"""Mask pasting: from the small soft mask of a box to a binary mask of image pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from snellen.core.detections import MaskRegion

MASK_THRESHOLD = 0.5  # probability above which a pixel belongs to the object


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[MaskRegion]:
    """Paste each mask into its box as a binary mask, no larger than the box.

    The mask is padded with a border of zeros and the box enlarged accordingly, so that the outermost cells fade out;
    the enlarged box is rounded to whole pixels, and the mask is sampled bilinearly at each of them. Only pixels of the
    box are computed, one byte each: pasting into full float32 images costs a hundred times as much.

    Args:
        masks: (D, S, S) float, probabilities.
        boxes: (D, 4) float, pixels, x1 y1 x2 y2.
        size: height and width of the image, to which regions are clipped.
    Returns:
        D regions; a box outside the image gives a region without pixels.
    Source: He, Gkioxari, Dollár and Girshick 2017; the same pixels as torchvision's `paste_masks_in_image`.
    """
    if not len(boxes):
        return []
    side = masks.shape[-1]
    padded = functional.pad(masks.float(), (1, 1, 1, 1))[:, None]  # (D, 1, S + 2, S + 2)
    enlarged = _enlarge(boxes.float(), (side + 2) / side).to(torch.int64)  # (D, 4)
    return [_paste(mask[None], box, size) for mask, box in zip(padded, enlarged.tolist(), strict=True)]


def _enlarge(boxes: Tensor, scale: float) -> Tensor:
    """Scale (D, 4) boxes about their centres."""
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * scale
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], 1)


def _paste(mask: Tensor, box: Sequence[int], size: tuple[int, int]) -> MaskRegion:
    """Sample a (1, 1, S, S) mask at the pixels of a box with integer corners, which it includes."""
    x1, y1, x2, y2 = box
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    top, left = max(y1, 0), max(x1, 0)
    bottom, right = min(y2 + 1, size[0]), min(x2 + 1, size[1])
    if bottom <= top or right <= left:
        return MaskRegion(0, 0, torch.zeros(0, 0, dtype=torch.bool, device=mask.device))
    resized = functional.interpolate(mask, size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    return MaskRegion(top, left, resized[top - y1 : bottom - y1, left - x1 : right - x1] > MASK_THRESHOLD)
