"""Evaluation of detections: COCO average precision with its interval; F1, precision and recall at the threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import Metric
from snellen.detection.protocol import IoUType
from snellen.metrics import detection, iou
from snellen.metrics.intervals import add_interval
from snellen.metrics.matching import (
    AREA_RANGES,
    DetectionArrays,
    GroundTruthArrays,
    Matches,
    MatchingRules,
    Overlap,
    match,
)

PREFIXES: dict[IoUType, str] = {"boxes": "box ", "masks": "mask ", "keypoints": "keypoint "}
BOOTSTRAP_SAMPLES = 200  # resampled sets of images for the interval of AP
MAX_POSES = 20  # detections per class and image for keypoint AP, as in COCO
IOU_THRESHOLD = 0.5  # for F1, precision, recall and error types


def headline(iou_types: Sequence[IoUType]) -> str:
    """Name of the headline metric: "AP" for boxes alone, else "mask AP" or "keypoint AP"."""
    return _prefix(iou_types, iou_types[0]) + "AP"


def _prefix(iou_types: Sequence[IoUType], iou_type: IoUType) -> str:
    return "" if len(iou_types) == 1 else PREFIXES[iou_type]


def target_of(spec: Spec) -> Boxes:
    assert isinstance(spec.target, Boxes)
    return spec.target


def match_detections(
    predictions: Predictions,
    iou_type: IoUType,
    spec: Spec,
    sizes: Sequence[str] = ("all",),
    thresholds: Sequence[float] | None = None,
) -> Matches:
    """Match detections to ground-truth objects by the IoU of boxes or masks, or the OKS of keypoints.

    Args:
        sizes: names of `AREA_RANGES`.
        thresholds: IoU thresholds; None: COCO's ten.
    """
    rules = MatchingRules(
        area_ranges=tuple(AREA_RANGES[size] for size in sizes),
        max_detections=MAX_POSES if iou_type == "keypoints" else 100,
    )
    if thresholds is not None:
        rules = MatchingRules(
            thresholds=tuple(thresholds), area_ranges=rules.area_ranges, max_detections=rules.max_detections
        )
    target = target_of(spec)
    return match(
        detection_arrays(predictions, iou_type),
        ground_truth_arrays(predictions, iou_type),
        overlap_function(predictions, iou_type, target),
        len(predictions["ids"]),
        len(target.names),
        rules,
    )


def detection_arrays(predictions: Predictions, iou_type: IoUType) -> DetectionArrays:
    """Arrays of all detections; the area of each decides its size range."""
    boxes = predictions["boxes"].double()
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1).numpy()
    if iou_type == "masks":
        area = _areas(predictions["counts"], predictions["runs"])
    if iou_type == "keypoints" and len(boxes):  # area of the box around the keypoints
        points = predictions["keypoints"][..., :2].double()
        area = (points.amax(1) - points.amin(1)).prod(1).numpy()
    return DetectionArrays(
        _image_indices(predictions["num_detections"]),
        predictions["labels"].numpy(),
        predictions["scores"].double().numpy(),
        area,
    )


def ground_truth_arrays(predictions: Predictions, iou_type: IoUType) -> GroundTruthArrays:
    """Arrays of all ground-truth objects. For keypoints, an object without labelled keypoints is ignored."""
    ignored = predictions["ignored"]
    if iou_type == "keypoints":
        ignored = ignored | ~(predictions["true_keypoints"][..., 2] > 0).any(1)
    return GroundTruthArrays(
        _image_indices(predictions["num_objects"]),
        predictions["true_labels"].numpy(),
        predictions["crowd"].numpy(),
        ignored.numpy(),
        predictions["areas"].double().numpy(),
    )


def _image_indices(counts: Tensor) -> np.ndarray:
    """(D,) position of the image of each detection or object."""
    return np.repeat(np.arange(len(counts)), counts.numpy())


def overlap_function(predictions: Predictions, iou_type: IoUType, target: Boxes) -> Overlap:
    """Overlap between detections and objects: box IoU, mask IoU or object keypoint similarity."""
    crowd = predictions["crowd"].numpy()
    if iou_type == "masks":
        return iou.mask_overlap(
            coco_rles(predictions, "counts", "runs", "num_detections"),
            coco_rles(predictions, "true_counts", "true_runs", "num_objects"),
            crowd,
        )
    if iou_type == "keypoints":
        return iou.keypoint_overlap(
            predictions["keypoints"].numpy(),
            predictions["true_keypoints"].numpy(),
            predictions["truth"].numpy(),
            predictions["areas"].numpy(),
            iou.keypoint_sigmas(target.keypoints),
        )
    return iou.box_overlap(predictions["boxes"].numpy(), predictions["truth"].numpy(), crowd)


def _areas(counts: Tensor, runs: Tensor) -> np.ndarray:
    """(D,) areas of masks in pixels from their run lengths; every second run is of ones."""
    lengths, num_runs = counts.numpy().astype(np.int64), runs.numpy()
    index = np.arange(len(lengths)) - np.repeat(num_runs.cumsum() - num_runs, num_runs)
    cumulative = np.concatenate([[0], np.where(index % 2 == 1, lengths, 0).cumsum()])
    ends = num_runs.cumsum()
    areas: np.ndarray = (cumulative[ends] - cumulative[ends - num_runs]).astype(np.float64)
    return areas


def run_lengths(predictions: Predictions, counts: str, runs: str) -> list[np.ndarray]:
    """Run lengths of each mask."""
    return (
        np.split(predictions[counts].numpy(), predictions[runs].numpy().cumsum()[:-1]) if len(predictions[runs]) else []
    )


def coco_rles(predictions: Predictions, counts: str, runs: str, numbers: str) -> list[dict[str, object]]:
    """Masks as compressed COCO RLE."""
    from faster_coco_eval.core import mask

    sizes = predictions["sizes"].repeat_interleave(predictions[numbers], 0).tolist()
    uncompressed = [
        {"size": size, "counts": lengths.tolist()}
        for size, lengths in zip(sizes, run_lengths(predictions, counts, runs), strict=True)
    ]
    return [mask.frPyObjects(rle, *rle["size"]) for rle in uncompressed]


def measure(iou_types: Sequence[IoUType], predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """COCO metrics for each IoU type; F1, precision and recall at the model's score threshold."""
    if not len(predictions["ids"]):
        return {headline(iou_types): Metric(value=None, percent=True, reason="the split is empty")}
    metrics: dict[str, Metric] = {}
    for iou_type in iou_types:
        metrics |= _average_precisions(
            predictions, iou_type, spec, _prefix(iou_types, iou_type), with_interval=iou_type == iou_types[0]
        )
    return {
        **metrics,
        **_metrics_at_threshold(
            match_detections(predictions, iou_types[0], spec, thresholds=[IOU_THRESHOLD]),
            float(predictions["threshold"]),
        ),
    }


def _average_precisions(
    predictions: Predictions, iou_type: IoUType, spec: Spec, prefix: str, with_interval: bool
) -> dict[str, Metric]:
    """AP, AP50, AP75, AP by object size, and average recall (AR)."""
    ranges = [size for size in AREA_RANGES if not (iou_type == "keypoints" and size == "small")]
    matches = match_detections(predictions, iou_type, spec, ranges)
    precision, recall = (values[0] for values in detection.average_precision(matches))  # (T, K)
    overall = _mean(precision, "the split has no ground-truth objects")
    if with_interval and overall.value is not None:
        count = len(predictions["ids"])
        overall = add_interval(
            dataclasses.replace(overall, over="images"), detection.resampled_mean_ap(matches), count, BOOTSTRAP_SAMPLES
        )
    metrics = {
        f"{prefix}AP": overall,
        f"{prefix}AP50": _mean(precision[:1], overall.reason),
        f"{prefix}AP75": _mean(precision[5:6], overall.reason),
    }
    for index, size in enumerate(ranges):
        if size != "all":
            by_size = detection.average_precision(matches, size_range=index)[0][0]
            metrics[f"{prefix}AP {size}"] = _mean(by_size, f"the split has no {size} objects")
    return {**metrics, f"{prefix}AR": _mean(recall, overall.reason)}


def _mean(values: Tensor, reason: str) -> Metric:
    """Mean over thresholds and classes; classes without objects (NaN) are left out."""
    defined = values[~values.isnan()]
    if not len(defined):
        return Metric(value=None, percent=True, reason=reason)
    return Metric(value=float(defined.mean()), percent=True)


def _metrics_at_threshold(matches: Matches, threshold: float) -> dict[str, Metric]:
    """F1, precision and recall of the detections at or above the score threshold."""
    correct, detected, present = count_true_positives(matches, threshold)
    metrics = {
        "precision": Metric(value=correct / detected, percent=True)
        if detected
        else Metric(value=None, percent=True, reason="there are no detections"),
        "recall": Metric(value=correct / present, percent=True)
        if present
        else Metric(value=None, percent=True, reason="there are no ground-truth objects"),
    }
    f1 = (
        Metric(value=2 * correct / (detected + present), percent=True)
        if detected + present
        else Metric(value=None, percent=True, reason="there are neither objects nor detections")
    )
    return {"F1": f1, **metrics}


def count_true_positives(matches: Matches, threshold: float) -> tuple[int, int, int]:
    """Numbers of true positives, detections and objects at the first IoU threshold and a score threshold."""
    detected = ~matches.left_out[0, 0] & (matches.score >= threshold)
    correct = detected & (matches.object_index[0, 0] >= 0)
    return int(correct.sum()), int(detected.sum()), int(matches.is_counted[0].sum())


def resampled_headline(
    iou_types: Sequence[IoUType], predictions: Predictions, spec: Spec
) -> Callable[[Tensor], Tensor]:
    """Function from (R, n) resampled rows to the headline metric of each."""
    return detection.resampled_mean_ap(match_detections(predictions, iou_types[0], spec))


def errors(iou_types: Sequence[IoUType], predictions: Predictions, spec: Spec) -> Tensor:
    """(N,) jackknife error of each image: 1 − its pseudo-value of the headline AP.

    Average precision is not a mean over images. Its jackknife pseudo-values are, up to bias: N times the AP of all
    images minus N − 1 times the AP without this one.

    Source: Quenouille 1956; Tukey 1958.
    """
    count = len(predictions["ids"])
    matches = match_detections(predictions, iou_types[0], spec)
    overall = detection.average_precision(matches)[0].nanmean().nan_to_num(0.0)
    if count < 2:
        return (1 - overall).expand(count).clone()
    chunks = [(torch.ones(count, count) - torch.eye(count))[rows] for rows in torch.split(torch.arange(count), 256)]
    leave_one_out = torch.cat(
        [detection.average_precision(matches, weights)[0].nanmean((1, 2)).nan_to_num(0.0) for weights in chunks]
    )  # (N,)
    return 1 - (count * overall - (count - 1) * leave_one_out)
