"""What a detector said, scored: average precision with its interval, by size, and what is right at its threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import Metric
from snellen.detection.protocol import Part
from snellen.metrics import detection, iou
from snellen.metrics.intervals import bootstrap
from snellen.metrics.matching import SIZES, Finds, Matches, Overlap, Rules, Truths, match

WORDS: dict[Part, str] = {"boxes": "box ", "masks": "mask ", "keypoints": "keypoint "}
DRAWS = 200  # of pictures, for an interval
MOST_POSES = 20  # of a class in a picture: COCO's own number for keypoints
HALF = 0.5  # of the overlap, at which precision, recall and kinds of error are told


def headline(parts: Sequence[Part]) -> str:
    """ "AP" where boxes are all there is, else "mask AP" or "keypoint AP"."""
    return _word(parts, parts[0]) + "AP"


def _word(parts: Sequence[Part], part: Part) -> str:
    return "" if len(parts) == 1 else WORDS[part]


def target_of(spec: Spec) -> Boxes:
    assert isinstance(spec.target, Boxes)
    return spec.target


def matched(
    said: Predictions,
    part: Part,
    spec: Spec,
    sizes: Sequence[str] = ("all",),
    thresholds: Sequence[float] | None = None,
) -> Matches:
    """Finds assigned to objects by the overlap of their boxes, masks or keypoints.

    Args:
        sizes: ranges of `SIZES`.
        thresholds: least overlaps; None: COCO's ten.
    """
    rules = Rules(ranges=tuple(SIZES[size] for size in sizes), most=MOST_POSES if part == "keypoints" else 100)
    if thresholds is not None:
        rules = Rules(thresholds=tuple(thresholds), ranges=rules.ranges, most=rules.most)
    target = target_of(spec)
    return match(
        finds_of(said, part),
        truths_of(said, part),
        overlap_of(said, part, target),
        len(said["ids"]),
        len(target.names),
        rules,
    )


def finds_of(said: Predictions, part: Part) -> Finds:
    """Every find, with the area by which its size is judged."""
    boxes = said["boxes"].double()
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1).numpy()
    if part == "masks":
        area = _areas(said["counts"], said["runs"])
    if part == "keypoints" and len(boxes):  # of the box around them
        places = said["keypoints"][..., :2].double()
        area = (places.amax(1) - places.amin(1)).prod(1).numpy()
    return Finds(_owners(said["num_detections"]), said["labels"].numpy(), said["scores"].double().numpy(), area)


def truths_of(said: Predictions, part: Part) -> Truths:
    """Every object. One of which no keypoint is labelled cannot be judged by its keypoints."""
    ignored = said["ignored"]
    if part == "keypoints":
        ignored = ignored | ~(said["true_keypoints"][..., 2] > 0).any(1)
    return Truths(
        _owners(said["num_objects"]),
        said["true_labels"].numpy(),
        said["crowd"].numpy(),
        ignored.numpy(),
        said["areas"].double().numpy(),
    )


def _owners(counts: Tensor) -> np.ndarray:
    """(D,) which picture each belongs to."""
    return np.repeat(np.arange(len(counts)), counts.numpy())


def overlap_of(said: Predictions, part: Part, target: Boxes) -> Overlap:
    """How far finds cover objects."""
    crowd = said["crowd"].numpy()
    if part == "masks":
        return iou.of_masks(
            short_masks(said, "counts", "runs", "num_detections"),
            short_masks(said, "true_counts", "true_runs", "num_objects"),
            crowd,
        )
    if part == "keypoints":
        return iou.of_keypoints(
            said["keypoints"].numpy(),
            said["true_keypoints"].numpy(),
            said["truth"].numpy(),
            said["areas"].numpy(),
            iou.sigmas_of(target.keypoints),
        )
    return iou.of_boxes(said["boxes"].numpy(), said["truth"].numpy(), crowd)


def _areas(counts: Tensor, runs: Tensor) -> np.ndarray:
    """(D,) pixels of masks, from the lengths of their runs, of which every second is of ones."""
    lengths, many = counts.numpy().astype(np.int64), runs.numpy()
    place = np.arange(len(lengths)) - np.repeat(many.cumsum() - many, many)
    summed = np.concatenate([[0], np.where(place % 2 == 1, lengths, 0).cumsum()])
    ends = many.cumsum()
    areas: np.ndarray = (summed[ends] - summed[ends - many]).astype(np.float64)
    return areas


def lengths_of_masks(said: Predictions, counts: str, runs: str) -> list[np.ndarray]:
    """The run lengths of each mask."""
    return np.split(said[counts].numpy(), said[runs].numpy().cumsum()[:-1]) if len(said[runs]) else []


def short_masks(said: Predictions, counts: str, runs: str, numbers: str) -> list[dict[str, object]]:
    """Masks in COCO's short form."""
    from faster_coco_eval.core import mask

    sizes = said["sizes"].repeat_interleave(said[numbers], 0).tolist()
    plain = [
        {"size": size, "counts": lengths.tolist()}
        for size, lengths in zip(sizes, lengths_of_masks(said, counts, runs), strict=True)
    ]
    return [mask.frPyObjects(one, *one["size"]) for one in plain]


def measure(parts: Sequence[Part], said: Predictions, spec: Spec) -> dict[str, Metric]:
    """COCO's figures for each part, and F1, precision and recall of what is told at the threshold."""
    if not len(said["ids"]):
        return {headline(parts): Metric(value=None, percent=True, reason="the split is empty")}
    metrics: dict[str, Metric] = {}
    for part in parts:
        metrics |= _precisions(said, part, spec, _word(parts, part), with_interval=part == parts[0])
    return {**metrics, **_told(matched(said, parts[0], spec, thresholds=[HALF]), float(said["threshold"]))}


def _precisions(said: Predictions, part: Part, spec: Spec, word: str, with_interval: bool) -> dict[str, Metric]:
    """AP over ten thresholds, at two of them, by size, and the recall that is reached at most."""
    ranges = [size for size in SIZES if not (part == "keypoints" and size == "small")]
    matches = matched(said, part, spec, ranges)
    precision, recall = (figures[0] for figures in detection.average_precision(matches))  # (T, K)
    whole = _mean(precision, "no object of the split is to be found")
    if with_interval and whole.value is not None:
        low, high = bootstrap(detection.mean_of_rows(matches), len(said["ids"]), draws=DRAWS)
        whole = Metric(
            value=whole.value, low=min(low, whole.value), high=max(high, whole.value), over="pictures", percent=True
        )
    found = {
        f"{word}AP": whole,
        f"{word}AP50": _mean(precision[:1], whole.reason),
        f"{word}AP75": _mean(precision[5:6], whole.reason),
    }
    for place, size in enumerate(ranges):
        if size != "all":
            by_size = detection.average_precision(matches, sizes=place)[0][0]
            found[f"{word}AP {size}"] = _mean(by_size, f"no {size} object is in the split")
    return {**found, f"{word}AR": _mean(recall, whole.reason)}


def _mean(figures: Tensor, reason: str) -> Metric:
    """Over thresholds and classes; of classes without objects nothing is known."""
    known = figures[~figures.isnan()]
    if not len(known):
        return Metric(value=None, percent=True, reason=reason)
    return Metric(value=float(known.mean()), percent=True)


def _told(matches: Matches, threshold: float) -> dict[str, Metric]:
    """Of what the user is told: how much is right, and how much of what is there."""
    right, said, true = counted(matches, threshold)
    found = {
        "precision": Metric(value=right / said, percent=True)
        if said
        else Metric(value=None, percent=True, reason="nothing was found"),
        "recall": Metric(value=right / true, percent=True)
        if true
        else Metric(value=None, percent=True, reason="no object is there to be found"),
    }
    f1 = (
        Metric(value=2 * right / (said + true), percent=True)
        if said + true
        else Metric(value=None, percent=True, reason="nothing is there and nothing was found")
    )
    return {"F1": f1, **found}


def counted(matches: Matches, threshold: float) -> tuple[int, int, int]:
    """Right finds, all finds and all objects, at the first overlap of the matches, from a score on."""
    kept = ~matches.left_out[0, 0] & (matches.score >= threshold)
    right = kept & (matches.object[0, 0] >= 0)
    return int(right.sum()), int(kept.sum()), int(matches.counted[0].sum())


def resampled_headline(parts: Sequence[Part], said: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The headline of (R, n) resampled rows."""
    return detection.mean_of_rows(matched(said, parts[0], spec))


def errors(parts: Sequence[Part], said: Predictions, spec: Spec) -> Tensor:
    """(N,) by how much each picture takes from the headline, 1 − its pseudo-value.

    Average precision is no mean over pictures. The jackknife makes it one but for its bias: N times the figure of all
    pictures less N − 1 times that of all but this one.

    Source: Quenouille 1956; Tukey 1958.
    """
    count = len(said["ids"])
    matches = matched(said, parts[0], spec)
    whole = detection.average_precision(matches)[0].nanmean().nan_to_num(0.0)
    if count < 2:
        return (1 - whole).expand(count).clone()
    parted = [(torch.ones(count, count) - torch.eye(count))[some] for some in torch.split(torch.arange(count), 256)]
    without = torch.cat(
        [detection.average_precision(matches, weights)[0].nanmean((1, 2)).nan_to_num(0.0) for weights in parted]
    )  # (N,)
    return 1 - (count * whole - (count - 1) * without)
