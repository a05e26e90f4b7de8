"""Report views of a segmenter: worst images, classes, confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Matrix, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_predictions import unflatten
from snellen.metrics import segmentation
from snellen.modalities import modality_of
from snellen.modalities.place_maps import display_range
from snellen.training.dense import inside

MAX_MATRIX_CLASSES = 25  # with more classes only the most confused are shown


def worst(errors: Tensor, count: int) -> Tensor:
    """Rows of the images with errors, worst first, from (N,) errors."""
    order = torch.argsort(errors, descending=True, stable=True)[:count]
    return order[errors[order] > 0]


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Worst images, classes, confusion matrix."""
    assert isinstance(spec.target, PixelClasses)
    names = spec.target.names
    table = predictions["confusion"].long().sum(0)
    place = spec.input.place
    classes = _classes(predictions["confusion"], names, place, modality_of(spec).noun)
    return [*_worst(predictions, data, names), classes, _matrix(table, names, place)]


def _worst(predictions: Predictions, data: Dataset[Labelled], names: tuple[str, ...]) -> list[View]:
    """Worst images, or other samples: sample, ground truth and prediction."""
    modality, spec_input = modality_of(data.spec), data.spec.input
    draw_map = modality.draw_map
    if draw_map is None:
        return []
    maps, ious = (
        unflatten(predictions["sizes"], predictions["maps"]),
        segmentation.class_ious(segmentation.class_counts(predictions["confusion"])),
    )
    present = predictions["truth"] > 0
    mean = torch.where(present, ious, 0.0).sum(1) / present.sum(1)
    items = []
    assert data.annotations is not None
    for row in sorted(maps, key=lambda row: float(mean[row])):
        id = int(predictions["ids"][row])
        x, true = data.image(id), data.annotations.load(id)
        assert isinstance(true, Tensor)
        low, high = display_range(x, data.value_range)
        predicted = maps[row].long()
        if spec_input.is_ragged:  # without the steps after the end
            steps, is_inside = len(x), inside(x, spec_input)
            x, true = x[is_inside], true[is_inside]
            predicted = predicted[:, : -(-len(x) * predicted.shape[1] // steps)]
        x = draw_map(x.movedim(spec_input.feature_axis, 0))
        value = float(mean[row])
        caption = f"mean IoU {100 * value:.1f} %" if value == value else "without ground truth"
        lowest = torch.where(present[row], ious[row], torch.inf).argmin()
        if int(present[row].sum()) > 1:
            caption += f", IoU of {names[int(lowest)]} {100 * float(ious[row, lowest]):.1f} %"
        panels = (
            AnnotatedImage(values=x, low=low, high=high, classes=draw_map(true[None])[0], caption="ground truth"),
            AnnotatedImage(values=x, low=low, high=high, classes=draw_map(predicted)[0], caption="prediction"),
        )
        items.append(AnnotatedImage(values=x, low=low, high=high, caption=f"{caption}\n{data.name(id)}", panels=panels))
    if not items:
        return []
    legend = tuple((name, k) for k, name in enumerate(names))
    layout = f" Each with {modality.map_layout}." if modality.map_layout else ""
    return [
        ImageGrid(
            title=f"Worst {modality.noun}",
            items=items,
            legend=legend,
            caption=f"{modality.noun.removesuffix('s').capitalize()}, ground truth, prediction: the {modality.noun} "
            f"with the lowest mean IoU over their classes.{layout}",
        )
    ]


def _classes(tables: Tensor, names: tuple[str, ...], place: str, over: str) -> Table:
    correct, present, predicted = segmentation.class_counts(tables).sum(0)
    table = tables.long().sum(0)
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        metric = segmentation.metric_over_images(tables, lambda parts, k=k: segmentation.class_ious(parts)[..., k], "")  # type: ignore[misc]
        others = table[k].clone()
        others[k] = 0
        confused_with = names[int(others.argmax())] if int(others.max()) else ""
        rows.append(
            [
                name,
                _percent(present[k], present.sum()),
                None if metric.value is None else str(metric),
                _percent(correct[k], present[k]),
                _percent(correct[k], predicted[k]),
                confused_with,
            ]
        )
    columns = ["class", f"% of {place}s", "IoU", "recall", "precision", "most confused with"]
    return Table(
        title="Classes",
        columns=columns,
        rows=rows,
        caption=f"± is half the width of the 95 % confidence interval over {over} (bootstrap).",
    )


def _percent(part: Tensor, total: Tensor) -> str | None:
    return f"{100 * float(part / total):.1f} %" if float(total) else None


def _matrix(table: Tensor, names: tuple[str, ...], place: str) -> Matrix:
    caption = f"In % of the {place}s of the true class."
    if len(names) > MAX_MATRIX_CLASSES:
        errors = table.sum(1) + table.sum(0) - 2 * table.diagonal()
        classes = torch.sort(torch.argsort(errors, descending=True)[:MAX_MATRIX_CLASSES]).values
        caption = f"{caption} The {MAX_MATRIX_CLASSES} most confused of {len(names)} classes."
        table, names = table[classes][:, classes], tuple(names[int(k)] for k in classes)
    percentages = 100 * table.double() / table.sum(1, keepdim=True).clamp(min=1)
    values = [[round(value, 1) for value in row] for row in percentages.tolist()]
    return Matrix(
        title="Confusion matrix",
        rows=names,
        columns=names,
        values=values,
        x="predicted class",
        y="true class",
        caption=caption,
    )
