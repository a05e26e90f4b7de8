"""Rows D3, D4 and D5 of the lectures: numbers of every pixel, selective search, and R-CNN's crops."""

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
from snellen.nn.detection.proposals_from_search import Crops, Features
from snellen.tasks import LEARNERS, TASKS


def shapes(target: str, count: int = 12) -> Dataset[Any]:
    """A few pictures of the world of solids, with a truth of this kind."""
    data = dataset("shapes", options=OpenOptions(target=(target,)))
    return dataclasses.replace(data, splits={name: ids[:count] for name, ids in data.splits.items()})


def figures(data: Dataset[Any]) -> tuple[dict[str, Any], list[tuple[np.ndarray, np.ndarray]]]:
    """What the task measures of its baseline on test pictures, and answer and truth of each."""
    learner, task = LEARNERS["dense-regress"]["baseline"], TASKS["dense-regress"]
    model = learner.build(learner.settings(), data.spec)
    run = Run(Path(), resume=None)
    learner.fit(learner.settings(), data, model, run)
    measured = task.measure(task.predict(model, data, "test", run), data.spec)
    pairs = [
        (model.predict(scene.image[None])[0].double().numpy(), scene.truth.double().numpy())
        for scene in data.scenes("test").in_order()
    ]
    return {name: metric.value for name, metric in measured.items()}, pairs


def values(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(T, M) answer and truth of all pixels that have one."""
    said = np.concatenate([answer.reshape(len(answer), -1) for answer, _ in pairs], 1)
    true = np.concatenate([truth.reshape(len(truth), -1) for _, truth in pairs], 1)
    there = np.isfinite(true).all(0)
    return said[:, there], true[:, there]


def test_d3_depth_of_solids_is_judged_by_its_relative_error() -> None:
    measured, pairs = figures(shapes("depth"))
    said, true = values(pairs)
    assert measured["abs-rel"] == pytest.approx(np.mean(np.abs(said - true) / true), rel=1e-5)
    near = np.maximum(said / true, true / said) < 1.25
    assert measured["δ < 1.25"] == pytest.approx(near.mean(), rel=1e-5)


def test_d3_flow_of_solids_is_judged_by_the_length_of_what_is_missed() -> None:
    measured, pairs = figures(shapes("flow"))
    said, true = values(pairs)
    assert measured["end-point error"] == pytest.approx(np.mean(np.linalg.norm(said - true, axis=0)), rel=1e-5)


def test_d3_normals_of_solids_are_judged_by_their_angle() -> None:
    measured, pairs = figures(shapes("normals"))
    said, true = values(pairs)
    cosine = (said * true).sum(0) / np.linalg.norm(said, axis=0) / np.linalg.norm(true, axis=0)
    assert measured["mean angular error"] == pytest.approx(np.degrees(np.arccos(cosine.clip(-1, 1))).mean(), rel=1e-4)


def test_d4_the_regions_of_selective_search_reach_most_solids() -> None:
    pytest.importorskip("cv2")
    from torchvision.ops import box_iou

    from snellen.detection.selective_search import SelectiveSearch

    finder, hits = SelectiveSearch(96, 400), []
    for scene in shapes("boxes", 6).scenes("test").in_order():
        x = (scene.image.float() - scene.image.float().mean()) / scene.image.float().std()
        hits.append(box_iou(scene.truth.boxes, finder(x)).amax(1) >= 0.5)
    reached = torch.cat(hits).double().mean()
    grid = torch.tensor([[0.0, 0, 96, 96]])  # the whole picture alone reaches next to nothing
    alone = [box_iou(s.truth.boxes, grid).amax(1) >= 0.5 for s in shapes("boxes", 6).scenes("test").in_order()]
    assert reached > torch.cat(alone).double().mean() + 0.3


def test_d5_a_region_is_cut_out_warped_and_looked_at_by_itself() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    x = torch.stack([rows, columns, rows + columns])[None]  # (1, 3, 40, 60), linear: every sample of it is exact
    crops = Crops(side=24, about=4)
    region = torch.tensor([[0.0, 12, 8, 28, 24]])  # 16 pixels a side become 16, with 4 about them
    cut = crops([x], x, region)
    torch.testing.assert_close(cut[0], x[0, :, 4:28, 8:32])
    other = torch.full_like(x, 99.0)
    other[..., 4:28, 8:32] = x[..., 4:28, 8:32]
    torch.manual_seed(0)
    network = Features(3).eval()
    inside = torch.tensor([[0.0, 14, 10, 26, 22]])
    with torch.no_grad():
        assert torch.equal(network(crops([x], x, inside)), network(crops([other], other, inside)))
