"""Description and marks of the predictions of a detector: boxes, masks, keypoints."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.rle import decode_region
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Display, PredictionDict
from snellen.core.views import Mark
from snellen.detection.evaluation import target_of

MAX_NAMES = 20  # classes that are listed


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line: "3 RBC, 1 WBC"."""
    names = [detection["class"] for detection in prediction["objects"]]
    counts = [(names.count(name), name) for name in target_of(spec).names]
    return [", ".join(f"{count} {name}" for count, name in counts if count) or "no detections"]


def marks_of_objects(objects: Sequence[PredictionDict], target: Boxes) -> list[Mark]:
    """A mark for each object, in reverse order: the highest-scoring are drawn last, on top."""
    by_object = len(target.names) == 1 and any("mask" in item for item in objects)  # masks that touch are told apart
    colours = [k if by_object else target.names.index(item["class"]) for k, item in enumerate(objects)]
    return [
        _object_mark(item, colour, target) for item, colour in zip(reversed(objects), reversed(colours), strict=True)
    ]


def _object_mark(item: PredictionDict, colour: int, target: Boxes) -> Mark:
    mask, score = item.get("mask"), item.get("score")
    x1, y1, x2, y2 = item["box"]
    return Mark(
        label=item["class"] if score is None else f"{item['class']} {score:.2f}",
        colour_index=colour,
        box=(x1, y1, x2, y2),
        points=[(x, y) for x, y, _ in item.get("keypoints", ())],
        bones=target.bones,
        region=None if mask is None else decode_region(mask["counts"], (mask["size"][0], mask["size"][1])),
    )


def display(hub_name: str) -> Display:
    """The display of a task; `hub_name` is the name that model hubs give it."""
    return Display(
        lines=lines,
        baseline=lambda spec: "the k-means centres of the training boxes",
        outputs=lambda spec: f"Classes: {', '.join(target_of(spec).names[:MAX_NAMES])}.",
        hub_names={"image": hub_name},
        marks=lambda prediction, spec: marks_of_objects(prediction["objects"], target_of(spec)),
    )
