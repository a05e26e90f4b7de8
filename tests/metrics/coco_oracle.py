"""Random detections and objects, and their average precision by two reference implementations."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import torch

from snellen.core.detections import MaskRegion
from snellen.core.rle import encode_lengths, run_lengths
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions

SIDE = 300
KEYPOINTS = tuple("abcde")
SPEC = Spec(
    name="random", inputs={}, target=Boxes(names=("a", "b", "c", "rare", "never"), masks=True, keypoints=KEYPOINTS)
)


def random_predictions(images: int, max_detections: int, seed: int) -> Predictions:
    """Predictions with all edge cases: equal scores, detections on crowds and on ignored objects, images without
    detections and without objects, an absent class, boxes next to their objects and outside the image, keypoints that
    are not labelled.
    """
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(images):
        num_objects = int(rng.integers(0, 9)) * (image % 7 != 3)
        true_boxes = [_random_box(rng) for _ in range(num_objects)]
        labels = [int(rng.integers(3)) if rng.random() < 0.97 else 3 for _ in true_boxes]
        objects += list(zip([image] * num_objects, labels, true_boxes, strict=True))
        for _ in range(int(rng.integers(0, max_detections)) * (image % 5 != 2)):
            source = int(rng.integers(num_objects)) if num_objects and rng.random() < 0.7 else None
            box = _random_box(rng) if source is None else _jittered(true_boxes[source], rng)
            label = labels[source] if source is not None and rng.random() < 0.8 else int(rng.integers(4))
            detections.append((image, label, box))
    boxes, truth = (
        torch.tensor(np.array([box for _, _, box in rows]), dtype=torch.float32) for rows in (detections, objects)
    )
    areas = (truth[:, 2:] - truth[:, :2]).prod(1) * torch.from_numpy(rng.uniform(0.4, 1, len(truth))).float()
    crowd = torch.from_numpy(rng.random(len(truth)) < 0.08)
    ignored = torch.from_numpy(rng.random(len(truth)) < 0.08) & ~crowd
    scores = torch.from_numpy(rng.integers(0, 200, len(boxes)) / 200).float()
    counts = [
        torch.bincount(torch.tensor([row[0] for row in rows]), minlength=images) for rows in (detections, objects)
    ]
    order = _highest_score_first(torch.tensor([row[0] for row in detections]), scores)
    predictions = {
        "ids": torch.arange(images),
        "sizes": torch.full((images, 2), SIDE),
        "num_detections": counts[0],
        "num_objects": counts[1],
        "boxes": boxes[order],
        "scores": scores[order],
        "labels": torch.tensor([row[1] for row in detections])[order],
        "truth": truth,
        "true_labels": torch.tensor([row[1] for row in objects]),
        "crowd": crowd,
        "ignored": ignored,
        "areas": areas,
        "threshold": torch.tensor(0.4),
    }
    for name, flat in (("", predictions["boxes"]), ("true_", truth)):
        lengths = [run_lengths(_ellipse(box), (SIDE, SIDE)) for box in flat.tolist()]
        predictions[f"{name}runs"] = torch.tensor([len(runs) for runs in lengths])
        predictions[f"{name}counts"] = torch.from_numpy(np.concatenate(lengths)).int()
        positions = torch.from_numpy(np.random.default_rng(5).uniform(0, 1, (len(KEYPOINTS), 2))).float()
        points = flat[:, None, :2] + positions * (flat[:, 2:] - flat[:, :2])[:, None]
        points = points + torch.from_numpy(rng.normal(0, 1.5, tuple(points.shape))).float()
        visibility = torch.from_numpy(rng.integers(0, 3, (len(flat), len(KEYPOINTS), 1))).float()
        visibility[::11] = 0
        predictions[f"{name}keypoints"] = torch.cat([points, visibility if name else visibility * 0 + 0.5], 2)
    return predictions


def _random_box(rng: np.random.Generator) -> np.ndarray:
    corner, side = rng.uniform(-10, 200, 2), rng.choice([12, 60, 130]) * rng.uniform(0.3, 1, 2)
    box: np.ndarray = np.concatenate([corner, corner + side])
    return box.round() if rng.random() < 0.5 else box  # integers sometimes give an IoU of exactly 0.5


def _jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = box + rng.normal(0, 0.06, 4) * np.tile(box[2:] - box[:2], 2)
    if rng.random() < 0.3:
        moved = moved.round()
    corner = np.minimum(moved[:2], moved[2:] - 1)
    return np.concatenate([corner, moved[2:]])


def _ellipse(box: list[float]) -> MaskRegion:
    """The ellipse inside a box, of at least one pixel."""
    x1, y1, x2, y2 = (int(side) for side in box)
    height, width = max(y2 - y1, 1), max(x2 - x1, 1)
    rows, columns = (torch.arange(side) + 0.5 for side in (height, width))
    inside = ((rows / height - 0.5)[:, None] ** 2 + (columns / width - 0.5) ** 2) <= 0.26
    return MaskRegion(y1, x1, inside)


def _highest_score_first(images: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.lexsort((-scores.numpy(), images.numpy())).copy())


def coco(predictions: Predictions, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The predictions as COCO's two files, ids from 1; `kind` is bbox, segm or keypoints."""
    classes = len(SPEC.target.names)  # type: ignore[union-attr]
    images = [{"id": k + 1, "width": SIDE, "height": SIDE} for k in range(len(predictions["ids"]))]
    image_of_object = torch.repeat_interleave(torch.arange(len(images)), predictions["num_objects"])
    masks = {
        name: np.split(predictions[f"{name}counts"].numpy(), predictions[f"{name}runs"].numpy().cumsum()[:-1])
        for name in ("", "true_")
    }
    annotations = []
    for k, box in enumerate(predictions["truth"].double().tolist()):
        visibility = predictions["true_keypoints"][k, :, 2]
        ignored = bool(predictions["ignored"][k])
        annotations.append(
            {
                "id": k + 1,
                "image_id": int(image_of_object[k]) + 1,
                "category_id": int(predictions["true_labels"][k]) + 1,
                "bbox": _corner_and_sides(box),
                "iscrowd": int(predictions["crowd"][k]),
                "area": 1e11 if ignored and kind != "keypoints" else float(predictions["areas"][k]),
                "segmentation": {
                    "size": [SIDE, SIDE],
                    "counts": encode_lengths(masks["true_"][k].astype(np.int64), (SIDE, SIDE)),
                },
                "keypoints": predictions["true_keypoints"][k].double().flatten().tolist(),
                "num_keypoints": 0 if ignored else int((visibility > 0).sum()),
            }
        )
    results = []
    image_of_detection = torch.repeat_interleave(torch.arange(len(images)), predictions["num_detections"])
    for k, box in enumerate(predictions["boxes"].double().tolist()):
        result: dict[str, Any] = {
            "image_id": int(image_of_detection[k]) + 1,
            "category_id": int(predictions["labels"][k]) + 1,
            "score": float(predictions["scores"][k]),
        }
        if kind == "bbox":
            result["bbox"] = _corner_and_sides(box)
        if kind == "segm":
            result["segmentation"] = {
                "size": [SIDE, SIDE],
                "counts": encode_lengths(masks[""][k].astype(np.int64), (SIDE, SIDE)),
            }
        if kind == "keypoints":
            result["keypoints"] = predictions["keypoints"][k].double().flatten().tolist()
        results.append(result)
    categories = [{"id": k + 1, "name": str(k)} for k in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, results


def _corner_and_sides(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def reference_average_precision(
    module: str, truth: dict[str, Any], results: list[dict[str, Any]], kind: str, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, A) average precision and (T, K, A) recall of a reference implementation, NaN where it returns −1."""
    with contextlib.redirect_stdout(io.StringIO()):
        if module == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        evaluator = COCOeval(ground_truth, ground_truth.loadRes(results), kind)
        evaluator.params.catIds = [category["id"] for category in truth["categories"]]
        if kind == "keypoints":
            evaluator.params.kpt_oks_sigmas = sigmas
        evaluator.evaluate()
        evaluator.accumulate()
    precision, recall = evaluator.eval["precision"][..., -1], evaluator.eval["recall"][..., -1]
    precision = np.where(precision < 0, np.nan, precision)  # (T, R, K, A)
    return precision.mean(1), np.where(recall < 0, np.nan, recall)


def resampled(predictions: Predictions, rows: list[int]) -> Predictions:
    """The predictions of the listed images, with repetition."""
    ends = {
        count_name: [0, *predictions[count_name].cumsum(0).tolist()] for count_name in ("num_detections", "num_objects")
    }
    flat = {
        "num_detections": ("boxes", "scores", "labels"),
        "num_objects": ("truth", "true_labels", "crowd", "ignored", "areas"),
    }
    result = {name: predictions[name][rows] for name in ("sizes", "num_detections", "num_objects")}
    result |= {"ids": torch.arange(len(rows)), "threshold": predictions["threshold"]}
    for count_name, names in flat.items():
        selected = list(itertools.chain(*(range(ends[count_name][row], ends[count_name][row + 1]) for row in rows)))
        result |= {name: predictions[name][selected] for name in names}
    return result
