"""Semantic segmentation task: one class per pixel, or at every step of a sequence or voxel of a volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.architectures.dense import DEFAULTS
from snellen.core import rle
from snellen.core.detections import MaskRegion
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.annotations import IGNORE_INDEX
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_predictions import WorstMaps
from snellen.metrics import segmentation
from snellen.metrics.intervals import statistic_of_sums
from snellen.modalities import modality_of
from snellen.nn.dense.padding import size_divisor
from snellen.tasks.segment import views
from snellen.tasks.segment.diagnosis import DIAGNOSIS
from snellen.tasks.segment.display import DISPLAY
from snellen.training.dense import inside, predict_places


class Segmenter(Protocol):
    """Interface of a model of this task."""

    def scores(self, x: Tensor, /) -> Tensor:
        """(B, C, H, W) raw images to (B, K, H, W) log-probabilities up to a constant; the highest is predicted.

        Of other inputs, such as sequences (B, T, D) and volumes (B, C, Z, Y, X): (B, K, *places).
        """


def class_names(spec: Spec) -> tuple[str, ...]:
    """Names of the classes."""
    assert isinstance(spec.target, PixelClasses)
    return spec.target.names


def predict(model: Segmenter, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict every image of a split: confusion matrices, and the class maps of the worst images.

    Returns:
        confusion (N, K, K) int32, pixels by true and predicted class; truth (N, K) int64, pixels of each class; ids
        (N,); and the predicted class maps of the images with the lowest mean IoU: sizes (N, 3), zero for the others,
        and maps, concatenated and flat, subsampled to at most 640 pixels a side; -1 after the end of a sequence.
    Raises:
        Diverged: when a score is not finite.
    """
    names = class_names(data.spec)
    worst = WorstMaps()
    tables, ids = [], []
    with torch.inference_mode():
        for row, scene in enumerate(data.scenes(split, run.device).in_order()):
            assert isinstance(scene.truth, Tensor)
            scores = predict_places(model.scores, scene.image, data.spec.input)  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged(
                    f"A prediction is NaN or infinite: {data.name(scene.id)}",
                    "Train with a smaller --lr, and check that sample.",
                )
            predicted = scores.argmax(0)
            table = segmentation.confusion_matrix(scene.truth, predicted, len(names)).cpu()
            shown = predicted.masked_fill(~inside(scene.image, data.spec.input), IGNORE_INDEX)
            worst.offer(row, float(image_errors(table[None])[0]), shown[None])
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
    """Metrics: mean IoU, accuracy of pixels and the IoU of each class, with intervals over images."""
    place, over = spec.input.place, modality_of(spec).noun
    no_truth = f"no {place} of the split has ground truth"
    tables = predictions["confusion"]
    if not len(tables):
        return {"mean IoU": Metric(value=None, percent=True, reason="the split is empty")}
    metrics = {
        "mean IoU": segmentation.metric_over_images(tables, segmentation.mean_iou, no_truth, over),
        f"{place} accuracy": segmentation.metric_over_images(tables, segmentation.pixel_accuracy, no_truth, over),
    }
    for k, name in enumerate(class_names(spec)):
        metrics[f"IoU of {name}"] = segmentation.metric_over_images(
            tables,
            lambda parts, k=k: segmentation.class_ious(parts)[..., k],  # type: ignore[misc]
            f"no {place} of the split has this class, and none is predicted",
            over,
        )
    return metrics


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean IoU of resampled images, a function of (R, n) rows."""
    return statistic_of_sums(segmentation.class_counts(predictions["confusion"]), segmentation.mean_iou)


def predict_batch(model: Segmenter, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict raw samples; each prediction is of the form of `encode_classes`."""
    predictions: list[PredictionDict] = []
    with torch.inference_mode():
        for sample in x:  # one at a time: the scores of many large images would not fit into memory
            scores = predict_places(model.scores, sample, spec.input)  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged("A prediction is NaN or infinite", "Train with a smaller --lr, and check that sample.")
            predicted = scores.argmax(0).masked_fill(~inside(sample, spec.input), IGNORE_INDEX).cpu()
            predictions.append(encode_classes(predicted, spec))
    return predictions


def encode_classes(classes: Tensor, spec: Spec) -> PredictionDict:
    """Encode the class of every place, (*places) int64 with -1 for none, as plain data.

    Returns:
        "shares", {class: fraction of the places with a class}; and of a sequence "classes", the name of the class of
        every step up to the end (None for none), of images and volumes "segments", {class: its mask}.
    """
    names = class_names(spec)
    counts = torch.bincount(classes[classes >= 0], minlength=len(names)).tolist()
    shares = {name: count / max(sum(counts), 1) for name, count in zip(names, counts, strict=True)}
    if classes.ndim == 1:
        end = int(torch.nonzero(classes >= 0).max()) + 1 if sum(counts) else 0
        return {"shares": shares, "classes": [names[k] if k >= 0 else None for k in classes[:end].tolist()]}
    masks = {
        name: encode_mask(classes == k) for k, (name, count) in enumerate(zip(names, counts, strict=True)) if count
    }
    return {"shares": shares, "segments": masks}


def encode_mask(mask: Tensor) -> dict[str, Any]:
    """Encode a mask, (H, W) bool, as COCO compressed RLE: column by column.

    The voxels of a volume, (Z, Y, X) bool, are one column, with x varying fastest.
    """
    column = mask if mask.ndim == 2 else mask.reshape(-1, 1)
    size = (column.shape[0], column.shape[1])
    counts = rle.encode_lengths(rle.run_lengths(MaskRegion(0, 0, column), size), size)
    return {"size": list(mask.shape), "counts": counts}


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """Ground truth of a sample, in the form of a prediction."""
    assert data.annotations is not None
    truth_map = data.annotations.load(id)
    assert isinstance(truth_map, Tensor)
    return encode_classes(truth_map, data.spec)


class ExportedSegmenter(nn.Module):
    """Segmenter for export: scores and probabilities of every pixel, as named tensors."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw images to "scores" and "probabilities", (B, K, H, W); of other samples (B, K, *places)."""
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
    question="Which class belongs to each pixel, step or voxel?",
    default=lambda spec: DEFAULTS.get(spec.modality, "baseline"),
    headline=lambda spec: "mean IoU",
    validation_score=lambda spec: "mean IoU",
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
