"""How far what was found covers what is true: of boxes, masks and keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snellen.metrics.matching import Overlap

# How far people scatter who mark a keypoint, against the size of the person: nose, eyes, ears, shoulders, elbows,
# wrists, hips, knees, ankles.
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
SIGMA = 0.05  # of keypoints that no one has measured: between an eye and an elbow


def of_boxes(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> Overlap:
    """Intersection over union; with a crowd, over the find.

    Args:
        found: (D, 4) x1 y1 x2 y2. true: (M, 4). crowd: (M,) bool.
    """
    found, true = found.astype(np.float64), true.astype(np.float64)

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = found[d][:, :, None], true[m][:, None]  # (G, D, 1, 4), (G, 1, M, 4)
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])  # (G, D, M, 2)
        both = sides.clip(min=0).prod(-1)
        size, theirs = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
        whole = np.where(crowd[m][:, None], size, size + theirs - both)
        shared: np.ndarray = np.divide(both, whole, out=np.zeros_like(both), where=both > 0)
        return shared

    return overlap


def of_masks(found: Sequence[object], true: Sequence[object], crowd: np.ndarray) -> Overlap:
    """Intersection over union of pixels; with a crowd, over the find.

    Args:
        found, true: masks in COCO's short form, {"size", "counts"} each.
    """
    from faster_coco_eval.core import mask

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        shared = np.zeros((len(d), d.shape[1], m.shape[1]))
        for group, (rows, columns) in enumerate(zip(d, m, strict=True)):
            rows, columns = rows[rows >= 0], columns[columns >= 0]
            shared[group, : len(rows), : len(columns)] = mask.iou(
                [found[k] for k in rows], [true[k] for k in columns], crowd[columns].tolist()
            )
        return shared

    return overlap


def sigmas_of(names: Sequence[str]) -> np.ndarray:
    """(K,) how far apart a keypoint may be marked and still be the same: COCO's own for its 17, else one for all."""
    plain = tuple(name.lower().replace(" ", "_").replace("-", "_") for name in names)
    return np.array(COCO_SIGMAS if plain == COCO_NAMES else [SIGMA] * len(names))


def of_keypoints(
    found: np.ndarray, true: np.ndarray, boxes: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> Overlap:
    """Object keypoint similarity: the mean over labelled keypoints of exp(−d² / (8 s² σ²)), s² the area.

    Of an object without labelled keypoints, it is measured how far keypoints lie outside its box made three times as
    large: such an object is not counted, and finds on it are not held against the model.

    Args:
        found: (D, K, 3). true: (M, K, 3) with 0 in the last place where it is not labelled. boxes: (M, 4) of the true.
        areas: (M,) of the true. sigmas: (K,).
    Source: https://cocodataset.org/#keypoints-eval and `pycocotools`.
    """
    found, true, boxes = found.astype(np.float64), true.astype(np.float64), boxes.astype(np.float64)
    spread = (2 * sigmas) ** 2  # (K,)

    def overlap(d: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = found[d][:, :, None], true[m][:, None]  # (G, D, 1, K, 3), (G, 1, M, K, 3)
        labelled = b[..., 2] > 0  # (G, 1, M, K)
        any_of_it = labelled.any(-1, keepdims=True)
        corner, side = boxes[m][:, None, :, None, :2], (boxes[m][..., 2:] - boxes[m][..., :2])[:, None, :, None]
        outside = (corner - side - a[..., :2]).clip(min=0) + (a[..., :2] - corner - 2 * side).clip(min=0)
        away = np.where(any_of_it[..., None], a[..., :2] - b[..., :2], outside)  # (G, D, M, K, 2)
        size = (areas[m].astype(np.float64) + np.spacing(1))[:, None, :, None]
        near = np.exp(-(away**2).sum(-1) / spread / size / 2)  # (G, D, M, K)
        asked = np.where(any_of_it, labelled, True)
        return (near * asked).sum(-1) / asked.sum(-1)  # type: ignore[no-any-return]

    return overlap
