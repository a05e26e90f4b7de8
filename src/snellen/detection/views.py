"""Report views of a detector: worst images, classes, error types, object sizes, precision–recall curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import MaskRegion
from snellen.core.rle import region_from_lengths
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Mark, Plot, Series, Table, Text, View
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.error_analysis import (
    ERROR_DESCRIPTIONS,
    ERROR_TYPES,
    IGNORED,
    TRUE_POSITIVE,
    ErrorTypes,
    classify_errors,
)
from snellen.detection.evaluation import match_detections, run_lengths, target_of
from snellen.detection.protocol import IoUType
from snellen.metrics.detection import average_precision, precision_recall
from snellen.metrics.matching import AREA_RANGES, Matches
from snellen.nn.layers import robust_range

MAX_WORST_IMAGES = 8
MAX_CURVES = 8  # precision–recall curves, of the most frequent classes
MAX_POINTS = 200  # per curve
MAX_CLASSES = 40  # rows of the class table, the most frequent classes


def views(iou_types: Sequence[IoUType], predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """All report views of the predictions on a split."""
    iou_type, target = iou_types[0], target_of(spec)
    matches = match_detections(predictions, iou_type, spec, list(AREA_RANGES))
    errors = classify_errors(predictions, iou_type, spec)
    return [
        *_worst_images(iou_types, predictions, data, spec, errors),
        _threshold_text(predictions, data),
        _class_table(predictions, matches, errors, target),
        _error_table(errors),
        _size_table(matches),
        _precision_recall_curves(matches, target),
    ]


def worst_samples(
    iou_types: Sequence[IoUType], predictions: Predictions, spec: Spec, count: int = MAX_WORST_IMAGES
) -> Tensor:
    """Rows of the images with the most errors, worst first."""
    return _worst_rows(classify_errors(predictions, iou_types[0], spec), len(predictions["ids"]), count)


def _worst_rows(errors: ErrorTypes, num_images: int, count: int) -> Tensor:
    num_errors = torch.from_numpy(errors.per_image(num_images))
    order = torch.argsort(num_errors, descending=True, stable=True)[:count]
    return order[num_errors[order] > 0]


class ImageMarks(NamedTuple):
    """Drawable marks of the detections, or of the ground-truth objects, of all images.

    mark: index of a detection to its mark. ends: (N,) end of the detections of each image.
    """

    mark: Callable[[int], Mark]
    ends: np.ndarray

    def of(self, row: int, selected: np.ndarray) -> list[Mark]:
        """Marks of an image, of the selected detections; `selected`: (D,) bool over all images."""
        first = 0 if row == 0 else int(self.ends[row - 1])
        return [self.mark(k) for k in range(first, int(self.ends[row])) if selected[k]]


def _image_marks(iou_types: Sequence[IoUType], predictions: Predictions, target: Boxes, true: bool) -> ImageMarks:
    """Marks with box, class and score; with masks and keypoints where the task has them."""
    boxes = predictions["truth" if true else "boxes"].tolist()
    labels = predictions["true_labels" if true else "labels"].tolist()
    masks = (
        run_lengths(predictions, *(("true_counts", "true_runs") if true else ("counts", "runs")))
        if "masks" in iou_types
        else []
    )
    points = predictions["true_keypoints" if true else "keypoints"].tolist() if "keypoints" in iou_types else []
    sizes = predictions["sizes"].repeat_interleave(predictions["num_objects" if true else "num_detections"], 0).tolist()

    def mark(k: int) -> Mark:
        name = target.names[labels[k]]
        label = name if true else f"{name} {float(predictions['scores'][k]):.2f}"
        region: MaskRegion | None = region_from_lengths(masks[k].astype(np.int64), tuple(sizes[k])) if masks else None
        coordinates = (
            [(x, y) for x, y, visibility in points[k] if visibility > 0]
            if points and true
            else [(x, y) for x, y, _ in points[k]]
            if points
            else []
        )
        is_complete = bool(points) and len(coordinates) == len(points[k])
        # Masks of one class that touch are told apart by their colours.
        colour_index = k if len(target.names) == 1 and masks else labels[k]
        return Mark(
            label=label,
            colour_index=colour_index,
            box=tuple(boxes[k]),
            region=region,
            points=coordinates,
            bones=target.bones if is_complete else (),
        )

    return ImageMarks(mark, predictions["num_objects" if true else "num_detections"].cumsum(0).numpy())


def _worst_images(
    iou_types: Sequence[IoUType], predictions: Predictions, data: Dataset[Labelled], spec: Spec, errors: ErrorTypes
) -> list[View]:
    rows = _worst_rows(errors, len(predictions["ids"]), MAX_WORST_IMAGES)
    if not len(rows):
        return []
    target = target_of(spec)
    detected, truth = (_image_marks(iou_types, predictions, target, true) for true in (False, True))
    is_shown = predictions["scores"].numpy() >= float(predictions["threshold"])
    all_objects = np.ones(len(predictions["truth"]), bool)
    items = []
    for row in rows.tolist():
        x = data.image(int(predictions["ids"][row]))
        low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
        panel = AnnotatedImage(values=x, low=low, high=high, caption="ground truth", marks=truth.of(row, all_objects))
        items.append(
            AnnotatedImage(
                values=x,
                low=low,
                high=high,
                marks=detected.of(row, is_shown),
                panels=[panel],
                good=False,
                caption=f"{_error_counts(errors, row)}\n{data.name(int(predictions['ids'][row]))}",
            )
        )
    return [
        ImageGrid(
            title="Worst images",
            items=items,
            caption="The images with the most errors: detections on the left, ground truth on the right. Labels are "
            "left out where there is no room.",
            legend=tuple((name, k) for k, name in enumerate(target.names)) if len(target.names) > 1 else (),
        )
    ]


def _error_counts(errors: ErrorTypes, row: int) -> str:
    """Error counts of an image as text: "2 missed, 1 duplicate"."""
    missed = int(errors.missed[errors.object_image == row].sum())
    kinds = errors.kind[errors.image == row]
    counts = [(missed, "missed"), *((int((kinds == index).sum()), kind) for index, kind in enumerate(ERROR_TYPES))]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _threshold_text(predictions: Predictions, data: Dataset[Labelled]) -> Text:
    threshold, scores = float(predictions["threshold"]), predictions["scores"]
    split = "validation" if len(data.splits["val"]) else "training"
    above = int((scores >= threshold).sum())
    return Text(
        title="",
        lines=[
            f"Score threshold {threshold:.3g}, chosen for the highest F1 on the {split} split: {above:,} of "
            f"{len(scores):,} detections are at or above it, for {len(predictions['truth']):,} ground-truth objects. "
            "Average precision uses all detections, whatever their score."
        ],
    )


def _class_table(predictions: Predictions, matches: Matches, errors: ErrorTypes, target: Boxes) -> Table:
    precision = average_precision(matches)[0][0]  # (T, K)
    true, predicted = predictions["true_labels"].numpy(), predictions["labels"].numpy()
    counts = np.bincount(true[errors.counted], minlength=len(target.names))
    order = np.argsort(-counts, kind="stable")[:MAX_CLASSES]
    rows: list[list[Cell]] = []
    for k in sorted(order.tolist()):
        is_shown = (predicted == k) & (errors.kind >= TRUE_POSITIVE)
        missed = int(errors.missed[true == k].sum())
        rows.append(
            [
                target.names[k],
                int(counts[k]),
                int(is_shown.sum()),
                int((is_shown & (errors.kind == TRUE_POSITIVE)).sum()),
                missed,
                _percent(precision[:, k].mean()),
                _percent(precision[0, k]),
            ]
        )
    note = (
        f" The {MAX_CLASSES} most frequent of {len(target.names)} classes." if len(target.names) > MAX_CLASSES else ""
    )
    return Table(
        title="Classes",
        columns=["class", "objects", "detections", "true positives", "missed", "AP", "AP50"],
        rows=rows,
        caption="Detections at or above the score threshold; true positive: IoU ≥ 0.5 with an object of its class."
        + note,
    )


def _percent(value: Tensor) -> str | None:
    return None if bool(value.isnan()) else f"{100 * float(value):.1f} %"


def _error_table(errors: ErrorTypes) -> Table:
    shown = int((errors.kind > IGNORED).sum())
    rows: list[list[Cell]] = [
        ["true positive", int((errors.kind == TRUE_POSITIVE).sum()), "IoU of at least 0.5 with an object of its class"]
    ]
    rows += [
        [kind, int((errors.kind == index).sum()), description]
        for index, (kind, description) in enumerate(zip(ERROR_TYPES, ERROR_DESCRIPTIONS, strict=True))
    ]
    rows.append(
        [
            "missed",
            int(errors.missed.sum()),
            f"of {int(errors.counted.sum()):,} objects: no true positive (false negatives)",
        ]
    )
    return Table(
        title="Error types",
        columns=["type", "count", "meaning"],
        rows=rows,
        caption=f"Of {shown:,} detections at or above the score threshold.",
    )


def _size_table(matches: Matches) -> Table:
    ranges = {"small": "area below 32² pixels", "medium": "32² to 96²", "large": "above 96²"}
    rows: list[list[Cell]] = []
    for index, size in enumerate(AREA_RANGES):
        if size in ranges:
            precision, recall = (values[0].nanmean() for values in average_precision(matches, size_range=index))
            rows.append(
                [f"{size}, {ranges[size]}", int(matches.is_counted[index].sum()), _percent(precision), _percent(recall)]
            )
    return Table(
        title="By object size",
        columns=["objects", "count", "AP", "AR"],
        rows=rows,
        caption="Area ranges of COCO, in pixels of the original image.",
    )


def _precision_recall_curves(matches: Matches, target: Boxes) -> Plot:
    """Precision–recall curves at IoU 0.5 of the most frequent classes."""
    counts = np.bincount(matches.truths.label[matches.is_counted[0]], minlength=len(target.names))
    series = []
    for k in sorted(
        np.argsort(-counts, kind="stable")[:MAX_CURVES].tolist()
    ):  # sorted, so that colours match the boxes
        recall, precision, _ = precision_recall(matches, k)
        points = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), MAX_POINTS)).round().astype(int))
        if len(points):
            series.append(Series(name=target.names[k], x=recall[points].tolist(), y=precision[points].tolist()))
    note = f" The {MAX_CURVES} most frequent classes." if len(target.names) > MAX_CURVES else ""
    return Plot(
        title="Precision and recall",
        x="recall",
        y="precision",
        series=series,
        caption="Recall rises as the score threshold falls; IoU threshold 0.5. Without true positives the curve is "
        f"empty.{note}",
    )
