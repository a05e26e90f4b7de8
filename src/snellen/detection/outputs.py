"""What is found, as plain data for `predict` and `serve`, and as it leaves Snellen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, Objects, Region
from snellen.core.rle import runs, text
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Answer, ExportedModel, Output
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import target_of
from snellen.detection.prediction import BATCH, check, first
from snellen.detection.protocol import Detector, Padded, Part


def answer(parts: Sequence[Part], model: Detector, x: Tensor, spec: Spec) -> list[Answer]:
    """(B, C, H, W) to {"objects": [{"class", "score", "box", "mask", "keypoints"}], "threshold"}, those above it."""
    found: list[Detections] = []
    with torch.inference_mode():
        for some in torch.split(x, BATCH):
            found += model.detect(list(some))
    height, width = x.shape[-2:]
    threshold = float(model.threshold)
    answers: list[Answer] = []
    for place, one in enumerate(found):
        check(one, f"picture {place + 1}")
        objects = told(parts, first(one), (height, width), target_of(spec), threshold)
        answers.append({"objects": objects, "threshold": round(threshold, 6)})
    return answers


@contextlib.contextmanager
def all_detections(model: Any) -> Iterator[float]:
    """Inside, a detector tells every find, whatever its score; gives the threshold that it has otherwise."""
    threshold = model.threshold.clone()
    model.threshold.zero_()
    try:
        yield float(threshold)
    finally:
        model.threshold.copy_(threshold)


def told(
    parts: Sequence[Part], found: Detections, size: tuple[int, int], target: Boxes, threshold: float
) -> list[Answer]:
    """Each find in plain words, the surest first."""
    objects: list[Answer] = []
    for k, score in enumerate(found.scores.tolist()):
        if score < threshold:
            break
        one: Answer = {
            "class": target.names[int(found.labels[k])],
            "score": score,
            "box": rounded(found.boxes[k].tolist()),
        }
        if "masks" in parts and found.masks is not None:
            one["mask"] = short(found.masks[k], size)
        if "keypoints" in parts and found.keypoints is not None:
            one["keypoints"] = [rounded(point) for point in found.keypoints[k].tolist()]
        objects.append(one)
    return objects


def rounded(numbers: Sequence[float]) -> list[float]:
    """Hundredths of a pixel are finer than any box is true."""
    return [round(number, 2) for number in numbers]


def short(mask: Region, size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": text(runs(mask, size), size)}


def truth(parts: Sequence[Part], data: Dataset[Labelled], id: int) -> Answer:
    """The true objects of a picture, as an answer would say them."""
    target = target_of(data.spec)
    assert data.annotations is not None
    true = data.annotations.of(id)
    assert isinstance(true, Objects)
    objects: list[Answer] = []
    for k, label in enumerate(true.labels.tolist()):
        one: Answer = {"class": target.names[label], "box": rounded(true.boxes[k].tolist())}
        if "masks" in parts and true.masks is not None:
            height, width = true.masks.shape[1:]
            one["mask"] = short(Region(0, 0, true.masks[k]), (height, width))
        if "keypoints" in parts and true.keypoints is not None:
            one["keypoints"] = [rounded(point) for point in true.keypoints[k].tolist()]
        for word, flag in (("crowd", true.crowd[k]), ("ignored", true.ignored[k])):
            if bool(flag):
                one[word] = True
        objects.append(one)
    return {"objects": objects}


class ExportedDetector(nn.Module):
    """Finds as named tensors, as many rows for every picture."""

    def __init__(self, model: Padded) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw pictures to what `Padded` says."""
        return dict(self.model.padded(x))


def export(parts: Sequence[Part], model: Detector, spec: Spec) -> ExportedModel:
    """Boxes, scores, labels and their number; masks and keypoints where they are asked for."""
    names = target_of(spec).names
    outputs = [
        Output(name="boxes", columns=("x1", "y1", "x2", "y2"), units=("px",) * 4),
        Output(name="scores", columns=("score",)),
        Output(name="labels", columns=names),
        Output(name="count", columns=("finds",)),
    ]
    if "masks" in parts:
        outputs.append(Output(name="masks", columns=("inside",)))
    if "keypoints" in parts:
        outputs.append(Output(name="keypoints", columns=("x", "y", "score"), units=("px", "px", "")))
    return ExportedModel(module=ExportedDetector(cast(Padded, model)), outputs=tuple(outputs), finds=True)
