"""Losses of two-stage detectors: region proposals, boxes, masks and keypoints.

One-stage detectors use torchvision's losses, see `one_stage`.

Source: Ren, He, Girshick and Sun 2015; Girshick 2015; He, Gkioxari, Dollár and Girshick 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss


def rpn_losses(logits: Tensor, deltas: Tensor, positive: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Binary cross-entropy of the objectness, and smooth L1 distance of the offsets of positive anchors.

    Args:
        logits, deltas: (A,) and (A, 4) of the sampled anchors.
        positive: (A,) bool.
        targets: (P, 4) offsets of the P positive anchors.
    """
    distance = smooth_l1_loss(deltas[positive], targets, beta=1 / 9, reduction="sum")
    return {
        "objectness": binary_cross_entropy_with_logits(logits, positive.float()),
        "proposals": distance / max(len(logits), 1),
    }


def box_losses(logits: Tensor, deltas: Tensor, labels: Tensor, positives: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the class, and smooth L1 distance of the offsets of the true class.

    Args:
        logits, deltas: (R, 1 + K) and (R, 1 + K, 4) of the sampled regions; class 0 is background.
        labels: (R,) int64.
        positives: (P,) int64, indices of the positive regions.
        targets: (P, 4) their offsets.
    """
    distance = smooth_l1_loss(deltas[positives, labels[positives]], targets, beta=1 / 9, reduction="sum")
    return {"class": cross_entropy(logits, labels), "box": distance / max(len(labels), 1)}


def mask_loss(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of the mask of the true class.

    Args:
        logits: (P, 1 + K, M, M) of the positive regions.
        labels: (P,) int64.
        targets: (P, M, M) in 0 ... 1.
    """
    class_logits = logits[torch.arange(len(logits), device=logits.device), labels]
    return binary_cross_entropy_with_logits(class_logits, targets)


def keypoint_loss(logits: Tensor, inside: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the cells of the heatmap of every labelled keypoint.

    Args:
        logits: (P, K, M, M) of the positive regions.
        inside: (P, K) bool: labelled and inside the region.
        targets: (P, K) int64, the cell of each keypoint.
    """
    return cross_entropy(logits.flatten(2)[inside], targets[inside])
