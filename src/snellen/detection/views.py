"""What the report shows of a detector: a function of what it said of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Region
from snellen.core.rle import region_of
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Mark, Plot, Series, Table, Text, View
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.error_analysis import KINDS, LEFT_OUT, MEANS, RIGHT, Mistakes, mistakes
from snellen.detection.evaluation import lengths_of_masks, matched, target_of
from snellen.detection.protocol import Part
from snellen.metrics.detection import average_precision, precision_recall
from snellen.metrics.matching import SIZES, Matches
from snellen.nn.layers import robust_range

WORST = 8
MOST_CURVES = 8  # classes with a curve of their own: the most frequent
MOST_POINTS = 200  # of a curve
MOST_CLASSES = 40  # in the table: the most frequent


def views(parts: Sequence[Part], said: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Worst pictures with the truth beside the answer, classes, curves, kinds of mistakes, sizes."""
    part, target = parts[0], target_of(spec)
    matches = matched(said, part, spec, list(SIZES))
    wrong = mistakes(said, part, spec)
    return [
        *_worst(parts, said, data, spec, wrong),
        _told(said, data),
        _classes(said, matches, wrong, target),
        _mistakes(wrong),
        _sizes(matches),
        _curves(matches, target),
    ]


def worst(parts: Sequence[Part], said: Predictions, spec: Spec, count: int = WORST) -> Tensor:
    """Rows of the pictures with the most mistakes, worst first."""
    return _rows(mistakes(said, parts[0], spec), len(said["ids"]), count)


def _rows(wrong: Mistakes, pictures: int, count: int) -> Tensor:
    many = torch.from_numpy(wrong.of_pictures(pictures))
    order = torch.argsort(many, descending=True, stable=True)[:count]
    return order[many[order] > 0]


class Marks(NamedTuple):
    """What is to be drawn of the finds, or of the objects, of all pictures; see `marks`."""

    mark: Callable[[int], Mark]
    ends: np.ndarray

    def of(self, row: int, chosen: np.ndarray) -> list[Mark]:
        """Those of a picture that are chosen, (D,) bool over all."""
        first = 0 if row == 0 else int(self.ends[row - 1])
        return [self.mark(k) for k in range(first, int(self.ends[row])) if chosen[k]]


def _marks(parts: Sequence[Part], said: Predictions, target: Boxes, true: bool) -> Marks:
    """Boxes with class and score; masks and keypoints where there are any."""
    boxes, labels = said["truth" if true else "boxes"].tolist(), said["true_labels" if true else "labels"].tolist()
    masks = (
        lengths_of_masks(said, *(("true_counts", "true_runs") if true else ("counts", "runs")))
        if "masks" in parts
        else []
    )
    points = said["true_keypoints" if true else "keypoints"].tolist() if "keypoints" in parts else []
    sizes = said["sizes"].repeat_interleave(said["num_objects" if true else "num_detections"], 0).tolist()

    def mark(k: int) -> Mark:
        name = target.names[labels[k]]
        label = name if true else f"{name} {float(said['scores'][k]):.2f}"
        region: Region | None = region_of(masks[k].astype(np.int64), tuple(sizes[k])) if masks else None
        places = (
            [(x, y) for x, y, seen in points[k] if seen > 0]
            if points and true
            else [(x, y) for x, y, _ in points[k]]
            if points
            else []
        )
        whole = bool(points) and len(places) == len(points[k])
        place = labels[k] if len(target.names) > 1 else k  # of one class, neighbours are told apart
        return Mark(
            label=label,
            place=place,
            box=tuple(boxes[k]),
            region=region,
            points=places,
            bones=target.bones if whole else (),
        )

    return Marks(mark, said["num_objects" if true else "num_detections"].cumsum(0).numpy())


def _worst(
    parts: Sequence[Part], said: Predictions, data: Dataset[Labelled], spec: Spec, wrong: Mistakes
) -> list[View]:
    rows = _rows(wrong, len(said["ids"]), WORST)
    if not len(rows):
        return []
    target = target_of(spec)
    answer, truth = (_marks(parts, said, target, true) for true in (False, True))
    told, there = said["scores"].numpy() >= float(said["threshold"]), np.ones(len(said["truth"]), bool)
    items = []
    for row in rows.tolist():
        x = data.picture(int(said["ids"][row]))
        low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
        beside = AnnotatedImage(values=x, low=low, high=high, caption="truth", marks=truth.of(row, there))
        items.append(
            AnnotatedImage(
                values=x,
                low=low,
                high=high,
                marks=answer.of(row, told),
                beside=[beside],
                good=False,
                caption=f"{_in_words(wrong, row)}\n{data.name(int(said['ids'][row]))}",
            )
        )
    return [
        ImageGrid(
            title="Worst pictures",
            items=items,
            caption="The pictures with the most mistakes: on the left what is told, on the right the truth.",
        )
    ]


def _in_words(wrong: Mistakes, row: int) -> str:
    """ "2 missed, 1 duplicate"."""
    missed = int(wrong.missed[wrong.whose == row].sum())
    kinds = wrong.kind[wrong.picture == row]
    counts = [(missed, "missed"), *((int((kinds == place).sum()), kind) for place, kind in enumerate(KINDS))]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _told(said: Predictions, data: Dataset[Labelled]) -> Text:
    threshold, scores = float(said["threshold"]), said["scores"]
    split = "validation" if len(data.splits["val"]) else "training"
    told = int((scores >= threshold).sum())
    return Text(
        title="",
        lines=[
            f"Finds with a score of at least {threshold:.3g} are told, where F1 is highest over {split} pictures: "
            f"{told:,} of {len(scores):,} finds here, for {len(said['truth']):,} objects. Average precision needs no "
            "threshold: it looks at all finds."
        ],
    )


def _classes(said: Predictions, matches: Matches, wrong: Mistakes, target: Boxes) -> Table:
    precision = average_precision(matches)[0][0]  # (T, K)
    true, found = said["true_labels"].numpy(), said["labels"].numpy()
    counts = np.bincount(true[wrong.counted], minlength=len(target.names))
    order = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    rows: list[list[Cell]] = []
    for k in sorted(order.tolist()):
        told = (found == k) & (wrong.kind >= RIGHT)
        missed = int(wrong.missed[true == k].sum())
        rows.append(
            [
                target.names[k],
                int(counts[k]),
                int(told.sum()),
                int((told & (wrong.kind == RIGHT)).sum()),
                missed,
                _percent(precision[:, k].mean()),
                _percent(precision[0, k]),
            ]
        )
    few = f" The {MOST_CLASSES} most frequent of {len(target.names)}." if len(target.names) > MOST_CLASSES else ""
    return Table(
        title="Classes",
        columns=["class", "objects", "told", "right", "missed", "AP", "AP50"],
        rows=rows,
        caption=f"Right: overlapping an object of its class by at least one half.{few}",
    )


def _percent(value: Tensor) -> str | None:
    return None if bool(value.isnan()) else f"{100 * float(value):.1f} %"


def _mistakes(wrong: Mistakes) -> Table:
    told = int((wrong.kind > LEFT_OUT).sum())
    rows: list[list[Cell]] = [
        ["right", int((wrong.kind == RIGHT).sum()), "overlapping an object of its class by at least one half"]
    ]
    rows += [
        [kind, int((wrong.kind == place).sum()), means]
        for place, (kind, means) in enumerate(zip(KINDS, MEANS, strict=True))
    ]
    rows.append(["missed", int(wrong.missed.sum()), f"of {int(wrong.counted.sum()):,} objects, not found by any"])
    return Table(
        title="Which mistakes",
        columns=["find", "count", "what that is"],
        rows=rows,
        caption=f"Of {told:,} finds that are told.",
    )


def _sizes(matches: Matches) -> Table:
    sides = {"small": "below 32 pixels a side", "medium": "32 to 96", "large": "above 96"}
    rows: list[list[Cell]] = []
    for place, size in enumerate(SIZES):
        if size in sides:
            precision, recall = (figures[0].nanmean() for figures in average_precision(matches, sizes=place))
            rows.append(
                [f"{size}, {sides[size]}", int(matches.counted[place].sum()), _percent(precision), _percent(recall)]
            )
    return Table(
        title="By size",
        columns=["objects", "count", "AP", "AR"],
        rows=rows,
        caption="Sizes are those of COCO, in pixels of the picture as it lies there.",
    )


def _curves(matches: Matches, target: Boxes) -> Plot:
    """Precision over recall at an overlap of one half, of the most frequent classes."""
    counts = np.bincount(matches.truths.label[matches.counted[0]], minlength=len(target.names))
    series = []
    for k in sorted(np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist()):  # in the colours of the boxes
        recall, precision, _ = precision_recall(matches, k)
        some = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), MOST_POINTS)).round().astype(int))
        if len(some):
            series.append(Series(name=target.names[k], x=recall[some].tolist(), y=precision[some].tolist()))
    more = f" The {MOST_CURVES} most frequent classes." if len(target.names) > MOST_CURVES else ""
    return Plot(
        title="Precision and recall",
        x="recall",
        y="precision",
        series=series,
        caption=f"Along a curve the score falls from which finds are told; overlap at least one half.{more}",
    )
