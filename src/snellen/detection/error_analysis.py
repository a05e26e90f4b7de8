"""Error analysis of detections after TIDE: types of false positives, and missed objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.detection.evaluation import (
    IOU_THRESHOLD,
    detection_arrays,
    ground_truth_arrays,
    match_detections,
    overlap_function,
    target_of,
)
from snellen.detection.protocol import IoUType

MIN_IOU = 0.1  # below, a detection is background

ERROR_TYPES = ("duplicate", "wrong class", "poor localisation", "wrong class and localisation", "background")
ERROR_DESCRIPTIONS = (
    "a higher-scoring detection matches the same object",
    f"IoU of at least {IOU_THRESHOLD:g} with an object of another class",
    f"IoU of {MIN_IOU:g} to {IOU_THRESHOLD:g} with an object of its class",
    f"IoU of {MIN_IOU:g} to {IOU_THRESHOLD:g} with an object of another class",
    f"IoU below {MIN_IOU:g} with every object",
)

BELOW_THRESHOLD, IGNORED, TRUE_POSITIVE = -3, -2, -1  # values of `ErrorTypes.kind` beside indices of ERROR_TYPES


@dataclass(frozen=True, kw_only=True)
class ErrorTypes:
    """Error type of every detection, and missed objects, of a split.

    Args:
        kind: (D,) of each detection: index in `ERROR_TYPES`, or BELOW_THRESHOLD, IGNORED, TRUE_POSITIVE.
        missed: (M,) bool, false negatives: counted objects without a true positive.
        counted: (M,) bool, objects that are neither crowd nor ignored.
        image, object_image: (D,) and (M,) position of the image of each.
    """

    kind: np.ndarray
    missed: np.ndarray
    counted: np.ndarray
    image: np.ndarray
    object_image: np.ndarray

    def per_image(self, count: int) -> np.ndarray:
        """(N,) number of errors in each image."""
        false_positives = np.bincount(self.image[self.kind >= 0], minlength=count)
        errors: np.ndarray = false_positives + np.bincount(self.object_image[self.missed], minlength=count)
        return errors


def classify_errors(predictions: Predictions, iou_type: IoUType, spec: Spec) -> ErrorTypes:
    """Classify the errors at the model's score threshold and IoU 0.5.

    Source: error types after Bolya, Foley, Hays and Hoffman 2020 ("TIDE").
    """
    matches = match_detections(predictions, iou_type, spec, thresholds=[IOU_THRESHOLD])
    detections, objects = detection_arrays(predictions, iou_type), ground_truth_arrays(predictions, iou_type)
    is_shown = matches.score >= float(predictions["threshold"])
    kind = np.full(len(detections.score), BELOW_THRESHOLD)
    is_ignored = matches.left_out[0, 0]
    kind[matches.detection_index] = np.where(~is_shown, BELOW_THRESHOLD, np.where(is_ignored, IGNORED, TRUE_POSITIVE))
    false_positives = matches.detection_index[is_shown & ~is_ignored & (matches.object_index[0, 0] < 0)]
    overlap = overlap_function(predictions, iou_type, target_of(spec))
    for image in np.unique(detections.image[false_positives]):
        rows = false_positives[detections.image[false_positives] == image]
        columns = np.flatnonzero(objects.image == image)
        iou = overlap(rows[None], columns[None])[0]  # (d, m)
        same_class = detections.label[rows][:, None] == objects.label[columns]
        kind[rows] = _error_types(
            np.where(same_class, iou, 0).max(1, initial=0), np.where(same_class, 0, iou).max(1, initial=0)
        )
    is_matched = np.zeros(len(objects.label), bool)
    matched = matches.object_index[0, 0][is_shown]
    is_matched[matched[matched >= 0]] = True
    return ErrorTypes(
        kind=kind,
        missed=matches.is_counted[0] & ~is_matched,
        counted=matches.is_counted[0],
        image=detections.image,
        object_image=objects.image,
    )


def _error_types(same_class: np.ndarray, other_class: np.ndarray) -> np.ndarray:
    """Error types of false positives from their largest IoU with objects of their class and of other classes."""
    conditions = [
        same_class >= IOU_THRESHOLD,
        other_class >= IOU_THRESHOLD,
        same_class >= MIN_IOU,
        other_class >= MIN_IOU,
    ]
    return np.select(conditions, [0, 1, 2, 3], 4)
