"""From which score on the user is told of a find, and a quick score while learning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from snellen.core.run import Run
from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import HALF, matched
from snellen.detection.prediction import predict
from snellen.detection.protocol import Detector, Part
from snellen.metrics.detection import average_precision

UNKNOWN = 0.5  # where no find is right, no score is better than another
MOST_PICTURES = 200  # that a threshold is chosen on
MOST_WHILE_LEARNING = 48  # that are looked at after an epoch, and never more than an eighth of those learned from


def best(said: Predictions, part: Part, spec: Spec) -> tuple[float, float]:
    """The score from which on F1 is highest, over all classes and at an overlap of one half, and that F1."""
    matches = matched(said, part, spec, thresholds=[HALF])
    kept = ~matches.left_out[0, 0]
    order = np.argsort(-matches.score[kept], kind="stable")
    score = matches.score[kept][order]
    right = (matches.object[0, 0][kept][order] >= 0).cumsum()
    if not len(right) or not right[-1]:
        return UNKNOWN, 0.0
    f1 = 2 * right / (np.arange(1, len(right) + 1) + matches.counted[0].sum())
    last = np.append(score[1:] < score[:-1], True)  # of equal scores all are told or none
    place = int(np.flatnonzero(last)[f1[last].argmax()])
    return float(score[place]), float(f1[place])


def choose(part: Part, model: Detector, data: Dataset[Labelled], run: Run) -> None:
    """Sets the model's threshold by validation pictures, by training pictures where there are none, and notes it."""
    split = "val" if len(data.splits["val"]) else "train"
    few = some_of(data, split, MOST_PICTURES)
    with torch.inference_mode():
        score, f1 = best(predict((part,), model, few, split, run), part, data.spec)
    model.threshold.fill_(score)
    run.notes["threshold"] = {
        "score": round(score, 6),
        "f1": round(f1, 6),
        "split": split,
        "pictures": len(few.splits[split]),
    }


def some_of(data: Dataset[Labelled], split: str, most: int) -> Dataset[Labelled]:
    """The same data with at most so many pictures in a split, spread evenly over it."""
    ids = data.splits[split]
    chosen = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), most)).round().long()]
    return dataclasses.replace(data, splits={**data.splits, split: chosen})


def validation(part: Part, data: Dataset[Labelled], run: Run) -> Callable[[Any], float] | None:
    """Average precision over a few validation pictures, for `fit_by_gradient`; None where there are none.

    All of them after every epoch would cost more than learning itself.
    """
    most = min(MOST_WHILE_LEARNING, max(4, len(data.splits["train"]) // 8))
    few = some_of(data, "val", most)
    if not len(few.splits["val"]):
        return None

    def score(model: Detector) -> float:
        parts: Sequence[Part] = (part,)
        matches = matched(predict(parts, model, few, "val", run), part, data.spec)
        return float(average_precision(matches)[0].nanmean().nan_to_num(0.0))

    return score
