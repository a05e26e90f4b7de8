"""Random finds and objects, and what two reference implementations say of them."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import torch

from snellen.core.detections import Region
from snellen.core.rle import runs, text
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions

SIDE = 300
KEYPOINTS = tuple("abcde")
SPEC = Spec(
    name="random", inputs={}, target=Boxes(names=("a", "b", "c", "rare", "never"), masks=True, keypoints=KEYPOINTS)
)


def random_said(pictures: int, most: int, seed: int) -> Predictions:
    """Predictions with everything that is awkward: equal scores, finds on crowds and on what need not be found,
    pictures without finds and without objects, a class that is nowhere, boxes beside their objects and out of the
    picture, keypoints that are not labelled.
    """
    drawn = np.random.default_rng(seed)
    objects, finds = [], []
    for picture in range(pictures):
        many = int(drawn.integers(0, 9)) * (picture % 7 != 3)
        own = [_box(drawn) for _ in range(many)]
        labels = [int(drawn.integers(3)) if drawn.random() < 0.97 else 3 for _ in own]
        objects += list(zip([picture] * many, labels, own, strict=True))
        for _ in range(int(drawn.integers(0, most)) * (picture % 5 != 2)):
            near = int(drawn.integers(many)) if many and drawn.random() < 0.7 else None
            box = _box(drawn) if near is None else _moved(own[near], drawn)
            label = labels[near] if near is not None and drawn.random() < 0.8 else int(drawn.integers(4))
            finds.append((picture, label, box))
    boxes, truth = (
        torch.tensor(np.array([box for _, _, box in rows]), dtype=torch.float32) for rows in (finds, objects)
    )
    areas = (truth[:, 2:] - truth[:, :2]).prod(1) * torch.from_numpy(drawn.uniform(0.4, 1, len(truth))).float()
    crowd = torch.from_numpy(drawn.random(len(truth)) < 0.08)
    ignored = torch.from_numpy(drawn.random(len(truth)) < 0.08) & ~crowd
    scores = torch.from_numpy(drawn.integers(0, 200, len(boxes)) / 200).float()
    counts = [torch.bincount(torch.tensor([row[0] for row in rows]), minlength=pictures) for rows in (finds, objects)]
    order = _surest_first(torch.tensor([row[0] for row in finds]), scores)
    said = {
        "ids": torch.arange(pictures),
        "sizes": torch.full((pictures, 2), SIDE),
        "num_detections": counts[0],
        "num_objects": counts[1],
        "boxes": boxes[order],
        "scores": scores[order],
        "labels": torch.tensor([row[1] for row in finds])[order],
        "truth": truth,
        "true_labels": torch.tensor([row[1] for row in objects]),
        "crowd": crowd,
        "ignored": ignored,
        "areas": areas,
        "threshold": torch.tensor(0.4),
    }
    for name, flat in (("", said["boxes"]), ("true_", truth)):
        lengths = [runs(_ellipse(box), (SIDE, SIDE)) for box in flat.tolist()]
        said[f"{name}runs"] = torch.tensor([len(one) for one in lengths])
        said[f"{name}counts"] = torch.from_numpy(np.concatenate(lengths)).int()
        spots = torch.from_numpy(np.random.default_rng(5).uniform(0, 1, (len(KEYPOINTS), 2))).float()
        points = flat[:, None, :2] + spots * (flat[:, 2:] - flat[:, :2])[:, None]
        points = points + torch.from_numpy(drawn.normal(0, 1.5, tuple(points.shape))).float()
        seen = torch.from_numpy(drawn.integers(0, 3, (len(flat), len(KEYPOINTS), 1))).float()
        seen[::11] = 0
        said[f"{name}keypoints"] = torch.cat([points, seen if name else seen * 0 + 0.5], 2)
    return said


def _box(drawn: np.random.Generator) -> np.ndarray:
    corner, side = drawn.uniform(-10, 200, 2), drawn.choice([12, 60, 130]) * drawn.uniform(0.3, 1, 2)
    box: np.ndarray = np.concatenate([corner, corner + side])
    return box.round() if drawn.random() < 0.5 else box  # whole numbers overlap by just 0.5 now and then


def _moved(box: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    moved = box + drawn.normal(0, 0.06, 4) * np.tile(box[2:] - box[:2], 2)
    if drawn.random() < 0.3:
        moved = moved.round()
    corner = np.minimum(moved[:2], moved[2:] - 1)
    return np.concatenate([corner, moved[2:]])


def _ellipse(box: list[float]) -> Region:
    """The ellipse within a box, of at least a pixel."""
    x1, y1, x2, y2 = (int(side) for side in box)
    height, width = max(y2 - y1, 1), max(x2 - x1, 1)
    rows, columns = (torch.arange(side) + 0.5 for side in (height, width))
    inside = ((rows / height - 0.5)[:, None] ** 2 + (columns / width - 0.5) ** 2) <= 0.26
    return Region(y1, x1, inside)


def _surest_first(pictures: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.lexsort((-scores.numpy(), pictures.numpy())).copy())


def coco(said: Predictions, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same as COCO's two files, ids from 1; `kind` is bbox, segm or keypoints."""
    classes = len(SPEC.target.names)  # type: ignore[union-attr]
    pictures = [{"id": k + 1, "width": SIDE, "height": SIDE} for k in range(len(said["ids"]))]
    whose = torch.repeat_interleave(torch.arange(len(pictures)), said["num_objects"])
    masks = {
        name: np.split(said[f"{name}counts"].numpy(), said[f"{name}runs"].numpy().cumsum()[:-1])
        for name in ("", "true_")
    }
    annotations = []
    for k, box in enumerate(said["truth"].double().tolist()):
        seen = said["true_keypoints"][k, :, 2]
        out = bool(said["ignored"][k])
        annotations.append(
            {
                "id": k + 1,
                "image_id": int(whose[k]) + 1,
                "category_id": int(said["true_labels"][k]) + 1,
                "bbox": _corner_and_sides(box),
                "iscrowd": int(said["crowd"][k]),
                "area": 1e11 if out and kind != "keypoints" else float(said["areas"][k]),
                "segmentation": {
                    "size": [SIDE, SIDE],
                    "counts": text(masks["true_"][k].astype(np.int64), (SIDE, SIDE)),
                },
                "keypoints": said["true_keypoints"][k].double().flatten().tolist(),
                "num_keypoints": 0 if out else int((seen > 0).sum()),
            }
        )
    answers = []
    owner = torch.repeat_interleave(torch.arange(len(pictures)), said["num_detections"])
    for k, box in enumerate(said["boxes"].double().tolist()):
        one: dict[str, Any] = {
            "image_id": int(owner[k]) + 1,
            "category_id": int(said["labels"][k]) + 1,
            "score": float(said["scores"][k]),
        }
        if kind == "bbox":
            one["bbox"] = _corner_and_sides(box)
        if kind == "segm":
            one["segmentation"] = {"size": [SIDE, SIDE], "counts": text(masks[""][k].astype(np.int64), (SIDE, SIDE))}
        if kind == "keypoints":
            one["keypoints"] = said["keypoints"][k].double().flatten().tolist()
        answers.append(one)
    categories = [{"id": k + 1, "name": str(k)} for k in range(classes)]
    return {"images": pictures, "annotations": annotations, "categories": categories, "info": {}}, answers


def _corner_and_sides(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def asked(
    module: str, truth: dict[str, Any], answers: list[dict[str, Any]], kind: str, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, A) average precision and (T, K, A) recall of a reference implementation, NaN where it says −1."""
    with contextlib.redirect_stdout(io.StringIO()):
        if module == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
        gold = COCO()
        gold.dataset = truth
        gold.createIndex()
        judge = COCOeval(gold, gold.loadRes(answers), kind)
        judge.params.catIds = [category["id"] for category in truth["categories"]]
        if kind == "keypoints":
            judge.params.kpt_oks_sigmas = sigmas
        judge.evaluate()
        judge.accumulate()
    precision, recall = judge.eval["precision"][..., -1], judge.eval["recall"][..., -1]
    precision = np.where(precision < 0, np.nan, precision)  # (T, R, K, A)
    return precision.mean(1), np.where(recall < 0, np.nan, recall)


def copied(said: Predictions, rows: list[int]) -> Predictions:
    """The predictions of these pictures, each as often as it is named."""
    ends = {word: [0, *said[word].cumsum(0).tolist()] for word in ("num_detections", "num_objects")}
    flat = {
        "num_detections": ("boxes", "scores", "labels"),
        "num_objects": ("truth", "true_labels", "crowd", "ignored", "areas"),
    }
    made = {name: said[name][rows] for name in ("sizes", "num_detections", "num_objects")}
    made |= {"ids": torch.arange(len(rows)), "threshold": said["threshold"]}
    for word, names in flat.items():
        chosen = list(itertools.chain(*(range(ends[word][row], ends[word][row + 1]) for row in rows)))
        made |= {name: said[name][chosen] for name in names}
    return made
