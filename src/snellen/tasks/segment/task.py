"""Semantic segmentation task: one class per pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core import rle
from snellen.core.detections import MaskRegion
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_predictions import WorstMaps
from snellen.metrics import segmentation
from snellen.metrics.intervals import statistic_of_sums
from snellen.nn.dense.padding import size_divisor
from snellen.nn.tiling import apply_tiled
from snellen.tasks.segment import views
from snellen.tasks.segment.diagnosis import DIAGNOSIS
from snellen.tasks.segment.display import DISPLAY

NO_TRUTH_REASON = "no pixel of the split has ground truth"


class Segmenter(Protocol):
    """Interface of a model of this task."""

    def scores(self, x: Tensor, /) -> Tensor:
        """(B, C, H, W) raw images to (B, K, H, W) log-probabilities up to a constant; the highest is predicted."""


def class_names(spec: Spec) -> tuple[str, ...]:
    """Names of the classes."""
    assert isinstance(spec.target, PixelClasses)
    return spec.target.names


def predict(model: Segmenter, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict every image of a split: confusion matrices, and the class maps of the worst images.

    Returns:
        confusion (N, K, K) int32, pixels by true and predicted class; truth (N, K) int64, pixels of each class; ids
        (N,); and the predicted class maps of the images with the lowest mean IoU: sizes (N, 3), zero for the others,
        and maps, concatenated and flat, subsampled to at most 640 pixels a side.
    Raises:
        Diverged: when a score is not finite.
    """
    names = class_names(data.spec)
    worst = WorstMaps()
    tables, ids = [], []
    with torch.inference_mode():
        for row, scene in enumerate(data.scenes(split, run.device).in_order()):
            assert isinstance(scene.truth, Tensor)
            scores = apply_tiled(model.scores, scene.image[None])[0]  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged(
                    f"A prediction is NaN or infinite: {data.name(scene.id)}",
                    "Train with a smaller --lr, and check that image.",
                )
            predicted = scores.argmax(0)
            table = segmentation.confusion_matrix(scene.truth, predicted, len(names)).cpu()
            worst.offer(row, float(image_errors(table[None])[0]), predicted[None])
            tables.append(table.to(torch.int32))
            ids.append(scene.id)
    confusion = torch.stack(tables) if tables else torch.zeros(0, len(names), len(names), dtype=torch.int32)
    sizes, maps = worst.flattened(len(ids), torch.int16)
    return {
        "confusion": confusion,
        "truth": confusion.long().sum(2),
        "ids": torch.tensor(ids, dtype=torch.int64),
        "sizes": sizes,
        "maps": maps,
    }


def image_errors(tables: Tensor) -> Tensor:
    """1 − mean IoU of each image over its classes; 0 where it has no ground truth. (N, K, K) to (N,) float64."""
    parts = segmentation.class_counts(tables)
    iou = segmentation.class_ious(parts)  # (N, K)
    present = parts[:, 1] > 0
    mean = torch.where(present, iou, 0.0).sum(1) / present.sum(1)
    return (1 - mean).nan_to_num(nan=0.0)


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Metrics: mean IoU, pixel accuracy and the IoU of each class, with intervals over images."""
    tables = predictions["confusion"]
    if not len(tables):
        return {"mean IoU": Metric(value=None, percent=True, reason="the split is empty")}
    metrics = {
        "mean IoU": segmentation.metric_over_images(tables, segmentation.mean_iou, NO_TRUTH_REASON),
        "pixel accuracy": segmentation.metric_over_images(tables, segmentation.pixel_accuracy, NO_TRUTH_REASON),
    }
    for k, name in enumerate(class_names(spec)):
        metrics[f"IoU of {name}"] = segmentation.metric_over_images(
            tables,
            lambda parts, k=k: segmentation.class_ious(parts)[..., k],  # type: ignore[misc]
            "no pixel of the split has this class, and none is predicted",
        )
    return metrics


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean IoU of resampled images, a function of (R, n) rows."""
    return statistic_of_sums(segmentation.class_counts(predictions["confusion"]), segmentation.mean_iou)


def predict_batch(model: Segmenter, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict raw images: {"shares": {class: fraction of the pixels}, "segments": {class: its mask}} of each."""
    predictions: list[PredictionDict] = []
    with torch.inference_mode():
        for image in x:  # one at a time: the scores of many large images would not fit into memory
            scores = apply_tiled(model.scores, image[None])[0]  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged("A prediction is NaN or infinite", "Train with a smaller --lr, and check that image.")
            predicted = scores.argmax(0).cpu()
            counts = torch.bincount(predicted.flatten(), minlength=len(scores)).tolist()
            class_counts = [
                (k, name, count) for k, (name, count) in enumerate(zip(class_names(spec), counts, strict=True))
            ]
            predictions.append(
                {
                    "shares": {name: count / predicted.numel() for _, name, count in class_counts},
                    "segments": {name: encode_mask(predicted == k) for k, name, count in class_counts if count},
                }
            )
    return predictions


def encode_mask(mask: Tensor) -> dict[str, Any]:
    """Encode a mask, (H, W) bool, as COCO compressed RLE."""
    size = (mask.shape[0], mask.shape[1])
    return {"size": list(size), "counts": rle.encode_lengths(rle.run_lengths(MaskRegion(0, 0, mask), size), size)}


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """Ground truth of an image: fraction and mask of each class."""
    assert data.annotations is not None
    truth_map = data.annotations.load(id)
    assert isinstance(truth_map, Tensor)
    known_pixels = max(int((truth_map >= 0).sum()), 1)
    class_counts = [(k, name, int((truth_map == k).sum())) for k, name in enumerate(class_names(data.spec))]
    return {
        "shares": {name: count / known_pixels for _, name, count in class_counts},
        "segments": {name: encode_mask(truth_map == k) for k, name, count in class_counts if count},
    }


class ExportedSegmenter(nn.Module):
    """Segmenter for export: scores and probabilities of every pixel, as named tensors."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw images to "scores" and "probabilities", (B, K, H, W)."""
        scores = self.model.scores(x)
        return {"scores": scores, "probabilities": scores.softmax(1)}


def export(model: Segmenter, spec: Spec) -> ExportedModel:
    names = class_names(spec)
    exported = ExportedSegmenter(model)
    return ExportedModel(
        module=exported,
        min_size=1 + size_divisor(exported),
        outputs=(Output(name="scores", columns=names), Output(name="probabilities", columns=names)),
    )


TASK: Task[Dataset[Labelled], Segmenter] = Task(
    name="segment",
    question="Which class belongs to each pixel?",
    default=lambda spec: "unet",
    headline=lambda spec: "mean IoU",
    applies_to=lambda spec: isinstance(spec.target, PixelClasses),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=lambda predictions, spec: image_errors(predictions["confusion"]),
    resampled_headline=resampled_headline,
    worst_samples=lambda predictions, spec, count: views.worst(image_errors(predictions["confusion"]), count),
    truth=truth,
    views=views.views,
    export=export,
    display=DISPLAY,
    diagnosis=DIAGNOSIS,
)
