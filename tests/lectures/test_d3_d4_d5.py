"""Rows D3, D4 and D5 of the lectures: dense regression, selective search, and the region warping of R-CNN."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snellen.core.run import Run
from snellen.data.dataset import Dataset
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.nn.detection.proposals_from_search import RegionWarping, RoIFeatures
from snellen.tasks import LEARNERS, TASKS


def shapes_dataset(target: str, count: int = 12) -> Dataset[Any]:
    """Some images of the synthetic shapes dataset, with ground truth of this kind."""
    data = dataset("shapes", options=OpenOptions(target=(target,)))
    return dataclasses.replace(data, splits={name: ids[:count] for name, ids in data.splits.items()})


def baseline_metrics(data: Dataset[Any]) -> tuple[dict[str, Any], list[tuple[np.ndarray, np.ndarray]]]:
    """Metrics of the baseline on the test split, and prediction and ground truth of each image."""
    learner, task = LEARNERS["dense-regress"]["baseline"], TASKS["dense-regress"]
    model = learner.build(learner.settings(), data.spec)
    run = Run(Path(), resume=None)
    learner.fit(learner.settings(), data, model, run)
    metrics = task.measure(task.predict(model, data, "test", run), data.spec)
    pairs = [
        (model.predict(scene.image[None])[0].double().numpy(), scene.truth.double().numpy())
        for scene in data.scenes("test").in_order()
    ]
    return {name: metric.value for name, metric in metrics.items()}, pairs


def values(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and ground truth, (T, M) each, of all pixels with ground truth."""
    predicted = np.concatenate([prediction.reshape(len(prediction), -1) for prediction, _ in pairs], 1)
    true = np.concatenate([truth.reshape(len(truth), -1) for _, truth in pairs], 1)
    valid = np.isfinite(true).all(0)
    return predicted[:, valid], true[:, valid]


def test_d3_depth_is_evaluated_by_the_relative_error() -> None:
    metrics, pairs = baseline_metrics(shapes_dataset("depth"))
    predicted, true = values(pairs)
    assert metrics["abs-rel"] == pytest.approx(np.mean(np.abs(predicted - true) / true), rel=1e-5)
    is_close = np.maximum(predicted / true, true / predicted) < 1.25
    assert metrics["δ < 1.25"] == pytest.approx(is_close.mean(), rel=1e-5)


def test_d3_flow_is_evaluated_by_the_end_point_error() -> None:
    metrics, pairs = baseline_metrics(shapes_dataset("flow"))
    predicted, true = values(pairs)
    assert metrics["end-point error"] == pytest.approx(np.mean(np.linalg.norm(predicted - true, axis=0)), rel=1e-5)


def test_d3_normals_are_evaluated_by_the_angular_error() -> None:
    metrics, pairs = baseline_metrics(shapes_dataset("normals"))
    predicted, true = values(pairs)
    cosine = (predicted * true).sum(0) / np.linalg.norm(predicted, axis=0) / np.linalg.norm(true, axis=0)
    assert metrics["mean angular error"] == pytest.approx(np.degrees(np.arccos(cosine.clip(-1, 1))).mean(), rel=1e-4)


def test_d4_selective_search_proposes_most_objects() -> None:
    pytest.importorskip("cv2")
    from torchvision.ops import box_iou

    from snellen.detection.selective_search import SelectiveSearch

    search, covered = SelectiveSearch(96, 400), []
    for scene in shapes_dataset("boxes", 6).scenes("test").in_order():
        x = (scene.image.float() - scene.image.float().mean()) / scene.image.float().std()
        covered.append(box_iou(scene.truth.boxes, search(x)).amax(1) >= 0.5)
    recall = torch.cat(covered).double().mean()
    grid = torch.tensor([[0.0, 0, 96, 96]])  # the whole image as the only proposal
    whole_image = [
        box_iou(s.truth.boxes, grid).amax(1) >= 0.5 for s in shapes_dataset("boxes", 6).scenes("test").in_order()
    ]
    assert recall > torch.cat(whole_image).double().mean() + 0.3


def test_d5_a_region_is_cropped_warped_and_classified_by_itself() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    x = torch.stack([rows, columns, rows + columns])[None]  # (1, 3, 40, 60), linear: interpolation is exact
    crops = RegionWarping(side=24, context=4)
    region = torch.tensor([[0.0, 12, 8, 28, 24]])  # 16 pixels a side stay 16, with 4 pixels of context
    crop = crops([x], x, region)
    torch.testing.assert_close(crop[0], x[0, :, 4:28, 8:32])
    outside_changed = torch.full_like(x, 99.0)
    outside_changed[..., 4:28, 8:32] = x[..., 4:28, 8:32]
    torch.manual_seed(0)
    network = RoIFeatures(3).eval()
    inside = torch.tensor([[0.0, 14, 10, 26, 22]])
    with torch.no_grad():
        assert torch.equal(network(crops([x], x, inside)), network(crops([outside_changed], outside_changed, inside)))
