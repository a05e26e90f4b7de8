"""Segment: which class is every pixel?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core import rle
from snellen.core.detections import Region
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import Answer, ExportedModel, Output, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_maps import Worst
from snellen.metrics import segmentation
from snellen.metrics.intervals import of_sums
from snellen.nn.dense.padding import multiple
from snellen.nn.tiling import tiled
from snellen.tasks.segment import views

EMPTY = "no pixel of the split has a truth"


class Segmenter(Protocol):
    """What a model must answer."""

    def scores(self, x: Tensor, /) -> Tensor:
        """(B, C, H, W) raw pictures to (B, K, H, W) log-probabilities up to a constant; the highest is the answer."""


def classes(spec: Spec) -> tuple[str, ...]:
    """Their names."""
    assert isinstance(spec.target, PixelClasses)
    return spec.target.names


def predict(model: Segmenter, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Counts of every picture of a split, and the maps of the worst.

    Returns:
        confusion (N, K, K) int32, pixels by true and said class; truth (N, K) int64, pixels of each class; ids (N,);
        and of the pictures with the lowest mean IoU, what was said: sizes (N, 3), zero for the others, and maps, one
        after the other, flat, thinned to at most 640 pixels a side.
    Raises:
        Diverged: when a score is not finite.
    """
    names = classes(data.spec)
    kept = Worst()
    tables, ids = [], []
    with torch.inference_mode():
        for row, scene in enumerate(data.scenes(split, run.device).in_order()):
            assert isinstance(scene.truth, Tensor)
            scores = tiled(model.scores, scene.image[None])[0]  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged(
                    f"The scores of {data.name(scene.id)} are not finite",
                    "Train again with a smaller --lr, and look at that picture.",
                )
            said = scores.argmax(0)
            table = segmentation.confusion(scene.truth, said, len(names)).cpu()
            kept.offer(row, float(of_picture(table[None])[0]), said[None])
            tables.append(table.to(torch.int32))
            ids.append(scene.id)
    confusion = torch.stack(tables) if tables else torch.zeros(0, len(names), len(names), dtype=torch.int32)
    sizes, maps = kept.told(len(ids), torch.int16)
    return {
        "confusion": confusion,
        "truth": confusion.long().sum(2),
        "ids": torch.tensor(ids, dtype=torch.int64),
        "sizes": sizes,
        "maps": maps,
    }


def of_picture(tables: Tensor) -> Tensor:
    """1 − mean IoU of each picture over the classes that it has; 0 where it has no truth. (N, K, K) to (N,) float64."""
    parts = segmentation.sums(tables)
    each = segmentation.ious(parts)  # (N, K)
    there = parts[:, 1] > 0
    mean = torch.where(there, each, 0.0).sum(1) / there.sum(1)
    return (1 - mean).nan_to_num(nan=0.0)


def measure(said: Predictions, spec: Spec) -> dict[str, Metric]:
    """Mean IoU and pixel accuracy, and the IoU of each class, each with its interval over pictures."""
    tables = said["confusion"]
    if not len(tables):
        return {"mean IoU": Metric(value=None, percent=True, reason="the split is empty")}
    metrics = {
        "mean IoU": segmentation.measured(tables, segmentation.mean_iou, EMPTY),
        "pixel accuracy": segmentation.measured(tables, segmentation.pixel_accuracy, EMPTY),
    }
    for k, name in enumerate(classes(spec)):
        metrics[f"IoU of {name}"] = segmentation.measured(
            tables,
            lambda parts, k=k: segmentation.ious(parts)[..., k],  # type: ignore[misc]
            "no pixel of the split has it, and none was said",
        )
    return metrics


def resampled_headline(said: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The mean IoU of (R, n) resampled pictures."""
    return of_sums(segmentation.sums(said["confusion"]), segmentation.mean_iou)


def answer(model: Segmenter, x: Tensor, spec: Spec) -> list[Answer]:
    """A batch of raw pictures to {"shares": {class: share of the pixels}, "segments": {class: its mask}}."""
    answers: list[Answer] = []
    with torch.inference_mode():
        for picture in x:  # one at a time: scores of many large pictures would fill the memory
            scores = tiled(model.scores, picture[None])[0]  # (K, H, W)
            if not bool(torch.isfinite(scores).all()):
                raise Diverged("A score is not finite", "Train again with a smaller --lr, and look at that picture.")
            said = scores.argmax(0).cpu()
            counts = torch.bincount(said.flatten(), minlength=len(scores)).tolist()
            found = [(k, name, count) for k, (name, count) in enumerate(zip(classes(spec), counts, strict=True))]
            answers.append(
                {
                    "shares": {name: count / said.numel() for _, name, count in found},
                    "segments": {name: encoded(said == k) for k, name, count in found if count},
                }
            )
    return answers


def encoded(mask: Tensor) -> dict[str, Any]:
    """(H, W) bool in COCO's compressed form."""
    size = (mask.shape[0], mask.shape[1])
    return {"size": list(size), "counts": rle.text(rle.runs(Region(0, 0, mask), size), size)}


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """The share and mask of each class in a picture."""
    assert data.annotations is not None
    there = data.annotations.of(id)
    assert isinstance(there, Tensor)
    known = max(int((there >= 0).sum()), 1)
    found = [(k, name, int((there == k).sum())) for k, name in enumerate(classes(data.spec))]
    return {
        "shares": {name: count / known for _, name, count in found},
        "segments": {name: encoded(there == k) for k, name, count in found if count},
    }


class ExportedSegmenter(nn.Module):
    """Scores and probabilities of every pixel, as named tensors."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw pictures to "scores" and "probabilities", (B, K, H, W)."""
        scores = self.model.scores(x)
        return {"scores": scores, "probabilities": scores.softmax(1)}


def export(model: Segmenter, spec: Spec) -> ExportedModel:
    names = classes(spec)
    outward = ExportedSegmenter(model)
    return ExportedModel(
        module=outward,
        least=1 + multiple(outward),
        outputs=(Output(name="scores", columns=names), Output(name="probabilities", columns=names)),
    )


TASK: Task[Dataset[Labelled], Segmenter] = Task(
    name="segment",
    question="Which class is every pixel?",
    default=lambda spec: "unet",
    headline=lambda spec: "mean IoU",
    asks=lambda spec: isinstance(spec.target, PixelClasses),
    predict=predict,
    measure=measure,
    answer=answer,
    errors=lambda said, spec: of_picture(said["confusion"]),
    resampled_headline=resampled_headline,
    worst=lambda said, spec, count: views.worst(of_picture(said["confusion"]), count),
    truth=truth,
    views=views.views,
    export=export,
)
