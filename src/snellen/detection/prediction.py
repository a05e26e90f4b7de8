"""What a detector says of every picture of a split, kept in flat tensors beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Detections, Objects, Region
from snellen.core.errors import DataError, Diverged, UsageError
from snellen.core.rle import runs
from snellen.core.run import Run
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.protocol import MOST, Detector, Part

BATCH = 4  # pictures a call

Piece = dict[str, Tensor]


def predict(parts: Sequence[Part], model: Detector, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Asks of each picture once, and keeps no picture.

    Args:
        parts: of each object that are kept.
    Returns:
        ids (N,), sizes (N, 2) height and width, finds (N,) and objects (N,) how many each picture has, threshold ();
        of all finds boxes (D, 4), scores (D,), labels (D,), and of all true objects truth (M, 4) boxes, true_labels,
        crowd, ignored, areas (M,). With masks also counts (R,), the run lengths of all finds, runs (D,) how many each
        has, and true_counts, true_runs. With keypoints also keypoints (D, K, 3) and true_keypoints (M, K, 3).
    Raises:
        Diverged: when a box, a score or a keypoint is not finite; NaN never scores.
    """
    refuse(parts, data)
    pieces: list[Piece] = [empty(parts, keypoints_of(data))]
    scenes = data.scenes(split, run.device)
    with torch.inference_mode():
        for some in _batches(len(scenes)):
            taken = scenes.take(some)
            for scene, found in zip(taken, model.detect([scene.image for scene in taken]), strict=True):
                check(found, data.name(scene.id))
                assert isinstance(scene.truth, Objects)
                height, width = scene.image.shape[-2:]
                pieces.append(piece(parts, scene.id, (height, width), first(found), scene.truth))
    together = {name: torch.cat([one[name] for one in pieces]) for name in pieces[0]}
    return {**together, "threshold": model.threshold.detach().float().cpu().reshape(())}


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def keypoints_of(data: Dataset[Labelled]) -> int:
    return len(getattr(data.spec.target, "keypoints", ()))


def refuse(parts: Sequence[Part], data: Dataset[Labelled]) -> None:
    """Raises DataError where data of the same classes has no truth for what is to be scored."""
    target = data.spec.target
    for part in ("masks", "keypoints"):
        if part in parts and not getattr(target, part):
            raise DataError(
                f"The objects of {data.spec.name} have no {part}, which the model is scored by",
                "Give data that has them.",
            )


def check(found: Detections, name: str) -> None:
    """Raises Diverged where what was found cannot be scored."""
    for what, values in (("box", found.boxes), ("score", found.scores), ("keypoint", found.keypoints)):
        if values is not None and not bool(torch.isfinite(values).all()):
            raise Diverged(
                f"A {what} found in {name} is not finite", "Train again with a smaller --lr, and look at that picture."
            )


def first(found: Detections, most: int = MOST) -> Detections:
    """The surest, in their order, on the CPU."""
    order = torch.argsort(found.scores, descending=True, stable=True)[:most]
    masks = None if found.masks is None else [found.masks[k] for k in order.tolist()]
    points = None if found.keypoints is None else found.keypoints[order].float().cpu()
    return Detections(
        found.boxes[order].float().cpu(), found.scores[order].float().cpu(), found.labels[order].cpu(), masks, points
    )


def piece(parts: Sequence[Part], id: int, size: tuple[int, int], found: Detections, truth: Objects) -> Piece:
    """One picture of the predictions."""
    made = {
        "ids": torch.tensor([id]),
        "sizes": torch.tensor([size]),
        "num_detections": torch.tensor([len(found.boxes)]),
        "num_objects": torch.tensor([len(truth.boxes)]),
        "boxes": found.boxes,
        "scores": found.scores,
        "labels": found.labels,
        "truth": truth.boxes.cpu(),
        "true_labels": truth.labels.cpu(),
        "crowd": truth.crowd.cpu(),
        "ignored": truth.ignored.cpu(),
        "areas": truth.areas.cpu(),
    }
    if "masks" in parts:
        if found.masks is None:
            raise UsageError("The model finds boxes without masks", "Train it for --task detect.")
        assert truth.masks is not None
        whole = [Region(0, 0, mask) for mask in truth.masks]
        made["runs"], made["counts"] = _encoded(found.masks, size)
        made["true_runs"], made["true_counts"] = _encoded(whole, size)
    if "keypoints" in parts:
        if found.keypoints is None:
            raise UsageError("The model finds boxes without keypoints", "Train it for --task detect.")
        assert truth.keypoints is not None
        made["keypoints"], made["true_keypoints"] = found.keypoints, truth.keypoints.cpu()
    return made


def _encoded(masks: Sequence[Region], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(n,) numbers of runs, and (R,) the lengths of all."""
    lengths = [runs(mask, size) for mask in masks]
    flat = np.concatenate([np.zeros(0, np.int64), *lengths])
    return torch.tensor([len(one) for one in lengths], dtype=torch.int64), torch.from_numpy(flat).to(torch.int32)


def empty(parts: Sequence[Part], keypoints: int) -> Piece:
    """Predictions of no picture, which give every tensor its type."""
    nothing = torch.zeros(0, dtype=torch.int64)
    flags, numbers = nothing.bool(), nothing.float()
    made = {
        "ids": nothing,
        "sizes": nothing.reshape(0, 2),
        "num_detections": nothing,
        "num_objects": nothing,
        "boxes": numbers.reshape(0, 4),
        "scores": numbers,
        "labels": nothing,
        "truth": numbers.reshape(0, 4),
        "true_labels": nothing,
        "crowd": flags,
        "ignored": flags,
        "areas": numbers,
    }
    if "masks" in parts:
        made |= {"runs": nothing, "counts": nothing.int(), "true_runs": nothing, "true_counts": nothing.int()}
    if "keypoints" in parts:
        made |= {"keypoints": numbers.reshape(0, keypoints, 3), "true_keypoints": numbers.reshape(0, keypoints, 3)}
    return made
