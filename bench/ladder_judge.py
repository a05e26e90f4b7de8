"""Verdict of the ladder benchmark: predictions of a plain script in the form of a run, and their paired comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.api.trained_run import TrainedRun
from snellen.core.detections import Detections, MaskRegion
from snellen.core.run import Run
from snellen.core.spec import Boxes, Classes, Numbers, PixelClasses
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset
from snellen.metrics import segmentation
from snellen.model_selection.comparison import compare_predictions
from snellen.model_selection.paired_test import RunPredictions

TOLERATED = 1.0  # points: an interval that excludes a larger loss shows that the models are not distinguishable


class StoredDetector:
    """Detections that a script stored, in the order of the images of a split."""

    threshold = torch.tensor(0.5)

    def __init__(self, file: str, split: str) -> None:
        stored = np.load(file)
        self._arrays = {name.removeprefix(f"{split}_"): stored[name] for name in stored if name.startswith(split)}
        self._last = np.cumsum(self._arrays["counts"])
        self._image = 0

    def detect(self, images: Sequence[Tensor], /) -> list[Detections]:
        detected = []
        for _ in images:
            k = self._image
            rows = slice(self._last[k] - self._arrays["counts"][k], self._last[k])
            boxes, scores, labels = (
                torch.from_numpy(self._arrays[name][rows]) for name in ("boxes", "scores", "labels")
            )
            masks = self._arrays.get(f"masks_{k}")
            regions = None if masks is None else [MaskRegion(0, 0, torch.from_numpy(mask)) for mask in masks]
            detected.append(Detections(boxes, scores, labels, regions))
            self._image += 1
        return detected


def detections(run: TrainedRun, file: str, split: str, data: Dataset[Any]) -> Predictions:
    """The predictions of a script that detects, on a split."""
    return run.task.predict(
        StoredDetector(file, split), data, split, Run(run.folder, resume=None, device=run.record.device)
    )


def validation_score(run: TrainedRun, point: dict[str, Any], data: Dataset[Any]) -> float:
    """Headline metric of a script that detects, on the validation split."""
    metrics = run.task.measure(detections(run, point["file"], "val", data), run.spec)
    return metrics[run.task.headline(run.spec)].value or 0.0


def script_predictions(
    ours: RunPredictions, run: TrainedRun, point: dict[str, Any], data: Dataset[Any]
) -> RunPredictions:
    """The predictions of a script in the form of a run on the same test samples."""
    target = ours.spec.target
    if isinstance(target, Boxes):
        changed = detections(run, point["file"], "test", data)
    elif isinstance(target, PixelClasses):
        maps = torch.from_numpy(np.load(point["file"]))
        tables = [
            segmentation.confusion_matrix(scene.truth, predicted, len(target.names))
            for scene, predicted in zip(data.scenes("test").in_order(), maps, strict=True)
        ]
        changed = {"confusion": torch.stack(tables).to(ours.predictions["confusion"].dtype)}
    elif isinstance(target, Classes):
        test = torch.from_numpy(np.load(point["file"])).double()
        changed = {"scores": test.log().clamp(min=-100).to(ours.predictions["scores"].dtype)}
    else:
        assert isinstance(target, Numbers)
        changed = {"said": torch.from_numpy(np.load(point["file"])).double()[:, None]}
    return dataclasses.replace(
        ours, name=point["script"], learner=point["script"], predictions={**ours.predictions, **changed}
    )


def judge(ours: RunPredictions, other: RunPredictions) -> dict[str, Any]:
    """Paired comparison of the advised model with a script: scores, difference and verdict."""
    compared = compare_predictions([ours, other])
    (pair,) = compared.pairs
    sign = 1.0 if pair.first == ours.name else -1.0
    value, low, high = pair.difference.value, pair.difference.low, pair.difference.high
    assert value is not None
    assert low is not None
    assert high is not None
    worst = low if sign > 0 else -high
    percent = pair.difference.unit == "percentage points"
    headline = {run.name: run.headline for run in compared.runs}
    scale = 100.0 if percent else 1.0
    script_value = headline[other.name].value or 0.0
    loss = -worst if percent else -100 * worst / abs(script_value)  # of an error: in percent of the script's
    if pair.better:
        verdict = "better" if sign > 0 else "worse"
    else:
        verdict = "not distinguishable" if loss <= TOLERATED else "undecided"
    return {
        "metric": compared.headline,
        "ours": scale * (headline[ours.name].value or 0.0),
        "script_value": scale * script_value,
        "difference": sign * value,
        "interval": sorted([sign * low, sign * high]),
        "p": pair.chance,
        "verdict": verdict,
    }
