"""Score threshold of a detector with the highest F1, and validation AP during training."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch

from snellen.core.run import Run
from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import IOU_THRESHOLD, match_detections
from snellen.detection.prediction import predict
from snellen.detection.protocol import Detector, IoUType
from snellen.metrics.detection import average_precision

DEFAULT_THRESHOLD = 0.5  # without true positives
MAX_IMAGES = 200  # for choosing the threshold
MAX_VALIDATION_IMAGES = 48  # after each epoch, and at most an eighth of the training split


def best_f1_threshold(predictions: Predictions, iou_type: IoUType, spec: Spec) -> tuple[float, float]:
    """Score threshold with the highest F1 over all classes at IoU 0.5, and that F1."""
    matches = match_detections(predictions, iou_type, spec, thresholds=[IOU_THRESHOLD])
    counts = ~matches.left_out[0, 0]
    order = np.argsort(-matches.score[counts], kind="stable")
    score = matches.score[counts][order]
    correct = (matches.object_index[0, 0][counts][order] >= 0).cumsum()
    if not len(correct) or not correct[-1]:
        return DEFAULT_THRESHOLD, 0.0
    f1 = 2 * correct / (np.arange(1, len(correct) + 1) + matches.is_counted[0].sum())
    is_last = np.append(score[1:] < score[:-1], True)  # a threshold cannot separate equal scores
    best = int(np.flatnonzero(is_last)[f1[is_last].argmax()])
    return float(score[best]), float(f1[best])


def choose_threshold(iou_type: IoUType, model: Detector, data: Dataset[Labelled], run: Run) -> None:
    """Set the model's score threshold on the validation split (training split if it is empty) and note it.

    Predictions of the whole validation split are kept for its evaluation.
    """
    split = "val" if len(data.splits["val"]) else "train"
    subset = subsample(data, split, MAX_IMAGES)
    started = time.monotonic()
    with torch.inference_mode():
        predictions = predict((iou_type,), model, subset, split, run)
        score, f1 = best_f1_threshold(predictions, iou_type, data.spec)
    model.threshold.fill_(score)
    if split == "val" and len(subset.splits["val"]) == len(data.splits["val"]):
        complete = {**predictions, "threshold": model.threshold.float().cpu().reshape(())}
        run.validation_predictions = (complete, time.monotonic() - started)
    run.notes["threshold"] = {
        "score": round(score, 6),
        "f1": round(f1, 6),
        "split": split,
        "pictures": len(subset.splits[split]),
    }


def subsample(data: Dataset[Labelled], split: str, max_images: int) -> Dataset[Labelled]:
    """Dataset with at most `max_images` evenly spaced images in a split."""
    ids = data.splits[split]
    chosen = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), max_images)).round().long()]
    return dataclasses.replace(data, splits={**data.splits, split: chosen})


def validation_subset(data: Dataset[Labelled]) -> Dataset[Labelled]:
    """Dataset with the validation images that are evaluated after every epoch.

    All of them would take longer than training.
    """
    return subsample(data, "val", min(MAX_VALIDATION_IMAGES, max(4, len(data.splits["train"]) // 8)))


def validation_score(iou_type: IoUType, model: Detector, data: Dataset[Labelled], run: Run) -> float:
    """AP on the validation split."""
    matches = match_detections(predict((iou_type,), model, data, "val", run), iou_type, data.spec)
    return float(average_precision(matches)[0].nanmean().nan_to_num(0.0))
