"""Overlap of detections and ground truth: IoU of boxes and masks, object keypoint similarity (OKS)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snellen.metrics.matching import Overlap

# COCO's keypoints, and the standard deviation of their annotation relative to the size of the person.
COCO_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
COCO_SIGMAS = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)
DEFAULT_SIGMA = 0.05  # of keypoints without a published value: between an eye and an elbow


def box_overlap(detected: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> Overlap:
    """Box IoU; with a crowd, intersection over the area of the detection.

    Args:
        detected: (D, 4) x1 y1 x2 y2. true: (M, 4). crowd: (M,) bool.
    """
    detected, true = detected.astype(np.float64), true.astype(np.float64)

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = detected[d][:, :, None], true[m][:, None]  # (G, D, 1, 4), (G, 1, M, 4)
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])  # (G, D, M, 2)
        intersection = sides.clip(min=0).prod(-1)
        area, true_area = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
        union = np.where(crowd[m][:, None], area, area + true_area - intersection)
        iou: np.ndarray = np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)
        return iou

    return overlap


def mask_overlap(detected: Sequence[object], true: Sequence[object], crowd: np.ndarray) -> Overlap:
    """Mask IoU; with a crowd, intersection over the area of the detection.

    Args:
        detected, true: masks in COCO's run-length encoding, {"size", "counts"} each.
    """
    from faster_coco_eval.core import mask

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        iou = np.zeros((len(d), d.shape[1], m.shape[1]))
        for group, (rows, columns) in enumerate(zip(d, m, strict=True)):
            rows, columns = rows[rows >= 0], columns[columns >= 0]
            iou[group, : len(rows), : len(columns)] = mask.iou(
                [detected[k] for k in rows], [true[k] for k in columns], crowd[columns].tolist()
            )
        return iou

    return overlap


def keypoint_sigmas(names: Sequence[str]) -> np.ndarray:
    """(K,) standard deviations for the OKS: COCO's values for its 17 keypoints, else one default for all."""
    normalised = tuple(name.lower().replace(" ", "_").replace("-", "_") for name in names)
    return np.array(COCO_SIGMAS if normalised == COCO_NAMES else [DEFAULT_SIGMA] * len(names))


def keypoint_overlap(
    detected: np.ndarray, true: np.ndarray, boxes: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> Overlap:
    """Object keypoint similarity: the mean over labelled keypoints of exp(−d² / (8 s² σ²)), s² the area.

    Without labelled keypoints, the distance is that of the keypoints to the object's box enlarged three times: such an
    object is not counted, and detections on it are no false positives.

    Args:
        detected: (D, K, 3). true: (M, K, 3), whose last number is 0 for an unlabelled keypoint. boxes: (M, 4) of the
        true objects. areas: (M,) of the true objects. sigmas: (K,).
    Source: https://cocodataset.org/#keypoints-eval and `pycocotools`.
    """
    detected, true, boxes = detected.astype(np.float64), true.astype(np.float64), boxes.astype(np.float64)
    spread = (2 * sigmas) ** 2  # (K,)

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = detected[d][:, :, None], true[m][:, None]  # (G, D, 1, K, 3), (G, 1, M, K, 3)
        labelled = b[..., 2] > 0  # (G, 1, M, K)
        any_labelled = labelled.any(-1, keepdims=True)
        corner, side = boxes[m][:, None, :, None, :2], (boxes[m][..., 2:] - boxes[m][..., :2])[:, None, :, None]
        outside = (corner - side - a[..., :2]).clip(min=0) + (a[..., :2] - corner - 2 * side).clip(min=0)
        distance = np.where(any_labelled[..., None], a[..., :2] - b[..., :2], outside)  # (G, D, M, K, 2)
        size = (areas[m].astype(np.float64) + np.spacing(1))[:, None, :, None]
        similarity = np.exp(-(distance**2).sum(-1) / spread / size / 2)  # (G, D, M, K)
        selected = np.where(any_labelled, labelled, True)
        return (similarity * selected).sum(-1) / selected.sum(-1)  # type: ignore[no-any-return]

    return overlap
