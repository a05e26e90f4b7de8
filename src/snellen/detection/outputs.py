"""Outputs of detectors: JSON objects for `predict` and `serve`, named tensors for export."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, GroundTruth, MaskRegion
from snellen.core.rle import encode_lengths, run_lengths
from snellen.core.spec import Boxes, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import target_of
from snellen.detection.prediction import BATCH_SIZE, check_finite, top_detections
from snellen.detection.protocol import Detector, IoUType, PaddedDetector


def predict_batch(iou_types: Sequence[IoUType], model: Detector, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """(B, C, H, W) to {"objects": [{"class", "score", "box", "mask", "keypoints"}], "threshold"} of each image.

    Only detections at or above the threshold are included.
    """
    detections: list[Detections] = []
    with torch.inference_mode():
        for batch in torch.split(x, BATCH_SIZE):
            detections += model.detect(list(batch))
    height, width = x.shape[-2:]
    threshold = float(model.threshold)
    answers: list[PredictionDict] = []
    for number, of_image in enumerate(detections, 1):
        check_finite(of_image, f"image {number}")
        objects = json_objects(iou_types, top_detections(of_image), (height, width), target_of(spec), threshold)
        answers.append({"objects": objects, "threshold": round(threshold, 6)})
    return answers


@contextlib.contextmanager
def all_detections(model: Any) -> Iterator[float]:
    """Context in which the score threshold of a detector is 0; yields the usual threshold."""
    threshold = model.threshold.clone()
    model.threshold.zero_()
    try:
        yield float(threshold)
    finally:
        model.threshold.copy_(threshold)


def json_objects(
    iou_types: Sequence[IoUType], detections: Detections, size: tuple[int, int], target: Boxes, threshold: float
) -> list[PredictionDict]:
    """Detections of one image as JSON objects, highest score first."""
    objects: list[PredictionDict] = []
    for k, score in enumerate(detections.scores.tolist()):
        if score < threshold:
            break
        entry: PredictionDict = {
            "class": target.names[int(detections.labels[k])],
            "score": score,
            "box": rounded_pixels(detections.boxes[k].tolist()),
        }
        if "masks" in iou_types and detections.masks is not None:
            entry["mask"] = rle_mask(detections.masks[k], size)
        if "keypoints" in iou_types and detections.keypoints is not None:
            entry["keypoints"] = [rounded_pixels(point) for point in detections.keypoints[k].tolist()]
        objects.append(entry)
    return objects


def rounded_pixels(numbers: Sequence[float]) -> list[float]:
    """Coordinates rounded to hundredths of a pixel, finer than the accuracy of any box."""
    return [round(number, 2) for number in numbers]


def rle_mask(mask: MaskRegion, size: tuple[int, int]) -> dict[str, Any]:
    """Mask as COCO RLE."""
    return {"size": list(size), "counts": encode_lengths(run_lengths(mask, size), size)}


def ground_truth(iou_types: Sequence[IoUType], data: Dataset[Labelled], id: int) -> PredictionDict:
    """Ground-truth objects of an image, in the format of a prediction."""
    target = target_of(data.spec)
    assert data.annotations is not None
    true = data.annotations.load(id)
    assert isinstance(true, GroundTruth)
    objects: list[PredictionDict] = []
    for k, label in enumerate(true.labels.tolist()):
        entry: PredictionDict = {"class": target.names[label], "box": rounded_pixels(true.boxes[k].tolist())}
        if "masks" in iou_types and true.masks is not None:
            height, width = true.masks.shape[1:]
            entry["mask"] = rle_mask(MaskRegion(0, 0, true.masks[k]), (height, width))
        if "keypoints" in iou_types and true.keypoints is not None:
            entry["keypoints"] = [rounded_pixels(point) for point in true.keypoints[k].tolist()]
        for word, flag in (("crowd", true.crowd[k]), ("ignored", true.ignored[k])):
            if bool(flag):
                entry[word] = True
        objects.append(entry)
    return {"objects": objects}


class ExportedDetector(nn.Module):
    """Detector for export: named tensors with a fixed number of rows per image."""

    def __init__(self, model: PaddedDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw images to the outputs of `PaddedDetector.detect_padded`."""
        return dict(self.model.detect_padded(x))


def export(iou_types: Sequence[IoUType], model: Detector, spec: Spec) -> ExportedModel:
    """Exported model with outputs boxes, scores, labels, count; masks and keypoints where the task has them."""
    names = target_of(spec).names
    outputs = [
        Output(name="boxes", columns=("x1", "y1", "x2", "y2"), units=("px",) * 4),
        Output(name="scores", columns=("score",)),
        Output(name="labels", columns=names),
        Output(name="count", columns=("detections",)),
    ]
    if "masks" in iou_types:
        outputs.append(Output(name="masks", columns=("inside",)))
    if "keypoints" in iou_types:
        outputs.append(Output(name="keypoints", columns=("x", "y", "score"), units=("px", "px", "")))
    return ExportedModel(module=ExportedDetector(cast(PaddedDetector, model)), outputs=tuple(outputs), is_detector=True)
