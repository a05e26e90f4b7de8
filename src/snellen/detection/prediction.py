"""Predictions of a detector on a split: flat tensors of detections and ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Detections, GroundTruth, MaskRegion
from snellen.core.errors import DataError, Diverged, UsageError
from snellen.core.rle import run_lengths
from snellen.core.run import Run
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.protocol import MAX_DETECTIONS, Detector, IoUType

BATCH_SIZE = 4  # images per call of the model

ImagePredictions = dict[str, Tensor]


def predict(
    iou_types: Sequence[IoUType], model: Detector, data: Dataset[Labelled], split: str, run: Run
) -> Predictions:
    """Predict every image of a split once; images are not held in memory.

    Args:
        iou_types: what is stored of each object.
    Returns:
        ids (N,), sizes (N, 2) height and width, num_detections (N,) and num_objects (N,) of each image, threshold ();
        of all detections boxes (D, 4), scores (D,), labels (D,), and of all ground-truth objects truth (M, 4) boxes,
        true_labels, crowd, ignored, areas (M,). With masks also counts (R,), the run lengths of all detections, runs
        (D,), the number of runs of each, and true_counts, true_runs. With keypoints also keypoints (D, K, 3) and
        true_keypoints (M, K, 3).
    Raises:
        Diverged: if a box, a score or a keypoint is not finite.
    """
    check_annotations(iou_types, data)
    by_image: list[ImagePredictions] = [empty_predictions(iou_types, num_keypoints(data))]
    scenes = data.scenes(split, run.device)
    with torch.inference_mode():
        for positions in _batches(len(scenes)):
            batch = scenes.take(positions)
            for scene, detections in zip(batch, model.detect([scene.image for scene in batch]), strict=True):
                check_finite(detections, data.name(scene.id))
                assert isinstance(scene.truth, GroundTruth)
                height, width = scene.image.shape[-2:]
                size = (height, width)
                by_image.append(image_predictions(iou_types, scene.id, size, top_detections(detections), scene.truth))
    joined = {name: torch.cat([tensors[name] for tensors in by_image]) for name in by_image[0]}
    return {**joined, "threshold": model.threshold.detach().float().cpu().reshape(())}


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + BATCH_SIZE, count)) for start in range(0, count, BATCH_SIZE))


def num_keypoints(data: Dataset[Labelled]) -> int:
    return len(getattr(data.spec.target, "keypoints", ()))


def check_annotations(iou_types: Sequence[IoUType], data: Dataset[Labelled]) -> None:
    """Raise DataError if the data has no ground-truth masks or keypoints and the evaluation needs them."""
    target = data.spec.target
    for iou_type in ("masks", "keypoints"):
        if iou_type in iou_types and not getattr(target, iou_type):
            raise DataError(
                f"The objects of {data.spec.name} have no {iou_type}, which the evaluation needs",
                f"Give data with {iou_type}.",
            )


def check_finite(detections: Detections, name: str) -> None:
    """Raise Diverged if a box, score or keypoint is not finite; `name` is that of the image."""
    quantities = (("box", detections.boxes), ("score", detections.scores), ("keypoint", detections.keypoints))
    for quantity, values in quantities:
        if values is not None and not bool(torch.isfinite(values).all()):
            raise Diverged(
                f"A predicted {quantity} is NaN or infinite: {name}",
                "Train again with a smaller --lr; check that image.",
            )


def top_detections(detections: Detections, max_detections: int = MAX_DETECTIONS) -> Detections:
    """The highest-scoring detections, sorted by score, on the CPU."""
    order = torch.argsort(detections.scores, descending=True, stable=True)[:max_detections]
    masks = None if detections.masks is None else [detections.masks[k] for k in order.tolist()]
    points = None if detections.keypoints is None else detections.keypoints[order].float().cpu()
    return Detections(
        detections.boxes[order].float().cpu(),
        detections.scores[order].float().cpu(),
        detections.labels[order].cpu(),
        masks,
        points,
    )


def image_predictions(
    iou_types: Sequence[IoUType], id: int, size: tuple[int, int], detections: Detections, truth: GroundTruth
) -> ImagePredictions:
    """Predictions and ground truth of one image."""
    tensors = {
        "ids": torch.tensor([id]),
        "sizes": torch.tensor([size]),
        "num_detections": torch.tensor([len(detections.boxes)]),
        "num_objects": torch.tensor([len(truth.boxes)]),
        "boxes": detections.boxes,
        "scores": detections.scores,
        "labels": detections.labels,
        "truth": truth.boxes.cpu(),
        "true_labels": truth.labels.cpu(),
        "crowd": truth.crowd.cpu(),
        "ignored": truth.ignored.cpu(),
        "areas": truth.areas.cpu(),
    }
    if "masks" in iou_types:
        if detections.masks is None:
            raise UsageError("The model predicts boxes without masks", "Train it for --task detect.")
        assert truth.masks is not None
        true_masks = [MaskRegion(0, 0, mask) for mask in truth.masks]
        tensors["runs"], tensors["counts"] = _run_lengths(detections.masks, size)
        tensors["true_runs"], tensors["true_counts"] = _run_lengths(true_masks, size)
    if "keypoints" in iou_types:
        if detections.keypoints is None:
            raise UsageError("The model predicts boxes without keypoints", "Train it for --task detect.")
        assert truth.keypoints is not None
        tensors["keypoints"], tensors["true_keypoints"] = detections.keypoints, truth.keypoints.cpu()
    return tensors


def _run_lengths(masks: Sequence[MaskRegion], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(n,) number of runs of each mask, and (R,) all run lengths."""
    lengths = [run_lengths(mask, size) for mask in masks]
    flat = np.concatenate([np.zeros(0, np.int64), *lengths])
    num_runs = torch.tensor([len(runs) for runs in lengths], dtype=torch.int64)
    return num_runs, torch.from_numpy(flat).to(torch.int32)


def empty_predictions(iou_types: Sequence[IoUType], keypoints: int) -> ImagePredictions:
    """Predictions of zero images: the shape and type of every tensor."""
    integers = torch.zeros(0, dtype=torch.int64)
    flags, numbers = integers.bool(), integers.float()
    tensors = {
        "ids": integers,
        "sizes": integers.reshape(0, 2),
        "num_detections": integers,
        "num_objects": integers,
        "boxes": numbers.reshape(0, 4),
        "scores": numbers,
        "labels": integers,
        "truth": numbers.reshape(0, 4),
        "true_labels": integers,
        "crowd": flags,
        "ignored": flags,
        "areas": numbers,
    }
    if "masks" in iou_types:
        tensors |= {"runs": integers, "counts": integers.int(), "true_runs": integers, "true_counts": integers.int()}
    if "keypoints" in iou_types:
        tensors |= {"keypoints": numbers.reshape(0, keypoints, 3), "true_keypoints": numbers.reshape(0, keypoints, 3)}
    return tensors
